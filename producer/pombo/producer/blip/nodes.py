"""Nodes: LIME addresses, `name@domain/instance`, and whose they are."""

import re
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple
from urllib.parse import unquote

CHANNELS = {
    "0mn.io": "blip_chat",
    "take.io": "take",
    "tangram.com.br": "sms",
    "messenger.gw.msging.net": "messenger",
    "instagram.gw.msging.net": "instagram",
    "wa.gw.msging.net": "whatsapp",
    "abs.gw.msging.net": "azure_bot_service",
    "businessmessages.gw.msging.net": "google_business_messages",
    "skype.gw.msging.net": "skype",
    "telegram.gw.msging.net": "telegram",
    "workplace.gw.msging.net": "workplace",
    "mailgun.gw.msging.net": "email",
}
"""Domains of customers, as Blip's documentation lists them."""

PHONE_DOMAINS = frozenset({"0mn.io", "take.io", "tangram.com.br", "wa.gw.msging.net"})
"""Domains whose names may be phone numbers."""

BOTS, TUNNEL, AGENTS = "msging.net", "tunnel.msging.net", "blip.ai"
_GATEWAY = ".gw.msging.net"
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Side(Enum):
    """Whose address a node is."""

    CUSTOMER = "customer"
    BOT = "bot"
    AGENT = "agent"
    SYSTEM = "system"
    """Blip's own: postmasters, desk, broadcast lists, and the router's way to a subbot."""
    UNKNOWN = "unknown"
    """A domain that Blip does not document, so probably a new channel's."""


_DOMAINS = {**dict.fromkeys(CHANNELS, Side.CUSTOMER), BOTS: Side.BOT, AGENTS: Side.AGENT}


class Node(NamedTuple):
    """An address; the name as given, the domain in lower case, as LIME compares both without case."""

    name: str
    domain: str
    instance: str = ""

    @classmethod
    def parse(cls, text: str) -> "Node":
        """Read an address; what holds no `@` is a name alone."""
        identity, _, instance = text.strip().partition("/")
        name, _, domain = identity.partition("@")
        return cls(name, domain.lower(), instance)

    @property
    def identity(self) -> str:
        """The address without its instance."""
        return f"{self.name}@{self.domain}" if self.domain else self.name

    @property
    def channel(self) -> str:
        """The customer's channel by its name, or the domain of one that Blip does not document."""
        return CHANNELS.get(self.domain) or self.domain.removesuffix(_GATEWAY)

    def side(self, bots: Collection[str] = ()) -> Side:
        """Whose address this is; `bots` are identities, in lower case, that are bots whatever their domain."""
        if self.identity.lower() in bots:
            return Side.BOT
        if self.domain == TUNNEL:
            return self._tunnel_side()
        if self.name.lower() == "postmaster":
            return Side.SYSTEM
        if self.domain in _DOMAINS:
            return _DOMAINS[self.domain]
        if self.domain.endswith(_GATEWAY):
            return Side.CUSTOMER
        return Side.SYSTEM if self.domain.endswith(f".{BOTS}") else Side.UNKNOWN

    def _tunnel_side(self) -> Side:
        """A subbot sees its customer as a GUID; a router sees its subbot by name, the customer as its instance."""
        is_customer = _GUID.fullmatch(self.name) or not self.instance
        return Side.CUSTOMER if is_customer and self.name.lower() != "postmaster" else Side.SYSTEM


def end_key(address: object) -> str | None:
    """An address as it is compared: without instance and without case; None for what is no text."""
    return Node.parse(address).identity.lower() if isinstance(address, str) else None


def originator(text: object) -> Node | None:
    """The customer behind a tunnel, from `#tunnel.originator`, if that names one."""
    if not isinstance(text, str):
        return None
    node = Node.parse(text if "@" in text else unquote(text))
    known = node.name and node.domain and node.domain != TUNNEL
    return node if known and node.side() in {Side.CUSTOMER, Side.UNKNOWN} else None
