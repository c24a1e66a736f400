"""Identities: what stands for a customer, a conversation or a message in an event."""

import hmac
import re
from collections.abc import Iterator
from urllib.parse import unquote

import orjson

from pombo.producer.blip.nodes import PHONE_DOMAINS, Node
from pombo.producer.blip.options import BlipOptions

_AREA_CODES = "1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9]"
_OLD_MOBILE = re.compile(rf"(55(?:{_AREA_CODES}))([6-9]\d{{7}})")
_NEW_MOBILE = re.compile(rf"(55(?:{_AREA_CODES}))9([6-9]\d{{7}})")
_WAMID = re.compile(r"wamid\.[A-Za-z0-9+/=_-]+")
_FORWARDED = re.compile(r"\A(?:fwd:)+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9](?:[ ().-]{0,3}[0-9]){5,}")
"""A telephone number as people write it, such as (11) 98765-4321."""
_DIGITS = 40
"""Of 64 hexadecimal digits: 160 bits, and with a prefix well below the 100 characters that Segment takes."""
_SHORTEST = 6
"""Characters of a name below which it is not looked for in other texts: it would be found in anything."""


def digest(options: BlipOptions, purpose: str, *parts: object) -> str:
    """HMAC-SHA256 of parts in one canonical form, whatever the order of keys in them."""
    told = orjson.dumps([purpose, *parts], default=str, option=orjson.OPT_SORT_KEYS)
    return hmac.digest(options.key, told, "sha256").hex()[:_DIGITS]


def message_id(options: BlipOptions, *parts: object) -> str:
    """Segment's messageId for the item that these parts tell from all others."""
    return f"blip-{digest(options, 'message', *parts)}"


def reference(options: BlipOptions, blip_id: str) -> str:
    """What stands for one of Blip's message ids: a wamid is base64 of, among others, the customer's phone number.

    Copies that a router forwards have the same reference as the original.
    """
    return f"ref-{digest(options, 'reference', _FORWARDED.sub('', blip_id))}"


def user_id(options: BlipOptions, node: Node) -> str:
    """The customer's userId: the identity as Blip has it, or a keyed hash that stands for it."""
    return node.identity if options.identity == "raw" else f"blip_{digest(options, 'user', canonical(node))}"


def anonymous_id(options: BlipOptions, *parts: object) -> str:
    """An anonymousId for what has no identity: the same for the same parts."""
    return f"blip_{digest(options, 'anonymous', *parts)}"


def conversation(options: BlipOptions, node: Node) -> str:
    """What stands for all that is exchanged with one customer, whichever bot of the source it is with."""
    return f"conv-{digest(options, 'conversation', canonical(node))}"


def agent_reference(options: BlipOptions, identity: str) -> str:
    """What stands for a human agent, whose identity is an e-mail address."""
    return f"agent-{digest(options, 'agent', unquote(Node.parse(identity).name).lower())}"


def canonical(node: Node) -> str:
    """One spelling for all that mean the same customer: lower case, and Brazilian mobiles with their ninth digit."""
    name = node.name.lower()
    if node.domain in PHONE_DOMAINS:
        name = brazilian(name.removeprefix("+"))
    return f"{name}@{node.domain}"


def brazilian(number: str) -> str:
    """Insert the ninth digit into a Brazilian mobile number that lacks it; other texts stay.

    WhatsApp knows most numbers outside area codes 11 to 28 without it, other systems have it, and it is one person.
    """
    old = _OLD_MOBILE.fullmatch(number)
    return f"{old[1]}9{old[2]}" if old else number


class Scrub:
    """Takes out of texts what must not reach Segment: wamids always, with hashed identities also the identity."""

    def __init__(self, options: BlipOptions, *nodes: Node) -> None:
        self._options = options
        hashed = options.identity == "hmac"
        names = {name: user_id(options, node) for node in nodes for name in _spellings(node)} if hashed else {}
        self._numbers = {name: names[name] for name in names if _NUMBER.fullmatch(name)}
        self._words = {name: names[name] for name in names if name not in self._numbers}

    def __call__(self, value: object) -> object:
        """A copy of a value, with every text and key in it scrubbed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            # In a fixed order, as scrubbing may make two keys equal.
            return {self.text(key): self(value[key]) for key in sorted(value)}
        return [self(member) for member in value] if isinstance(value, list) else value

    def text(self, value: str) -> str:
        """A text with references in the place of wamids, and the userId in the place of the identity."""
        if "wamid." in value:
            value = _WAMID.sub(lambda found: reference(self._options, found[0]), value)
        if self._numbers:
            value = _NUMBER.sub(lambda found: self._without_numbers(found[0]), value)
        for word, stand_in in self._words.items():
            value = value.replace(word, stand_in)
        return value

    def _without_numbers(self, digits: str) -> str:
        """Digits, maybe with punctuation between them, without those that are the identity."""
        places = [place for place, character in enumerate(digits) if character.isdecimal()]
        bare = "".join(digits[place] for place in places)
        if not any(number in bare for number in self._numbers):
            return digits
        parts, end = [], 0
        for found in re.finditer("|".join(self._numbers), bare):
            parts += [digits[end : places[found.start()]], self._numbers[found[0]]]
            end = places[found.end() - 1] + 1
        return "".join((*parts, digits[end:]))


def _spellings(node: Node) -> Iterator[str]:
    """How the identity's name may be written, the longest first."""
    name = node.name
    found = {name, name.lower(), unquote(name), unquote(name).lower()}
    if node.domain in PHONE_DOMAINS:
        full = canonical(node).partition("@")[0]
        new = _NEW_MOBILE.fullmatch(full)
        found |= {full, *([new[1] + new[2], full[2:], new[1][2:] + new[2]] if new else [])}
    yield from sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)
