"""`pombo blip`: what Blip's items would become."""

import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError, one_line
from pombo.ops.cli.options import Json, examples
from pombo.ops.cli.platforms import Bots, Identity, MessageBodies, Perspective, Tickets

if TYPE_CHECKING:
    from pombo.producer.adapted import Adapted
    from pombo.producer.blip import BlipOptions, Kind

group = typer.Typer(no_args_is_help=True, help="See what Blip's items become.")

KEY = b"pombo blip check"
"""Makes ids where no source is named: the same at each call, and nobody's."""


@group.command(
    epilog=examples(
        "pombo blip check item.json",
        "pombo blip check items.ndjson --source bot",
        "pbpaste | pombo blip check - --identity hmac --message-bodies full --json",
    )
)
def check(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="One item, a list of them, or one a line; - is standard input.", show_default=False
        ),
    ],
    *,
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="As this source takes them, ids included; without it no Redis is needed."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="messages|events|contacts|tickets",
            help="What they are, as the URL of a kind says.",
            show_default=False,
        ),
    ] = None,
    message_bodies: MessageBodies = None,
    identity: Identity = None,
    perspective: Perspective = None,
    tickets: Tickets = None,
    bot: Bots = None,
    as_json: Json = False,
) -> int:
    """Show what items of Blip's data webhook would become, field by field; nothing is sent.

    The options take the place of the source's settings. Exit code 1 when an item is unknown, and would be a dead
    letter, or when there is none.
    """  # fmt: skip
    given = {
        "message_bodies": message_bodies, "identity": identity, "perspective": perspective, "tickets": tickets,
        "bots": bot,
    }  # fmt: skip
    wanted = _kind(kind)
    items = [*_items(_read(file))]
    options = _options(source, {name: value for name, value in given.items() if value is not None})
    looks = [{"item": number, **_look(item, options, wanted)} for number, item in items]
    counts = _counts(looks)
    if as_json:
        output.write_json({"items": looks, **counts})
    else:
        _show(looks, counts, example_ids=source is None)
    return 0 if items and not counts["unknown"] else UNWELL


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _items(data: bytes) -> Iterator[tuple[int, object]]:
    """Items with their number, counted from 1, or that of their line; what is no JSON is left as it is: bytes."""
    whole = _parsed(data)
    if isinstance(whole, bytes) and len(data.splitlines()) > 1:
        lines = enumerate(data.splitlines(), 1)
        yield from ((number, _parsed(line)) for number, line in lines if line.strip())
    elif data.strip():
        yield from enumerate(whole if isinstance(whole, list) else [whole], 1)


def _parsed(text: bytes) -> Any:
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _kind(given: str | None) -> "Kind | None":
    from pombo.producer.blip import Kind

    if given is not None and given not in [*Kind]:
        raise CommandError(f"--kind {given!r} is none; known: {', '.join(Kind)}", MISUSE)
    return None if given is None else Kind(given)


def _options(name: str | None, given: Mapping[str, Any]) -> "BlipOptions":
    """The choices of a source, or the usual ones, with those given in their place."""
    from pombo.ops.cli.session import Session, run
    from pombo.producer.blip import BlipOptions
    from pombo.shared.options import validated
    from pombo.shared.sources import Source

    async def work(session: Session) -> tuple[Source, bytes]:
        return await session.sources.get(name or ""), await session.registry.id_key(name or "")

    source, key = (Source(name="check", incarnation="-"), KEY) if name is None else run(work)
    return BlipOptions.of(validated(source.name, {**source.model_dump(), **given}), key)


def _look(item: object, options: "BlipOptions", kind: "Kind | None") -> dict[str, Any]:
    """What becomes of one item, as JSON."""
    from pombo.producer.adapted import UnknownItem
    from pombo.producer.blip import explain

    try:
        if isinstance(item, bytes):
            raise UnknownItem("this is no JSON")
        found = explain(item, options, kind=kind)  # type: ignore[arg-type]
    except UnknownItem as error:
        return {"kind": None, "events": [], "reason": None, "error": {"message": error.message, "field": error.field}}
    events = [_event(one) for one in found.events]
    problem = next((event["problem"] for event in events if event["problem"]), None)
    refused = {"message": problem, "field": ""} if problem else None
    return {"kind": found.kind, "events": events, "reason": found.reason, "error": refused}


def _event(adapted: "Adapted") -> dict[str, Any]:
    from pombo.shared.errors import InvalidEvent
    from pombo.shared.prepared import prepare

    problem = None
    try:
        prepare(adapted.event, now=datetime.now(UTC), ordering_key=adapted.ordering_key)
    except InvalidEvent as refusal:
        problem = refusal.message
    return {"event": adapted.event, "ordering_key": adapted.ordering_key, "problem": problem}


def _counts(looks: list[dict[str, Any]]) -> dict[str, int]:
    return {
        "events": sum(len(look["events"]) for look in looks),
        "silent": sum(not look["events"] and not look["error"] for look in looks),
        "unknown": sum(look["error"] is not None for look in looks),
    }


def _show(looks: list[dict[str, Any]], counts: Mapping[str, int], *, example_ids: bool) -> None:
    for look in looks:
        output.say(one_line(f"item {look['item']}: {_headline(look)}"))
        for made in look["events"]:
            rows = {**dict(_flat(made["event"])), "ordering key": made["ordering_key"]}
            output.show_fields({f"  {one_line(name)}": value for name, value in rows.items()})
        output.say("")
    if not looks:
        output.say("there is no item in it")
        return
    silent, unknown = (f"{wording.plural(counts[name], 'item')}" for name in ("silent", "unknown"))
    output.say(f"{wording.plural(counts['events'], 'event')}; {silent} without, {unknown} unknown")
    if example_ids and counts["events"]:
        output.say("Ids are examples: each source makes its own; --source NAME shows them.")


def _headline(look: Mapping[str, Any]) -> str:
    error = look["error"]
    if error:
        where = f" (at {error['field']})" if error["field"] else ""
        return f"unknown: {error['message']}{where}"
    if not look["events"]:
        return f"no event: {look['reason']}"
    event = look["events"][0]["event"]
    return f"{look['kind']} -> {event['type']} {event.get('event', '')}".rstrip()


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Each value with its path; what is no text as JSON."""
    import json

    for name, member in value.items():
        where = f"{path}.{name}" if path else name
        if isinstance(member, dict) and member:
            yield from _flat(member, where)
        else:
            yield where, member if isinstance(member, str) else json.dumps(member, ensure_ascii=False, default=str)
