"""The ledger: counters of one source, moved by the scripts in the same step as the data that they count."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Self, cast

from redis.asyncio import Redis

from pombo.shared.keys import SourceKeys

COUNTERS = (
    "accepted",
    "delivered",
    "deduplicated",
    "dead",
    "discarded",
    "erased",
    "queued",
    "in_flight",
)
"""Counters of the equation, in the order in which people see them."""

_ENDS = COUNTERS[1:]
_ends = attrgetter(*_ENDS)


@dataclass(frozen=True, slots=True)
class Ledger:
    """A source's ledger as read at one moment; every counter is in events unless it says bytes.

    `accepted` is the sum of the others: what was accepted was delivered or deduplicated, is dead, was
    discarded or erased, or is still queued or in flight.
    """

    incarnation: str | None = None
    """That of the source which the ledger was made for; None when there is no ledger."""
    accepted: int = 0
    delivered: int = 0
    deduplicated: int = 0
    dead: int = 0
    """Held as dead letters now; a redrive takes them off again."""
    discarded: int = 0
    erased: int = 0
    queued: int = 0
    in_flight: int = 0
    queued_bytes: int = 0
    """Compressed bytes of the streams' entries, those in flight included."""
    dead_bytes: int = 0
    """Bytes of the dead letters held now, headers and payloads."""
    forgotten: int = 0
    """Accepted events that Redis lost the trace of, as their producers saw, until somebody acknowledges it."""
    fallen: int = 0
    """By how much workers saw counters fall at least, until the same."""
    accepted_by_type: Mapping[str, int] = field(default_factory=dict)
    died_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Ever died, by reason; a redrive takes nothing off."""
    dead_by_reason: Mapping[str, int] = field(default_factory=dict)
    """Held as dead letters now, by reason."""

    @classmethod
    def parse(cls, stored: Mapping[bytes, bytes]) -> Self:
        """Read the fields of the ledger hash; those of a newer pombo are passed over."""
        text = {name.decode(): value.decode() for name, value in stored.items()}
        return cls(
            incarnation=text.get("incarnation"),
            queued_bytes=int(text.get("queued_bytes", 0)),
            dead_bytes=int(text.get("dead_bytes", 0)),
            forgotten=int(text.get("forgotten", 0)),
            fallen=int(text.get("fallen", 0)),
            accepted_by_type=_family(text, "accepted:"),
            died_by_reason=_family(text, "died:"),
            dead_by_reason=_family(text, "dead:"),
            **{name: int(text.get(name, 0)) for name in COUNTERS},
        )

    @property
    def balanced(self) -> bool:
        """Whether the equation holds and no counter is below zero."""
        return not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not add up, as sentences with the numbers."""
        ends = _ends(self)
        if sum(ends) == self.accepted and min(ends) >= 0 and min(self.queued_bytes, self.dead_bytes) >= 0:
            return ()
        below = [
            f"the ledger counts {self[name]} {_words(name)}, below zero"
            for name in (*COUNTERS, "queued_bytes", "dead_bytes")
            if self[name] < 0
        ]
        total = sum(self[name] for name in _ENDS)
        if total == self.accepted:
            return tuple(below)
        parts = " + ".join(f"{self[name]:,} {_words(name)}" for name in _ENDS)
        return (f"the ledger does not balance: {self.accepted:,} accepted, but {parts} = {total:,}", *below)

    def __getitem__(self, counter: str) -> int:
        value = getattr(self, counter)
        assert isinstance(value, int)
        return value

    def describe(self) -> dict[str, int]:
        """The equation's counters as JSON."""
        return {name: self[name] for name in COUNTERS}


def _family(text: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): int(value) for name, value in text.items() if name.startswith(prefix)}


def _words(counter: str) -> str:
    return counter.replace("_", " ")


async def read_ledger(redis: Redis, keys: SourceKeys) -> Ledger:
    """Read a source's ledger; all zeros and no incarnation when there is none."""
    return Ledger.parse(cast("dict[bytes, bytes]", await redis.hgetall(keys.ledger)))
