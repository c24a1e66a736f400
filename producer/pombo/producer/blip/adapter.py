"""The adapter: one item of Blip's data webhook, as the events that it makes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pombo.producer.adapted import Adapted
from pombo.producer.blip.contacts import adapt_contact
from pombo.producer.blip.kinds import NOTIFICATION, Kind, is_notification, refuse_commands, sniff
from pombo.producer.blip.messages import adapt_message
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.reading import Skip, sound
from pombo.producer.blip.tickets import adapt_ticket
from pombo.producer.blip.tracks import adapt_track


class Explained(NamedTuple):
    """What an item is, the events that it makes, and why it makes none."""

    kind: Kind | None
    events: list[Adapted]
    reason: str | None = None


def adapt(item: Mapping[str, Any], options: BlipOptions, *, kind: Kind | None = None) -> list[Adapted]:
    """Turn an item into events; none for a known item that says nothing, such as a chat state.

    Args:
        item: one item, as parsed from JSON; it is not changed.
        options: the source's choices.
        kind: what the item is, if the URL says it; else its keys tell.

    Raises:
        UnknownItem: the item is not what Blip documents; nothing else is ever raised.
    """
    return explain(item, options, kind=kind).events


def explain(item: Mapping[str, Any], options: BlipOptions, *, kind: Kind | None = None) -> Explained:
    """Do what `adapt` does, and say what the item is and why it makes no event; raises UnknownItem."""
    plain = sound(item)
    found = sniff(plain) if kind is None else _checked(plain, kind)
    if isinstance(found, Skip):
        return Explained(None, [], found.reason)
    made = _ADAPTERS[found](plain, options)
    return Explained(found, [], made.reason) if isinstance(made, Skip) else Explained(found, [made])


def _checked(item: Mapping[str, Any], kind: Kind) -> Kind | Skip:
    refuse_commands(item)
    return NOTIFICATION if is_notification(item) else kind


_ADAPTERS: Mapping[Kind, Callable[[Mapping[str, Any], BlipOptions], Adapted | Skip]] = {
    Kind.MESSAGES: adapt_message,
    Kind.EVENTS: adapt_track,
    Kind.CONTACTS: adapt_contact,
    Kind.TICKETS: adapt_ticket,
}
