"""`pombo trace`: where one event is, and what happened to it."""

from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.options import Json, examples
from pombo.ops.cli.sources import note_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pombo.ops.cli.session import Session
    from pombo.ops.trace import Place, Trace
    from pombo.shared.settings import Settings
    from pombo.shared.sources import Source

EXAMPLES = examples("pombo trace 8a3f1c52-3c5b-4f7e-9c0e-6f1d2b3a4c5d", "pombo trace m1 --source bot --json")
LONG = 20_000
"""Queued events from which a search takes long enough for a progress bar."""
ANSWER_S = 30.0
_MOMENTS = (
    "spooled_at", "accepted_at", "sent_at", "unknown_since", "failing_since", "died_at", "remembered_since",
    "remembered_until",
)  # fmt: skip
_WORDS = {
    "in_flight": "in flight",
    "ahead": "events before it",
    "entry": "stream entry",
    "letter": "dead letter",
    "remembered_since": "claimed after",
}


def trace(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="The event's messageId.", show_default=False)],
    source: Annotated[str | None, typer.Option("--source", metavar="S", help="Look only there.")] = None,
    as_json: Json = False,
) -> int:
    """Find one event by its messageId.

    It is spooled on this machine, queued, in flight, dead or delivered. The search only reads. Long queues are read
    in small steps, which takes some seconds for every million events. An event is delivered when its id is
    remembered and it is nowhere else. Exit code 1 when nothing is known of it: it was never accepted here, was
    discarded, or was delivered longer ago than the source remembers.
    """
    from pombo.ops.trace import Trace

    message_id = message_id.encode("utf-8", "replace").decode()  # A terminal may send anything.
    found = Trace(message_id, _search(message_id, source))
    if as_json:
        output.write_json(found.describe())
    else:
        _show(found)
    return 0 if found.places else UNWELL


def _search(message_id: str, source: str | None) -> "list[Place]":
    from pombo.ops.cli.session import run
    from pombo.ops.cli.trouble import RedisUnusableError
    from pombo.shared.settings import read_settings

    spooled = _spooled(read_settings(), message_id, source)
    try:
        return spooled + run(lambda session: _stored(session, message_id, source), timeout_s=ANSWER_S)
    except RedisUnusableError as error:
        if not spooled:
            raise
        output.note(f"warning: {error}; only the spool folder was looked into")
    return spooled


def _spooled(settings: "Settings", message_id: str, source: str | None) -> "list[Place]":
    from pombo.ops.trace import find_spooled
    from pombo.producer.spool import spool_path
    from pombo.shared.errors import SpoolError

    if settings.spool_dir is None:
        return []
    try:
        return find_spooled(spool_path(settings.spool_dir, settings.namespace), message_id, source)
    except SpoolError as error:
        output.note(f"warning: {error}")
    return []


async def _stored(session: "Session", message_id: str, source: str | None) -> "list[Place]":
    from pombo.ops.trace import Search

    sources, found = await _sources(session, source), []
    total = await _queued(session, sources) if output.on_terminal() else 0
    with output.progress(lambda count: f"{count:,.0f} events") as bar:
        task = bar.add_task("searching", total=total, visible=total >= LONG)
        for one in sources:
            search = Search(session.redis, session.keys, one, message_id, lambda count: bar.advance(task, count))
            found += await search.run()
    return found


async def _sources(session: "Session", source: str | None) -> "Sequence[Source]":
    if source is not None:
        return [await session.sources.get(source)]
    snapshot = await session.sources.snapshot()
    note_unreadable(snapshot.unreadable)
    return [*snapshot.sources.values()]


async def _queued(session: "Session", sources: "Sequence[Source]") -> int:
    return sum([int(await session.redis.hget(session.keys.of(s.name).ledger, "queued") or 0) for s in sources])


def _show(found: "Trace") -> None:
    if not found.places:
        output.say(
            f"nothing is known of {found.message_id}: it was never accepted here, was discarded, or was delivered "
            "longer ago than its source remembers; what bots spooled is known on their machines only"
        )
    for number, place in enumerate(found.places):
        if number:
            output.say("")
        told = place.describe()
        state = told.pop("state")
        fields = {"state": _WORDS.get(state, state), **{name: _value(name, value) for name, value in told.items()}}
        output.show_fields({_WORDS.get(name, name.replace("_", " ")): value for name, value in fields.items()})


def _value(name: str, value: object) -> object:
    return output.local(str(value)) if name in _MOMENTS else value
