"""Contacts: who a customer is."""

from collections.abc import Mapping
from typing import Any

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip.building import build, channel_of, fitting, who
from pombo.producer.blip.extras import told_extras
from pombo.producer.blip.identities import Scrub, message_id
from pombo.producer.blip.nodes import Node
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.reading import moment, optional_object, optional_text

_RESERVED = {
    "name": ("name", "fullName"),
    "firstName": ("firstName",),
    "lastName": ("lastName",),
    "email": ("email",),
    "phone": ("phoneNumber", "cellPhoneNumber"),
    "avatar": ("photoUri",),
    "birthday": ("birthDate",),
    "createdAt": ("creationDate",),
    "gender": ("gender",),
}
"""Traits that Segment knows, and Blip's fields for them in the order of choice."""
_OWN = {
    "culture": "culture",
    "timezone": "timezone",
    "timeZoneName": "timezone_name",
    "group": "group",
    "source": "source",
    "lastMessageDate": "last_message_at",
    "subscriptionStatus": "subscription_status",
}
"""Further fields that are told. Not told: the tax document, WhatsApp's own ids, and Blip's switches."""


def adapt_contact(contact: Mapping[str, Any], options: BlipOptions) -> Adapted:
    """Make an identify call; the moment is that of the contact's last message, as Blip sends contacts out of order.

    Without an identity the anonymousId is made of e-mail address and phone number.

    Raises:
        UnknownItem: it says nothing of anybody, or a field is not what Blip sends.
    """
    fields = {key.lower(): contact[key] for key in sorted(contact)}
    identity = optional_text(fields, "identity", of="contact")
    customer = Node.parse(identity) if identity else None
    if customer is None and not any(fields.get(name) for name in ("name", "email", "phonenumber", "cellphonenumber")):
        raise UnknownItem("this contact has no identity, name, e-mail address or phone number", "identity")
    marks = [fields.get(name) for name in ("email", "phonenumber", "cellphonenumber")]
    person, ordering_key = who(options, customer, *(marks if any(marks) else [contact]))
    key = message_id(options, "contact", contact)
    scrub = Scrub(options, *([customer] if customer else []))
    traits = _traits(fields, options, scrub) | {"channel": channel_of(customer) if customer else None}
    made = build("identify", key, person, ordering_key, moment(fields.get("lastmessagedate")), traits=traits)
    return fitting(made, "extras")


def _traits(fields: Mapping[str, Any], options: BlipOptions, scrub: Scrub) -> dict[str, Any]:
    traits = {trait: _first(fields, names) for trait, names in _RESERVED.items()}
    if options.identity == "hmac":
        # What the userId hides must not stand beside it.
        traits["phone"] = None
    place = {"street": _first(fields, ("address",)), "city": _first(fields, ("city",))}
    traits["address"] = {name: value for name, value in place.items() if value is not None} or None
    traits |= {name: _first(fields, (field,)) for field, name in _OWN.items()}
    told = {name: scrub(value) for name, value in traits.items()}
    if told["email"] != traits["email"]:  # The e-mail address is the identity, which the userId hides.
        told["email"] = None
    told["extras"] = told_extras(optional_object(fields, "extras", of="contact"), scrub) or None
    return told


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that says something; empty texts and what is no plain value say nothing."""
    values = (fields.get(name.lower()) for name in names)
    return next((value for value in values if not isinstance(value, dict | list) and value not in {None, ""}), None)
