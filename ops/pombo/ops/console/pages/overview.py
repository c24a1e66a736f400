"""Overview: what is wrong, how much flows, what waits, and whether the books are right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.charts import freshness
from pombo.ops.console.pages import Nav
from pombo.ops.console.poller import Reading
from pombo.ops.console.rendering import fragment, page
from pombo.ops.console.state import State, state_of
from pombo.ops.overview import SourceView, read_source
from pombo.ops.top.rates import Rates, Row
from pombo.shared.errors import PomboError
from pombo.shared.flow import redis_now
from pombo.shared.history import Span, Width
from pombo.shared.ledger import COUNTERS

nav = Nav("Overview", "/", "o", 10, "overview")

ROWS = 25
"""Sources shown; the others are on their own page. A tick of the page stays below 60 kB however many there are."""
PROBLEMS = 8
"""Shown at once; some more unfold."""
MOST_PROBLEMS = 10
"""Shown or unfolded, of each kind; what is wrong with the others is on the page of sources."""

LANES = 30
"""Sources of which it is shown when they could not send."""


@dataclass(frozen=True, slots=True)
class Totals:
    """All sources summed; rates in events a second, None before there are two looks."""

    rates: Rates | None
    ledger: dict[str, int]
    queued_bytes: int
    oldest_s: float | None
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
            all(one.balanced for one in ledgers),
        )  # fmt: skip

    @property
    def waiting(self) -> int:
        """Events that are accepted and not at their end."""
        return self.ledger["queued"] + self.ledger["in_flight"]


async def show(request: Request) -> Response:
    """The page."""
    return page(request, "overview.html", whole=True, **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "overview_live.html", whole=False, **await _context(request))


async def history(request: Request) -> Response:
    """The charts as JSON, of all sources or of one: as `pombo.shared.history.History.describe` has it.

    `states` are of `LANES` sources at most, those that cannot send now first; `more_states` counts the others.
    """
    state, asked = state_of(request), request.query_params
    span: Width = "24h" if asked.get("span") == "24h" else "15m"
    reading = await state.poller.reading()
    views = reading.overview.sources if reading.overview else {}
    name = asked.get("source", "")
    if name:
        found = await state.charts.history(views.get(name) or await _newcomer(state, name), span)
    elif reading.overview:
        found = await state.charts.fleet(reading.overview, span)
    else:
        raise HTTPException(503, "nothing is known of the sources yet, as Redis does not answer")
    told = found.describe()
    kept = sorted(found.states, key=lambda one: (_ended(found.states[one]), one))[:LANES]
    told |= {"states": {one: told["states"][one] for one in kept}, "more_states": len(found.states) - len(kept)}
    return Response(orjson.dumps(told), media_type="application/json")


def _ended(spans: Sequence[Span]) -> float:
    """How far back the last of a source's spans ended; those that go on come first."""
    return float("-inf") if spans[-1].until is None else -spans[-1].until


async def _newcomer(state: State, name: str) -> SourceView:
    """A source that the last look did not find: it may have been added since."""
    try:
        source = await state.registry.get(name)
    except PomboError:
        raise HTTPException(404, f"there is no source {name!r}") from None
    return await read_source(state.redis, state.keys, source, await redis_now(state.redis))


async def _context(request: Request) -> dict[str, Any]:
    reading: Reading = await state_of(request).poller.reading()
    rows = reading.rows
    found, entries = reading.problems, reading.entries
    fresh, drain_s = await _lately(request, reading)
    return {
        "shown_problems": PROBLEMS, "most_problems": MOST_PROBLEMS,
        "fresh": fresh, "drain_s": drain_s,
        "rows": rows, "entries": entries[:ROWS], "more": len(entries[ROWS:]),
        "ailing": sum(one.problem is not None for one in entries[ROWS:]),
        "totals": Totals.of(rows), "reading": reading, "overview": reading.overview,
        "urgent": [one for one in found if one.severity != "note"],
        "notes": [one for one in found if one.severity == "note"],
        "workers": [w for w in reading.overview.workers if w.alive(reading.overview.now)] if reading.overview else [],
    }  # fmt: skip


async def _lately(request: Request, reading: Reading) -> tuple[tuple[float | None, float | None], float | None]:
    """Freshness, and when the backlog will be gone; nothing of it while Redis is away."""
    unknown = (None, None), None
    if reading.overview is None or reading.away:
        return unknown
    try:
        history = await state_of(request).charts.fleet(reading.overview, "15m")
    except RedisError:
        # It went away since the look; the next one says so.
        return unknown
    return freshness(history), history.drain_s


routes = [Route("/", show), Route("/overview/live", live), Route("/overview/history", history)]
