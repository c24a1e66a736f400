"""Kinds of items. None says what it is: Blip's own advice is to look for keys that only one kind must have."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip.reading import Skip


class Kind(StrEnum):
    """What the data webhook sends; the first three can be sent to URLs of their own."""

    MESSAGES = "messages"
    EVENTS = "events"
    CONTACTS = "contacts"
    TICKETS = "tickets"


def sniff(item: Mapping[str, Any]) -> Kind | Skip:
    """Tell an item's kind by its top-level keys, in Blip's order, as a message's content may hold any of them.

    Raises:
        UnknownItem: no key gives it away.
    """
    refuse_commands(item)
    if item.get("type") is not None:
        return Kind.MESSAGES
    if item.get("category") is not None:
        return Kind.EVENTS
    if "lastMessageDate" in item:
        return Kind.CONTACTS
    if is_notification(item):
        return NOTIFICATION
    if item.get("customerIdentity") is not None:
        return Kind.TICKETS
    raise UnknownItem(
        "this is no item of Blip's data webhook: it has neither type, category nor lastMessageDate at its top; "
        "point Blip's webhook here, or use the URL of its kind"
    )


def is_notification(item: Mapping[str, Any]) -> bool:
    """Whether an item says what became of a message: `accepted`, `dispatched`, `received`, `consumed`, `failed`."""
    return isinstance(item.get("event"), str) and item.get("type") is None and item.get("category") is None


def refuse_commands(item: Mapping[str, Any]) -> None:
    """Refuse a LIME command: it tells Blip to do something, and nothing that happened."""
    if item.get("method") is not None and (item.get("uri") is not None or "resource" in item):
        raise UnknownItem(
            "this is a LIME command, which Blip's data webhook does not send; send the item alone", "method"
        )


NOTIFICATION = Skip("a notification, which says what became of a message")
