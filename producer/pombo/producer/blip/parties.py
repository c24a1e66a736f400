"""Parties: who the customer of a message is, and which way it went."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pombo.producer.adapted import UnknownItem
from pombo.producer.blip.nodes import TUNNEL, Node, Side, originator
from pombo.producer.blip.options import BlipOptions
from pombo.producer.blip.reading import Skip, optional_text

_INBOUND = {"received": True, "sent": False}
"""What Blip's thread items say themselves, from the bot's side."""


class Parties(NamedTuple):
    """Both ends of one message."""

    inbound: bool
    """Whether it came from the customer."""
    customer: Node | None
    """The customer's own address, also where a tunnel masks it and the item tells; None where nothing tells."""
    bot: Node | None
    agent: bool
    """Whether a human agent's address is the other end."""
    tunnel: bool
    """Whether this is a subbot's copy, which sees its customer through a tunnel."""

    def event_name(self, options: BlipOptions) -> str:
        """Blip names from the bot's side, Segment's own specification for chats from the customer's."""
        sent = self.inbound if options.perspective == "customer" else not self.inbound
        return "Message Sent" if sent else "Message Received"


def read_parties(message: Mapping[str, Any], metadata: Mapping[str, Any], options: BlipOptions) -> Parties | Skip:
    """Tell customer and bot by their domains, or by the bots that the source names.

    Raises:
        UnknownItem: an address is none, or neither end is the customer.
    """
    sender, receiver = _node(message, "from"), _node(message, "to")
    sides = [node.side(options.bots) if node else None for node in (sender, receiver)]
    if Side.SYSTEM in sides:
        return Skip("Blip's own message, between its parts")
    if options.bots and sender and receiver and not _is_ours(sender, receiver, options):
        return Skip("another bot's message: the source names its bots, and this is of none of them")
    inbound = _stated(message)
    if inbound is None:
        told = _inbound(sides)
        if isinstance(told, Skip):
            return told
        inbound = told
    customer, other = (sender, receiver) if inbound else (receiver, sender)
    customer_side, other_side = sides if inbound else sides[::-1]
    if customer_side in {Side.BOT, Side.AGENT}:
        return BETWEEN_BOTS
    tunnel = customer is not None and customer.domain == TUNNEL
    masked = originator(metadata.get("#tunnel.originator")) if tunnel or customer is None else None
    return Parties(
        inbound=inbound, customer=masked or customer, bot=other if other_side is Side.BOT else None,
        agent=other_side is Side.AGENT, tunnel=tunnel,
    )  # fmt: skip


def _node(message: Mapping[str, Any], field: str) -> Node | None:
    told = optional_text(message, field, of="message")
    if told is None:
        return None
    node = Node.parse(told)
    if not node.name or not node.domain:
        raise UnknownItem(f"{field} of this message is no LIME address (name@domain); see what calls this URL", field)
    return node


def _is_ours(sender: Node, receiver: Node, options: BlipOptions) -> bool:
    return sender.identity.lower() in options.bots or receiver.identity.lower() in options.bots


def _stated(message: Mapping[str, Any]) -> bool | None:
    direction = message.get("direction")
    return _INBOUND.get(direction.lower()) if isinstance(direction, str) else None


def _inbound(sides: list[Side | None]) -> bool | Skip:
    sender, receiver = (_rank(side) for side in sides)
    if sender != receiver:
        return sender > receiver
    if sides in ([Side.BOT, Side.BOT], [Side.BOT, Side.AGENT], [Side.AGENT, Side.BOT], [Side.AGENT, Side.AGENT]):
        return BETWEEN_BOTS
    if sides == [None, None]:
        raise UnknownItem(
            "this message has neither from nor to, so nobody knows whose it is; see what calls this URL", "from"
        )
    raise UnknownItem(
        "from and to of this message look alike, so nobody knows which is the customer; name the source's bots with "
        "`pombo sources set NAME --bot IDENTITY`",
        "from",
    )


def _rank(side: Side | None) -> int:
    """How likely an end is the customer's; an absent one is whatever the other is not."""
    if side is Side.CUSTOMER:
        return 3
    if side is Side.UNKNOWN:
        return 2
    return 1 if side is None else 0


BETWEEN_BOTS = Skip("between bots, or between a bot and its agents: the customer takes no part in it")
