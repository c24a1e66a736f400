"""Overview: what is wrong, how much flows, what waits, and whether the books are right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.pages import Nav
from pombo.ops.console.poller import Reading
from pombo.ops.console.rendering import fragment, page
from pombo.ops.console.state import state_of
from pombo.ops.top.rates import Rates, Row
from pombo.shared.ledger import COUNTERS, Ledger

nav = Nav("Overview", "/", "o", 10, "overview")


@dataclass(frozen=True, slots=True)
class Totals:
    """All sources summed; rates in events a second, None before there are two looks."""

    rates: Rates | None
    ledger: dict[str, int]
    queued_bytes: int
    oldest_s: float | None
    drain_s: float | None
    balanced: bool

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Totals":
        """The sums over sources."""
        known = [row.rates for row in rows if row.rates]
        rates = sum(known, Rates()) if known else None
        ledgers = [row.view.ledger for row in rows]
        ages = [row.view.oldest_age_s for row in rows if row.view.oldest_age_s is not None]
        return cls(
            rates, {name: sum(one[name] for one in ledgers) for name in COUNTERS},
            sum(one.queued_bytes for one in ledgers), max(ages, default=None),
            _drain(rows, rates), all(one.balanced for one in ledgers),
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """Events that are accepted and not at their end."""
        return self.ledger["queued"] + self.ledger["in_flight"]


def _drain(rows: Sequence[Row], rates: Rates | None) -> float | None:
    """Seconds until nothing waits, if all goes on as now; None while it does not shrink."""
    waiting = sum(row.waiting for row in rows)
    if not waiting:
        return 0.0
    shrinks = rates.delivered + rates.deduplicated + rates.dead - rates.accepted if rates else 0.0
    return waiting / shrinks if shrinks > 0 else None


def reasons(ledger: Ledger) -> str:
    """The reasons of the dead letters held, the most frequent first."""
    ordered = sorted(((count, reason) for reason, count in ledger.dead_by_reason.items() if count > 0), reverse=True)
    return ", ".join(reason for _, reason in ordered)


async def show(request: Request) -> Response:
    """The page."""
    return page(request, "overview.html", **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "overview_live.html", **await _context(request))


async def _context(request: Request) -> dict[str, Any]:
    reading: Reading = await state_of(request).poller.reading()
    rows = reading.rows
    found = reading.problems
    return {
        "rows": rows, "totals": Totals.of(rows), "reading": reading, "overview": reading.overview,
        "urgent": [one for one in found if one.severity != "note"],
        "notes": [one for one in found if one.severity == "note"],
        "workers": [w for w in reading.overview.workers if w.alive(reading.overview.now)] if reading.overview else [],
    }  # fmt: skip


routes = [Route("/", show), Route("/overview/live", live)]
