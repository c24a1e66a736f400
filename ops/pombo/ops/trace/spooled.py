"""The part of the search that looks into the spool folder of this machine."""

from datetime import UTC, datetime
from pathlib import Path

import orjson

from pombo.ops.trace.places import Place
from pombo.producer.spoolreading import SpooledEvent
from pombo.producer.spoolreading import find_spooled as find
from pombo.shared.clock import iso


def find_spooled(path: Path, message_id: str, source: str | None = None) -> list[Place]:
    """Where a messageId is in a spool's database; only of `source`, if given.

    Raises:
        SpoolError: it cannot be read.
    """
    start = b'{"messageId":' + orjson.dumps(message_id)
    return [_place(event) for event in find(path, start) if source in {None, event.source}]


def _place(event: SpooledEvent) -> Place:
    return Place(
        source=event.source, state="spooled", ahead=event.ahead,
        spooled_at=iso(datetime.fromtimestamp(event.spooled_at, UTC)),
        note=f"stuck: {event.stuck}" if event.stuck else "on this machine's disk until Redis takes it",
    )  # fmt: skip
