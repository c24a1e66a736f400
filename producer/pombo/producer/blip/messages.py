"""Messages: what was said, either way."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.blip.building import build, channel_of, fits, fitting, who
from pombo.producer.blip.content import LIME, is_sensitive, told_content, without_sensitive
from pombo.producer.blip.extras import told_notes
from pombo.producer.blip.identities import Scrub, agent_reference, message_id, reference
from pombo.producer.blip.nodes import Node, end_key
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.parties import Parties, read_parties
from pombo.producer.blip.reading import Skip, epoch, moment, optional_object, optional_text, text
from pombo.producer.blip.tickets import TICKET, adapt_ticket_message

IRIS = "application/vnd.iris."
_SILENT = {
    f"{LIME}chatstate+json": "a chat state: somebody is writing, nothing was said",
    f"{LIME}redirect+json": "a redirect between a bot's parts",
    f"{LIME}notification+json": "a notification, which says what became of a message",
    f"{LIME}command+json": "a command among Blip's parts",
}
"""Content types, in lower case, with which nobody says anything."""


def adapt_message(message: Mapping[str, Any], options: BlipOptions) -> Adapted | Skip:
    """Make `Message Sent`, `Message Received` or, of a ticket, `Ticket Updated`.

    Raises:
        UnknownItem: it is no LIME message, or nobody knows who the customer is.
    """
    kind = _content_type(message)
    if kind == TICKET:
        return adapt_ticket_message(message, options)
    if kind in _SILENT:
        return Skip(_SILENT[kind])
    if kind.startswith(IRIS):
        return Skip("one of Blip's own documents, not a message")
    metadata = optional_object(message, "metadata", of="message")
    parties = read_parties(message, metadata, options)
    if isinstance(parties, Skip):
        return parties
    if "content" not in message:
        raise UnknownItem("this message has no content, which Blip always sends; see what calls this URL", "content")
    made = _event(message, metadata, parties, options)
    if fits(made) or options.bodies != "full":
        return fitting(made, "metadata")
    shorter = _event(message, metadata, parties, replace(options, bodies="length"))
    shorter.event["properties"]["body_omitted"] = "too_large"
    return fitting(shorter, "metadata")


def _content_type(message: Mapping[str, Any]) -> str:
    told = text(message, "type", of="message")
    if "/" not in told:
        raise UnknownItem("type of this message is no content type such as text/plain; see what calls this URL", "type")
    return told.partition(";")[0].strip().lower()


def _event(message: Mapping[str, Any], metadata: Mapping[str, Any], parties: Parties, options: BlipOptions) -> Adapted:
    key = message_key(message, metadata)
    person, ordering_key = who(options, parties.customer, *key)
    blip_id = optional_text(message, "id", of="message")
    scrub = Scrub(options, *_seen(message, parties))
    properties = {
        "direction": "inbound" if parties.inbound else "outbound",
        "role": _role(parties, metadata),
        "channel": _channel(parties, blip_id),
        "content_type": scrub(message["type"]),
        "conversation": ordering_key,
        "bot": parties.bot and parties.bot.identity,
        "tunnel": parties.tunnel or None,
        "message_ref": blip_id and reference(options, blip_id),
        "agent_ref": _agent(metadata, options),
        **told_notes(metadata, options, scrub),
        **told_content(message["type"], message["content"], options, scrub),
    }
    return build(
        "track", message_id(options, "message", *key), person, ordering_key, message_moment(message, metadata),
        event=parties.event_name(options), properties=properties,
    )  # fmt: skip


def message_key(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[object]:
    """What tells a message from all others.

    Its id is not enough: a broadcast and each of its copies share one. What may differ when Blip sends the same
    message again, such as most of the metadata, is left out, and so is what may be kept nowhere.
    """
    ends = [end_key(message.get(field)) for field in ("from", "to")]
    kind = str(message.get("type"))
    content = None if is_sensitive(kind) else without_sensitive(message.get("content"))
    blip_id = message.get("id") or metadata.get("#uniqueId") or metadata
    return [blip_id, *ends, kind.lower(), content]


def message_moment(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> datetime | None:
    """When a message was stored, or else the next best that is known of it; None: not at all."""
    return (
        moment(metadata.get("#envelope.storageDate"), message.get("date"))
        or epoch(metadata.get("date_created"), 1000)
        or epoch(metadata.get("#date_processed"), 1000)
        or epoch(metadata.get("#envelope.timestamp"), 1000)
        or epoch(metadata.get("#wa.timestamp"), 1)
    )


def _role(parties: Parties, metadata: Mapping[str, Any]) -> str:
    if parties.inbound:
        return "customer"
    emitter = metadata.get("#messageEmitter")
    if isinstance(emitter, str) and emitter.lower() in {"human", "bot"}:
        return "human_agent" if emitter.lower() == "human" else "bot"
    return "human_agent" if parties.agent or metadata.get("#message.agentIdentity") else "bot"


def _channel(parties: Parties, blip_id: str | None) -> str:
    if parties.customer is None and blip_id and blip_id.startswith("wamid."):
        return "whatsapp"
    return channel_of(parties.customer, parties.tunnel)


def _agent(metadata: Mapping[str, Any], options: BlipOptions) -> str | None:
    agent = metadata.get("#message.agentIdentity")
    return agent_reference(options, agent) if isinstance(agent, str) and agent else None


def _seen(message: Mapping[str, Any], parties: Parties) -> list[Node]:
    """The customer's addresses in this message: its own, and the one that a tunnel gives it."""
    masked = message.get("from" if parties.inbound else "to")
    nodes = [parties.customer, Node.parse(masked) if isinstance(masked, str) else None]
    return list(dict.fromkeys(node._replace(instance="") for node in nodes if node and node.name))
