"""Event tracks: what a bot, or the builder by itself, counts."""

from collections.abc import Mapping
from typing import Any

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip.building import build, channel_of, fitting, who
from pombo.producer.blip.extras import told_extras, told_notes
from pombo.producer.blip.identities import Scrub, message_id, reference
from pombo.producer.blip.nodes import Node
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.reading import Skip, moment, optional_object, optional_text, text


def adapt_track(track: Mapping[str, Any], options: BlipOptions) -> Adapted | Skip:
    """Make `Event Tracked`.

    Without an identity the anonymousId is that of the message that caused the event, if the item names it.

    Raises:
        UnknownItem: it has no category or no action, or a field is not what Blip sends.
    """
    category, action = (text(track, field, of="event") for field in ("category", "action"))
    owner, blip_id = (optional_text(track, field, of="event") for field in ("ownerIdentity", "messageId"))
    bot = Node.parse(owner).identity if owner else None
    if options.bots and bot and bot.lower() not in options.bots:
        return Skip("another bot's event: the source names its bots, and this is of none of them")
    customer = _customer(track)
    extras = optional_object(track, "extras", of="event")
    key = [
        bot and bot.lower(), customer and customer.identity.lower(), blip_id, category, action,
        *(track.get(field) for field in ("storageDate", "label", "value", "count")), extras,
    ]  # fmt: skip
    cause = blip_id or extras.get("#messageId")
    person, ordering_key = who(options, customer, *([bot, cause] if isinstance(cause, str) and cause else key))
    scrub = Scrub(options, *([customer] if customer else []))
    properties = {
        "category": scrub(category),
        "action": scrub(action),
        **{field: scrub(track.get(field)) for field in ("label", "value", "count")},
        "bot": bot,
        "channel": channel_of(customer),
        "conversation": ordering_key if customer else None,
        "message_ref": blip_id and reference(options, blip_id),
        **told_notes(extras, options, scrub),
        "extras": told_extras(extras, scrub) or None,
    }
    made = build(
        "track", message_id(options, "event", *key), person, ordering_key, moment(track.get("storageDate")),
        event="Event Tracked", properties=properties,
    )  # fmt: skip
    return fitting(made, "extras")


def _customer(track: Mapping[str, Any]) -> Node | None:
    """Whose event it is: the webhook writes `contact.Identity`, the API `contact.identity`, older bots `identity`."""
    contact = optional_object(track, "contact", of="event")
    told = [contact[key] for key in sorted(contact) if key.lower() == "identity"] + [track.get("identity")]
    for value in told:
        if value is not None and not isinstance(value, str):
            where = "identity" if value is track.get("identity") else "contact.Identity"
            raise UnknownItem(
                f"{where} of this event is {type(value).__name__}, not a text; see what calls this URL", where
            )
        node = Node.parse(value) if value else None
        if node and node.name:
            return node
    return None
