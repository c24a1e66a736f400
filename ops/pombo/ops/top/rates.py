"""Rates: what moved between two looks at the ledgers, and how long the rest takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pombo.ops.overview import Overview, SourceView
from pombo.shared.ledger import Ledger

RANKS: Final[Mapping[str, int]] = {"parked": 0, "broken": 1, "held": 3, "paused": 4, "active": 5}
"""States, the worst first; a source that is blocked in part comes third."""
_BLOCKED: Final = 2
_ROUNDING: Final = 1e-6
"""Events a second: rates are quotients of counts, and what is less is no movement but their rounding."""


@dataclass(frozen=True, slots=True)
class Look:
    """An overview, and when it was read, in monotonic seconds."""

    at: float
    overview: Overview


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second."""

    accepted: float = 0.0
    delivered: float = 0.0
    deduplicated: float = 0.0
    dead: float = 0.0

    def __add__(self, other: "Rates") -> "Rates":
        return Rates(
            self.accepted + other.accepted, self.delivered + other.delivered,
            self.deduplicated + other.deduplicated, self.dead + other.dead,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """A source with its rates; None when there is nothing to compare it with."""

    view: SourceView
    rates: Rates | None

    @property
    def waiting(self) -> int:
        """Events that are accepted and not at their end."""
        return self.view.ledger.queued + self.view.ledger.in_flight

    @property
    def drain_s(self) -> float | None:
        """Seconds until nothing waits if all goes on as now; None while it does not shrink."""
        if not self.waiting:
            return 0.0
        if self.rates is None:
            return None
        shrinks = self.rates.delivered + self.rates.deduplicated + self.rates.dead - self.rates.accepted
        return self.waiting / shrinks if shrinks > _ROUNDING else None

    @property
    def rank(self) -> int:
        """How much it needs somebody, 0 most."""
        rank = RANKS.get(self.view.state, 1)
        return min(rank, _BLOCKED) if self.view.flow.blocked else rank

    @property
    def blocked(self) -> bool:
        """Whether a part of it waits for a person, and nothing worse keeps all of it."""
        return self.rank == _BLOCKED


def rows(before: Look | None, now: Look) -> Sequence[Row]:
    """Every source with its rates between two looks, as `arranged`."""
    old = before.overview.sources if before else {}
    seconds = now.at - before.at if before else 0.0
    return arranged(Row(view, _rates(old.get(name), view, seconds)) for name, view in now.overview.sources.items())


def arranged(found: Iterable[Row]) -> Sequence[Row]:
    """Those in trouble first, then those with the longest backlog, then the busiest."""
    return sorted(found, key=lambda row: (row.rank, -row.waiting, -(row.rates or Rates()).accepted, row.view.name))


def _rates(old: SourceView | None, new: SourceView, seconds: float) -> Rates | None:
    if old is None or seconds <= 0 or old.ledger.incarnation != new.ledger.incarnation:
        return None
    before, after = _counts(old.ledger), _counts(new.ledger)
    # A counter only goes back when Redis lost something.
    return Rates(*(max(0, b - a) / seconds for a, b in zip(before, after, strict=True)))


def _counts(ledger: Ledger) -> tuple[int, int, int, int]:
    return ledger.accepted, ledger.delivered, ledger.deduplicated, sum(ledger.died_by_reason.values())
