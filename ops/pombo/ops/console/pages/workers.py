"""Workers: who delivers, how much of it, and who has fallen silent."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Final, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import fragment, page
from pombo.ops.console.state import state_of
from pombo.ops.overview import SourceView

MOST_WORKERS: Final = 100
"""Shown; the silent first."""
MOST_SHARES: Final = 30
"""Sources whose partitions are shown; those that nobody holds first, then the busiest."""

nav = Nav("Workers", "/workers", "w", 60, "workers")


async def show(request: Request) -> Response:
    """The page."""
    return page(request, "workers.html", **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "workers_live.html", **await _context(request))


@dataclass(frozen=True, slots=True)
class Share:
    """A source's partitions: how many it has, how many hold events, and of these how many nobody who lives holds."""

    name: str
    partitions: int
    busy: int
    orphaned: int
    owners: int
    """Living workers among which the busy ones are."""

    @classmethod
    def of(cls, view: SourceView, live: Set[str]) -> Self:
        """Count the heads of a source."""
        owners = [head.owner for head in view.heads]
        orphaned = sum(owner not in live for owner in owners)
        return cls(view.name, view.source.partitions, len(owners), orphaned, len({*owners} & live))


async def _context(request: Request) -> dict[str, Any]:
    reading = await state_of(request).poller.reading()
    overview = reading.overview
    workers = overview.workers if overview else []
    now = overview.now if overview else 0
    alive = [worker for worker in workers if worker.alive(now)]
    live = {worker.id for worker in alive}
    shares = [Share.of(view, live) for view in overview.sources.values()] if overview else []
    shares.sort(key=lambda share: (-share.orphaned, -share.busy, share.name))
    workers = sorted(workers, key=lambda worker: (worker.alive(now), worker.host or "", worker.id))
    return {
        "reading": reading, "overview": overview, "now_ms": now, "alive": alive,
        "workers": workers, "shown": workers[:MOST_WORKERS],
        "shares": shares[:MOST_SHARES], "more_shares": len(shares[MOST_SHARES:]),
        "held": sum(worker.partitions for worker in alive), "in_flight": sum(worker.in_flight or 0 for worker in alive),
        "memory": sum(worker.memory or 0 for worker in alive), "takeovers": sum(one.takeovers or 0 for one in alive),
        "orphaned": sum(share.orphaned for share in shares),
    }  # fmt: skip


routes = [Route("/workers", show), Route("/workers/live", live)]
