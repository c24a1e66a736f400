"""Requests: the body of `POST /quickbot/{source}`, made an event.

| key | meaning |
|---|---|
| `block` | the Segment block as an exported flow holds it; needed |
| `variables` | by name, or the flow's list; without it the block's fields are taken as filled in already |
| `condition` | a condition, or a list that must all hold; when it does not, nothing is sent |
| `resultId` | the conversation: makes the messageId together with the block's id, and keeps the order |
| `idempotencyKey` | makes the messageId instead, for blocks that run several times in a conversation |
| `cast` | `none` or `json`: see `casting` |
| `context` | an object of templates for the event's context |
| `timestamp` | when it happened, ISO 8601; without it: now |
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pombo.producer.adapted import Adapted
from pombo.producer.quickbot.block import SegmentBlock
from pombo.producer.quickbot.casting import read_cast
from pombo.producer.quickbot.conditions import read_condition
from pombo.producer.quickbot.effort import Effort
from pombo.producer.quickbot.identity import message_id
from pombo.producer.quickbot.template import is_template
from pombo.producer.quickbot.variables import Variables
from pombo.shared.errors import InvalidEvent
from pombo.shared.events import parse
from pombo.shared.values import mend, shortened, stamp

KEYS = (
    "block", "variables", "condition", "conditions", "resultId", "idempotencyKey", "cast", "context", "timestamp",
)  # fmt: skip

MOST_KEYS = 64


def adapt(request: Mapping[str, Any], *, idempotency_key: str | None = None, scope: str = "") -> Adapted | None:
    """Make the event that a request asks for; None when its condition does not hold.

    `idempotency_key` is the one of the request's header, and goes before the body's. `scope` sets apart ids that
    must differ though key and block are the same: name the source.

    Raises:
        InvalidEvent: it cannot be sent, and whoever made the request or the flow can correct that; its `field`
            says what.
    """
    if not isinstance(request, Mapping):
        raise InvalidEvent("", "not_a_request", f"the request is {type(request).__name__}; make it an object")
    if len(request) > MOST_KEYS:
        raise InvalidEvent("", "not_a_request", f"the request has over {MOST_KEYS} keys; send the documented ones")
    _refuse_slips(request)
    block = SegmentBlock.model_validate(_block(request))
    variables = None if request.get("variables") is None else Variables.read(request["variables"])
    result = _id(request, "resultId")
    key = _id({"idempotencyKey": idempotency_key}, "idempotencyKey") or _id(request, "idempotencyKey")
    if not _holds(request, variables or Variables()):
        return None
    cast = read_cast(request.get("cast") or "none")
    event = block.event(variables, cast=cast, context=request.get("context"))
    if key or result:
        event["messageId"] = message_id(block.id or event, scope, "key" if key else "result", key or result)
    if request.get("timestamp") is not None:
        moment = parse({**event, "timestamp": request["timestamp"]}).timestamp
        assert moment is not None
        event["timestamp"] = stamp(moment)
    return Adapted(event, result or None)


def _block(request: Mapping[str, Any]) -> Any:
    if request.get("block") is None:
        remedy = "put the Segment block there, as it is in the exported flow"
        raise InvalidEvent("block", "block_missing", f"the request has no block; {remedy}")
    return request["block"]


def _refuse_slips(request: Mapping[str, Any]) -> None:
    """Refuse a key that looks like one of ours: ignored, it would change what is sent. Other keys are ignored."""
    for key in request:
        if key in KEYS or not isinstance(key, str):
            continue
        close = get_close_matches(key.replace("_", "")[:32].lower(), [one.lower() for one in KEYS], 1, 0.85)
        if close:
            known = next(one for one in KEYS if one.lower() == close[0])
            shown = shortened(mend(key))
            raise InvalidEvent(shown, "unknown_field", f"unknown field {shown!r}; did you mean {known!r}?")


def _id(request: Mapping[str, Any], name: str) -> str:
    """An id of the caller's; empty if there is none.

    One that still is a template is refused: all conversations would have it, and all but the first be duplicates.
    """
    given = request.get(name)
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise InvalidEvent(name, "id_not_string", f"{name} is {type(given).__name__}; make it a string")
    if isinstance(given, int) and given.bit_length() > 64:
        raise InvalidEvent(name, "id_not_string", f"{name} is a number of more than 64 bits; make it a string")
    text = mend(str(given))
    if is_template(text):
        raise InvalidEvent(
            name, "not_filled_in", f"{name} is still a template; have the platform fill it in, or leave it out"
        )
    return text


def _holds(request: Mapping[str, Any], variables: Variables) -> bool:
    """Whether all conditions hold; without any, yes."""
    effort = Effort()
    for name in ("condition", "conditions"):
        given = request.get(name)
        if given is None:
            continue
        if isinstance(given, list | tuple):
            places = [(f"{name}[{number}]", one) for number, one in enumerate(given)]
        else:
            places = [(name, given)]
        if not all(read_condition(one, place).holds(variables, effort, path=place) for place, one in places):
            return False
    return True
