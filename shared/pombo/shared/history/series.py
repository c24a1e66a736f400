"""Series: what a chart shows, slot by slot, of one source or of many summed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Self

from pombo.shared.history.samples import LATENCY_S

Width = Literal["15m", "24h"]


class Grid(NamedTuple):
    """Slots side by side; times in ms of Redis' clock."""

    begin: int
    width: int
    slots: int

    @classmethod
    def until(cls, now: int, span: Width) -> Self:
        """The slots of a span up to the one in which `now` lies."""
        width, count = SPANS[span]
        return cls(now - now % width - (count - 1) * width, width, count)

    @property
    def starts(self) -> list[int]:
        """When each slot begins."""
        return [self.begin + number * self.width for number in range(self.slots)]


SPANS: Final[dict[Width, tuple[int, int]]] = {"15m": (10_000, 90), "24h": (300_000, 288)}
"""Of each span: a slot's width in ms, and how many there are."""


@dataclass(slots=True)
class Series:
    """Slot by slot, what happened within it, and the highest of what waited. None: nobody knows."""

    accepted: list[int | None]
    delivered: list[int | None]
    deduplicated: list[int | None]
    dead: list[int | None]
    queued: list[int | None]
    in_flight: list[int | None]
    oldest_age_s: list[float | None]
    """The highest of all sources; None also when nothing waits."""
    rate_limit: list[float | None]
    """Events a second that might be sent; None also when a source has no limit."""
    backlog: list[int | None] = field(repr=False)
    """Queued and in flight at the end of each slot."""
    requests: dict[str, list[int]]
    """By status class."""
    retries: list[int]
    """Requests that had to be sent again."""
    ages: list[list[int]] = field(repr=False)
    """Record batches delivered, by class of age, as `LATENCY_S` has them."""

    def quantile(self, share: float) -> list[float | None]:
        """The age in seconds at delivery that `share` of a slot's record batches did not exceed; None without any."""
        return [quantile(counts, share) for counts in zip(*self.ages, strict=True)]


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The value that `share` of what was counted in the classes of `LATENCY_S` did not exceed; None for nothing.

    Within a class all are taken to lie evenly, as Prometheus does; of the last one only its lower bound is known.
    """
    wanted, below = share * sum(counts), 0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            lower = LATENCY_S[number - 1] if number else 0.0
            upper = LATENCY_S[number] if number < len(LATENCY_S) else lower
            return lower + (upper - lower) * (wanted - below) / count
        below += count
    return None
