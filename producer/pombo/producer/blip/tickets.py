"""Tickets: how a customer's case at the human agents' desk stands. They come as messages, and nobody says anything."""

from collections.abc import Mapping
from typing import Any

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip.building import build, channel_of, fits, fitting, who
from pombo.producer.blip.content import length, told_content, without_sensitive
from pombo.producer.blip.identities import Scrub, agent_reference, message_id
from pombo.producer.blip.nodes import Node, end_key
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.reading import Skip, moment, optional_object, optional_text
from pombo.shared.values import stamp

TICKET = "application/vnd.iris.ticket+json"
OFF = Skip("a ticket, and the source leaves them out; --tickets makes them `Ticket Updated`")

_TOLD = {
    "id": "ticket_id",
    "sequentialId": "sequential_id",
    "parentSequentialId": "parent_sequential_id",
    "status": "status",
    "provider": "provider",
    "team": "team",
    "priority": "priority",
    "rating": "rating",
    "unreadMessages": "unread_messages",
    "closed": "closed",
    "tags": "tags",
}
_MOMENTS = {"storageDate": "created_at", "openDate": "opened_at", "closeDate": "closed_at", "statusDate": "status_at"}
_AGENTS = {"agentIdentity": "agent_ref", "closedBy": "closed_by_ref"}


def adapt_ticket_message(message: Mapping[str, Any], options: BlipOptions) -> Adapted | Skip:
    """Make `Ticket Updated` of a message whose content is a ticket."""
    ticket = optional_object(message, "content", of="ticket")
    if not ticket:
        raise UnknownItem("this ticket has no content, which Blip always sends; see what calls this URL", "content")
    metadata = optional_object(message, "metadata", of="ticket")
    key = [message.get("id"), end_key(message.get("from")), end_key(message.get("to")), ticket]
    return _adapt(ticket, options, key, metadata.get("#envelope.storageDate"))


def adapt_ticket(ticket: Mapping[str, Any], options: BlipOptions) -> Adapted | Skip:
    """Make `Ticket Updated` of a ticket that comes as an item of its own."""
    return _adapt(ticket, options, [ticket], None)


def _adapt(ticket: Mapping[str, Any], options: BlipOptions, key: list[object], stored: object) -> Adapted | Skip:
    customer = _customer(ticket)
    if not isinstance(ticket.get("id"), str) and customer is None:
        raise UnknownItem("this ticket has neither id nor customerIdentity; see what calls this URL", "id")
    bot = optional_text(ticket, "ownerIdentity", of="ticket")
    if not options.tickets:
        return OFF
    if options.bots and bot and Node.parse(bot).identity.lower() not in options.bots:
        return Skip("another bot's ticket: the source names its bots, and this is of none of them")
    key = [without_sensitive(part) for part in key]
    person, ordering_key = who(options, customer, ticket.get("id"))
    scrub = Scrub(options, *([customer] if customer else []))
    properties = {
        **{name: scrub(ticket.get(field)) for field, name in _TOLD.items()},
        **{name: _iso(ticket.get(field)) for field, name in _MOMENTS.items()},
        **{name: _agent(ticket.get(field), options) for field, name in _AGENTS.items()},
        "bot": bot and Node.parse(bot).identity,
        "channel": channel_of(customer),
        "conversation": ordering_key,
    }
    at = moment(stored, *(ticket.get(field) for field in ("statusDate", "closeDate", "openDate", "storageDate")))
    told = properties | _input(ticket, options, scrub)
    made = build(
        "track", message_id(options, "ticket", *key), person, ordering_key, at,
        event="Ticket Updated", properties=told,
    )  # fmt: skip
    if not fits(made) and options.bodies == "full":
        words = made.event["properties"].pop("customer_input", None)
        made.event["properties"] |= {"customer_input_length": length(words), "body_omitted": "too_large"}
    return fitting(made, "content")


def _customer(ticket: Mapping[str, Any]) -> Node | None:
    told = optional_text(ticket, "customerIdentity", of="ticket")
    if told is None:
        return None
    node = Node.parse(told)
    domain = ticket.get("customerDomain")
    return node if node.domain or not isinstance(domain, str) else node._replace(domain=domain.strip().lower())


def _input(ticket: Mapping[str, Any], options: BlipOptions, scrub: Scrub) -> dict[str, Any]:
    """What the customer said when the ticket was opened, as far as the source's choice for bodies lets it."""
    given = ticket.get("customerInput")
    if not isinstance(given, dict):
        return {}
    told = told_content(str(given.get("type")), given.get("value"), options, scrub)
    words = told.get("message_body", told.get("content"))
    return {"customer_input": words, "customer_input_length": told.get("body_length")}


def _iso(value: object) -> str | None:
    found = moment(value)
    return stamp(found) if found else None


def _agent(identity: object, options: BlipOptions) -> str | None:
    return agent_reference(options, identity) if isinstance(identity, str) and identity else None
