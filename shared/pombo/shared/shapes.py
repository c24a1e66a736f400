"""Shapes: which fields each of Segment's six calls carries, under which names, and which it must carry.

The models of `events` and the quicker check of `prepared` both read these tables and name fields by `named`.

Keys that SDKs send beside the fields: `DROPPED` are set by Segment, or by the worker at each send (and a
write key has no business in a queue); `PASSED` are handed on, since Segment reads them.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any, NamedTuple

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import mend, shortened

DROPPED = frozenset({"type", "sentAt", "writeKey", "receivedAt", "originalTimestamp", "version", "projectId"})
PASSED = frozenset({"_metadata", "channel"})


MAX_MESSAGE_ID = 100
"""Characters of a messageId (Segment: "limited to 100")."""

MAX_PROPERTIES = 10_000
"""Keys of `properties` or of another object field; Segment silently drops those beyond."""


class Rule(NamedTuple):
    """What a field must be — a non-empty str, a dict or a datetime — and the code of the refusal."""

    kind: type
    code: str


class Shape(NamedTuple):
    """What one type of event may carry, and what it must.

    `names` maps each accepted spelling to Segment's name, `required` a name to the code of its absence. `own` are
    Segment's names alone, and `type`.
    """

    type: str
    names: Mapping[str, str]
    required: Mapping[str, str]
    own: frozenset[str]


FIELDS = {
    "userId": Rule(str, "id_not_string"),
    "anonymousId": Rule(str, "id_not_string"),
    "event": Rule(str, "event_not_string"),
    "name": Rule(str, "name_not_string"),
    "category": Rule(str, "category_not_string"),
    "groupId": Rule(str, "id_not_string"),
    "previousId": Rule(str, "id_not_string"),
    "properties": Rule(dict, "properties_not_object"),
    "traits": Rule(dict, "traits_not_object"),
    "context": Rule(dict, "context_not_object"),
    "integrations": Rule(dict, "integrations_not_object"),
    "timestamp": Rule(datetime, "timestamp_invalid"),
    "messageId": Rule(str, "message_id_not_string"),
}
_COMMON = ("userId", "anonymousId", "context", "integrations", "timestamp", "messageId")


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def _shape(kind: str, *own: str, **required: str) -> Shape:
    names = {spelling: name for name in _COMMON + own for spelling in (name, _snake(name))}
    return Shape(kind, names, required, frozenset({"type", *names.values()}))


SHAPES = {
    shape.type: shape
    for shape in (
        _shape("identify", "traits"),
        _shape("track", "event", "properties", event="event_not_defined"),
        _shape("page", "name", "category", "properties"),
        _shape("screen", "name", "category", "properties"),
        _shape("group", "groupId", "traits", groupId="group_id_required"),
        _shape("alias", "previousId", previousId="previous_id_required", userId="user_id_required"),
    )
}


def shape_of(event: Mapping[str, Any]) -> Shape:
    """The shape that an event's `type` names; raise `InvalidEvent` if it names none."""
    if type(event) is dict and type(quick := event.get("type")) is str and quick in SHAPES:
        return SHAPES[quick]
    if not isinstance(event, Mapping):
        raise InvalidEvent("", "not_an_event", f"an event is a dict or a model, not {type(event).__name__}")
    kind = event.get("type")
    if kind is None:
        raise InvalidEvent("type", "missing_type", f"the event has no type; set it to one of {_listed(SHAPES)}")
    shape = SHAPES.get(str.__str__(kind)) if isinstance(kind, str) else None
    if shape is None:
        raise InvalidEvent("type", "invalid_type", f"type is none of {_listed(SHAPES)}; set it to one of them")
    return shape


def named(event: Mapping[str, Any], shape: Shape, *, strict: bool = True) -> dict[str, Any]:
    """Bring an event's fields under Segment's names, without absent and `DROPPED` ones.

    The values are the caller's own, unchecked. An unknown key stays, unless `strict`. Raises `InvalidEvent`
    for that, for a field given twice and for a missing one.
    """
    if type(event) is dict and shape.own.issuperset(event):  # As nearly always: no other spelling, nothing foreign.
        fields = {name: value for name, value in event.items() if value is not None}
        del fields["type"]
        _check_presence(fields, shape)
        return fields
    fields = {}
    for key, value in event.items():
        name = shape.names.get(key)
        if name is None:
            if key in DROPPED:
                continue
            name = _foreign(key, shape, strict)
        if value is None:
            continue
        if name in fields:
            raise InvalidEvent(name, "given_twice", f"{name} is given under two names; keep one of them")
        fields[name] = value
    _check_presence(fields, shape)
    return fields


def _foreign(key: object, shape: Shape, strict: bool) -> str:
    """The name of a key that is no field of the shape; raise `InvalidEvent` if it may not stay."""
    if isinstance(key, str) and (not strict or key in PASSED):
        return mend(key)
    shown = shortened(mend(key)) if isinstance(key, str) else type(key).__name__
    close = get_close_matches(shown, shape.names, 1)
    remedy = f"did you mean {close[0]!r}?" if close else f"{shape.type} takes {_listed(shape.names.values())}"
    raise InvalidEvent(shown, "unknown_field", f"unknown field {shown!r}; {remedy}")


def _check_presence(fields: Mapping[str, Any], shape: Shape) -> None:
    if "userId" not in fields and "anonymousId" not in fields:
        remedy = "give it one, as a non-empty string"
        raise InvalidEvent("userId", "no_user_anon_id", f"{shape.type} has neither userId nor anonymousId; {remedy}")
    for name, code in shape.required.items():
        if name not in fields:
            raise InvalidEvent(name, code, f"{shape.type} has no {name}; give it one, as a non-empty string")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
