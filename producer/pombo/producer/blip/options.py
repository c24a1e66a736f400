"""A source's choices for what Blip sends."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, Self

from pombo.shared.sources import Source


@dataclass(frozen=True, slots=True)
class BlipOptions:
    """What decides how items become events; made from a stored source with `of`.

    `key` is the source's own secret (`Registry.id_key`). Ids that stand in an event are keyed hashes under it: a plain
    hash of a phone number is undone by trying all numbers, and Segment looks for repeated messageIds across sources.
    """

    key: bytes = field(repr=False)
    bodies: Literal["full", "length", "drop"] = "length"
    identity: Literal["raw", "hmac"] = "raw"
    perspective: Literal["bot", "customer"] = "bot"
    """Whose sending is `Message Sent`."""
    tickets: bool = False
    """Whether tickets become `Ticket Updated`."""
    bots: Collection[str] = ()
    """Identities, in lower case, of the bots whose messages count; empty: those of every bot."""

    @classmethod
    def of(cls, source: Source, key: bytes) -> Self:
        """The choices stored with a source, and its key."""
        return cls(
            key,
            bodies=source.message_bodies,
            identity=source.identity,
            perspective=source.perspective,
            tickets=source.tickets,
            bots=frozenset(source.bots),
        )
