"""Workers: who delivers, how much of it, and who has fallen silent."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import fragment, page
from pombo.ops.console.state import state_of

nav = Nav("Workers", "/workers", "w", 60, "workers")


async def show(request: Request) -> Response:
    """The page."""
    return page(request, "workers.html", **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "workers_live.html", **await _context(request))


async def _context(request: Request) -> dict[str, Any]:
    reading = await state_of(request).poller.reading()
    overview = reading.overview
    workers = overview.workers if overview else []
    now = overview.now if overview else 0
    return {
        "reading": reading, "overview": overview, "now_ms": now,
        "workers": sorted(workers, key=lambda worker: (worker.alive(now), worker.host or "", worker.id)),
        "alive": [worker for worker in workers if worker.alive(now)],
        "heads": sum(len(view.heads) for view in overview.sources.values()) if overview else 0,
    }  # fmt: skip


routes = [Route("/workers", show), Route("/workers/live", live)]
