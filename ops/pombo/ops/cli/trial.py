"""`pombo sources test`: one test event through the whole road."""

from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.options import Json, SourceName, examples

if TYPE_CHECKING:
    from pombo.ops.cli.session import Session
    from pombo.ops.trial import Trial

EXAMPLES = examples("pombo sources test bot", "pombo sources test bot --timeout 30 --json")


def try_out(
    name: SourceName,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0.1, max=3600, help="How long it may take.")
    ] = 10.0,
    as_json: Json = False,
) -> int:
    """Send one test event, and follow it to Segment.

    It is the track event "pombo Test Event" of user "pombo-test", and it does reach Segment; its integrations say
    that it goes on to no destination. When it is not delivered in time, what stands in its way is said, and it
    stays queued. Exit code 1 when it was not delivered.
    """
    from pombo.ops.cli.session import run

    trial = run(lambda session: _try(session, name, timeout))
    if as_json:
        output.write_json(trial.describe())
    else:
        _show(trial)
    return 0 if trial.outcome == "delivered" else UNWELL


async def _try(session: "Session", name: str, timeout_s: float) -> "Trial":
    from pombo.ops.trial import try_source

    source = await session.sources.get(name)
    return await try_source(session.settings, session.redis, source, timeout_s)


def _show(trial: "Trial") -> None:
    from pombo.ops.trial import EVENT, REMINDER

    if trial.message_id:
        output.say(f"{EVENT}, messageId {trial.message_id}")
    if trial.accepted_ms is not None:
        output.say(f"accepted   after {trial.accepted_ms:.0f} ms")
    if trial.delivered_s is not None:
        output.say(f"delivered  after {wording.age(trial.delivered_s)}: Segment took it", "", f"{REMINDER}.")
        return
    words = {"waiting": "not delivered yet", "spooled": "not in Redis yet"}
    for number, obstacle in enumerate(trial.obstacles):
        output.say(f"{words.get(trial.outcome, trial.outcome) if number == 0 else 'also'}: {obstacle}")
    if trial.outcome == "waiting":
        output.say("", f"It stays queued, and is sent when it can be; `pombo trace {trial.message_id}` finds it.")
