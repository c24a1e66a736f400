"""Prepared events: the exact bytes that Segment will get, and what the queue must know of them.

`prepare` runs inside a bot's call. It looks at an event with a hand-written check that accepts nothing but
what it fully understands; everything else — repairs, every refusal — goes to the models, the specification.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from pombo.shared.errors import InvalidEvent
from pombo.shared.messageids import new_message_id
from pombo.shared.shapes import FIELDS, MAX_MESSAGE_ID, MAX_PROPERTIES, named, shape_of
from pombo.shared.values import clean, dumps, instant, is_plain, mend, written

if TYPE_CHECKING:
    from pombo.shared.events import BaseEvent

LIBRARY = {"name": "pombo", "version": version("pombo")}
MAX_BYTES = 32_000
"""Bytes of one serialised event: Segment's 32 KB, read strictly (33,087 B are known to be refused)."""

_KINDS = {name: rule.kind for name, rule in FIELDS.items()}


class Prepared(NamedTuple):
    """One event ready for a record batch; `body` is one line of JSON whose first key is `messageId`."""

    message_id: str
    type: str
    ordering_key: str
    body: bytes


def prepare(
    event: "Mapping[str, Any] | BaseEvent",
    *,
    now: datetime,
    new_id: Callable[[], str] = new_message_id,
    ordering_key: str | None = None,
    strict: bool = True,
) -> Prepared:
    """Check an event, fill in what is absent — messageId, timestamp, library — and serialise it once.

    `now` is the timestamp of an event without one; `ordering_key` defaults to the userId, else the
    anonymousId; for `strict` see `events.parse`. The event is not changed. Raises `InvalidEvent`.
    """
    if type(event) is not dict:
        event, strict = _unwrapped(event, strict)
    shape = shape_of(event)
    fields = named(event, shape, strict=strict)
    try:
        wire = _wire(fields, shape.type, now, new_id) if _is_sound(fields) else None
        body = b"" if wire is None else dumps(wire)
    except Exception:  # Whatever the quick way stumbles over, the models name.
        wire = None
    if wire is None:
        return prepare_by_model(event, now=now, new_id=new_id, ordering_key=ordering_key, strict=strict)
    return _sealed(wire, body, ordering_key)


def prepare_by_model(
    event: Mapping[str, Any],
    *,
    now: datetime,
    new_id: Callable[[], str] = new_message_id,
    ordering_key: str | None = None,
    strict: bool = True,
) -> Prepared:
    """Do what `prepare` does by way of the models: slower, and right by definition."""
    from pombo.shared.events import parse

    model = parse(event, strict=strict)
    fields = model.fields()
    del fields["type"]
    wire = _wire(fields, model.type, now, new_id)
    return _sealed(wire, dumps(wire), ordering_key)


def _unwrapped(event: "Mapping[str, Any] | BaseEvent", strict: bool) -> tuple[Mapping[str, Any], bool]:
    """The fields of a model, whose foreign ones were allowed when it was made; else what was given."""
    from pombo.shared.events import BaseEvent

    return (event.fields(), False) if isinstance(event, BaseEvent) else (event, strict)


def _is_sound(fields: dict[str, Any]) -> bool:
    """Make sure that the models would take every field, and bring odd values into what JSON carries.

    False means: not sure. Raises what reading a value raises.
    """
    if "timestamp" in fields:
        fields["timestamp"] = instant(fields["timestamp"])
    plain = True
    for name, value in fields.items():
        kind = _KINDS.get(name)
        if kind is str:
            if type(value) is not str or not value:
                return False
        elif kind is dict:
            if type(value) is not dict or len(value) > MAX_PROPERTIES:
                return False
            plain = plain and is_plain(value, 2)
        elif kind is None:
            plain = plain and is_plain([value])
        elif type(value) is not kind:
            return False
    if len(fields.get("messageId", "")) > MAX_MESSAGE_ID:
        return False
    if not plain:
        odd = {name: value for name, value in fields.items() if _KINDS.get(name) is not datetime}
        fields.update({name: clean(value, name) for name, value in odd.items()})
    return True


def _wire(fields: dict[str, Any], kind: str, now: datetime, new_id: Callable[[], str]) -> dict[str, Any]:
    """Complete sound fields; `messageId` comes first, so that a worker can read it without parsing."""
    wire = {"messageId": fields.get("messageId") or new_id(), "type": kind, **fields}
    wire["timestamp"] = written(fields.get("timestamp", now))
    wire["context"] = _with_library(fields.get("context"))
    return wire


def _with_library(context: dict[str, Any] | None) -> dict[str, Any]:
    """A context that names the sending library: the caller's if it has one, else pombo's in a copy."""
    if context is None:
        return {"library": LIBRARY}
    return context if context.get("library") is not None else {**context, "library": LIBRARY}


def _sealed(wire: dict[str, Any], body: bytes, ordering_key: str | None) -> Prepared:
    if len(body) > MAX_BYTES:
        raise _too_large(wire, len(body))
    key = wire.get("userId") or wire["anonymousId"] if ordering_key is None else _checked(ordering_key)
    # As `Prepared(…)`, in a third of the time.
    return tuple.__new__(Prepared, (wire["messageId"], wire["type"], key, body))


def _checked(ordering_key: object) -> str:
    if not isinstance(ordering_key, str) or not ordering_key:
        complaint = "orderingKey is no non-empty string; leave it out to order by user"
        raise InvalidEvent("orderingKey", "ordering_key_not_string", complaint)
    return mend(ordering_key)


def _too_large(wire: dict[str, Any], size: int) -> InvalidEvent:
    largest, name = max((len(dumps(value)), name) for name, value in wire.items())
    complaint = f"the event has {size:,} bytes as JSON and Segment takes {MAX_BYTES:,}"
    return InvalidEvent(name, "too_large", f"{complaint}; shorten {name}, which has {largest:,}")
