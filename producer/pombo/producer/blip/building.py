"""Building: what all events of this adapter have in common."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip.identities import anonymous_id, conversation, user_id
from pombo.producer.blip.nodes import TUNNEL, Node
from pombo.producer.blip.options import BlipOptions
from pombo.shared.prepared import LIBRARY, MAX_BYTES
from pombo.shared.values import dumps, stamp

CONTEXT = {"integration": {"name": "blip", "version": LIBRARY["version"]}}
_ROOM = 512
"""Bytes left for what is filled in later: the library, and a timestamp."""


def who(options: BlipOptions, customer: Node | None, *otherwise: object) -> tuple[dict[str, str], str]:
    """The event's id of a person, and its ordering key: the conversation, or the anonymousId made of `otherwise`."""
    if customer is not None and customer.name:
        return {"userId": user_id(options, customer)}, conversation(options, customer)
    anonymous = anonymous_id(options, *otherwise)
    return {"anonymousId": anonymous}, anonymous


def channel_of(customer: Node | None, tunnel: bool = False) -> str:
    """The customer's channel in a word."""
    if customer is None or not customer.domain:
        return "tunnel" if tunnel else "unknown"
    return "tunnel" if customer.domain == TUNNEL else customer.channel or "unknown"


def build(
    kind: str,
    message_id: str,
    person: Mapping[str, str],
    ordering_key: str,
    moment: datetime | None,
    **fields: Any,
) -> Adapted:
    """Make the event, without what is None; without a moment it gets that of its arrival."""
    event: dict[str, Any] = {"messageId": message_id, "type": kind, **person}
    for name, value in fields.items():
        event[name] = present(value) if isinstance(value, dict) else value
    if moment is not None:
        event["timestamp"] = stamp(moment)
    event["context"] = {"integration": dict(CONTEXT["integration"])}
    return Adapted(event, ordering_key)


def present(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields without absent ones."""
    return {name: value for name, value in fields.items() if value is not None}


def fits(adapted: Adapted) -> bool:
    """Whether Segment would take the event for its size."""
    return len(dumps(adapted.event)) <= MAX_BYTES - _ROOM


def fitting(adapted: Adapted, field: str) -> Adapted:
    """The event, if it fits.

    Raises:
        UnknownItem: it is too large; `field` is where most of it comes from.
    """
    if not fits(adapted):
        raise UnknownItem(
            f"the event would have more than the {MAX_BYTES:,} bytes that Segment takes; shorten {field}", field
        )
    return adapted
