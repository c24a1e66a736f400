"""`pombo top`: the installation, live."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.options import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis.exceptions import RedisError

    from pombo.ops.cli.session import Session
    from pombo.ops.closeup import Closeup
    from pombo.ops.overview import Overview
    from pombo.ops.problems import Recent
    from pombo.ops.top import Desk
    from pombo.ops.top.view import Change
    from pombo.shared.sources import Source

EXAMPLES = examples("pombo top", "pombo top --interval 5", "pombo top --once | head")
ANSWER_S = 10.0


def top(
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=3600, help="Between two looks, which rates are of.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame, and end.")] = False,
) -> int:
    """Watch sources, workers and Redis live, with what is wrong and what to type above them.

    Sources in trouble come first, then the longest backlogs. Rates are what the ledgers moved between two looks.
    Arrows select a source, Enter looks closer, p pauses or resumes it, s orders, / filters, ? shows all keys, q quits.
    Where the output is no terminal it prints one frame.
    """
    from pombo.ops.cli.session import run

    run(lambda session: _top(session, interval, once=once), timeout_s=ANSWER_S)
    return 0


async def _top(session: "Session", interval_s: float, *, once: bool) -> None:
    from rich.text import Text

    from pombo.ops import top

    screen, desk = output.console(), _desk(session)
    if once or screen.is_dumb_terminal or not sys.stdout.isatty():
        output.show(Text("\n").join(await top.once(desk, interval_s, screen.width)))
    else:
        await top.watch(screen, desk, interval_s)


def _desk(session: "Session") -> "Desk":
    from pombo.ops.cli.deeds import whoami
    from pombo.ops.closeup import read_closeup
    from pombo.ops.lately import read_lately, recents
    from pombo.ops.overview import read_overview
    from pombo.ops.top import Desk
    from pombo.shared import flow
    from pombo.shared.trail import note

    async def read() -> "Overview":
        return await read_overview(session.redis, session.keys, await session.sources.snapshot())

    async def near(source: "Source") -> "Closeup":
        return await read_closeup(session.redis, session.keys, source)

    async def change(wanted: "Change") -> str:
        name, do = wanted.source, flow.pause if wanted.verb == "pause" else flow.resume
        changed = await do(session.redis, session.keys, name)
        deed = f"sources.{wanted.verb}"
        await note(session.redis, session.keys, who=whoami(), role="shell", what=deed, subject=name)
        if wanted.verb == "pause":
            return f"source {name} {'is paused' if changed else 'was paused already'}"
        return f"source {name} {'sends again' if changed else 'was neither paused, parked nor broken'}"

    async def recent(overview: "Overview") -> "Mapping[str, Recent]":
        return recents(await read_lately(session.redis, session.keys, overview))

    return Desk(read, recent, near, change, lambda error: _explain(session, error))


def _explain(session: "Session", error: "RedisError") -> str:
    from pombo.ops.cli.trouble import trouble
    from pombo.shared.connection import redis_url

    settings = session.settings
    return str(trouble(error, redis_url(settings), "POMBO_REDIS_URL" if settings.redis_url else None))
