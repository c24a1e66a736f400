"""`pombo top`: the installation, live."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.options import examples

if TYPE_CHECKING:
    from redis.exceptions import RedisError

    from pombo.ops.cli.session import Session
    from pombo.ops.overview import Overview

EXAMPLES = examples("pombo top", "pombo top --interval 5", "pombo top --once | head")
ANSWER_S = 10.0


def top(
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600, help="Between two looks, which rates are of.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame, and end.")] = False,
) -> int:
    """Watch sources, workers and Redis live.

    Sources in trouble come first, then the longest backlogs. Rates are what the ledgers moved between two looks.
    q, or Ctrl-C, quits. Where the output is no terminal it prints one frame.
    """
    from pombo.ops.cli.session import run

    run(lambda session: _top(session, interval, once=once), timeout_s=ANSWER_S)
    return 0


async def _top(session: "Session", interval_s: float, *, once: bool) -> None:
    from pombo.ops import top
    from pombo.ops.overview import read_overview

    async def read() -> "Overview":
        return await read_overview(session.redis, session.keys, await session.sources.snapshot())

    screen = output.console()
    if once or not sys.stdout.isatty():
        output.show(await top.once(read, interval_s, screen.width))
    else:
        await top.watch(screen, read, interval_s, lambda error: _explain(session, error))


def _explain(session: "Session", error: "RedisError") -> str:
    from pombo.ops.cli.trouble import trouble
    from pombo.shared.connection import redis_url

    settings = session.settings
    return f"{trouble(error, redis_url(settings), 'POMBO_REDIS_URL' if settings.redis_url else None)}; looking again"
