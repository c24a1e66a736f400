"""Jobs: what runs in the background, what became of it, and what will come by itself."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops import jobboard
from pombo.ops.console.control import control_plane, why
from pombo.ops.console.deeds import deed
from pombo.ops.console.jobwords import checkpoint, counts, file_here
from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import fragment, page, redirect, url
from pombo.ops.console.state import State, state_of
from pombo.ops.console.upcoming import Due, read_due
from pombo.ops.jobboard import JobView, Listing
from pombo.shared.errors import ConfigurationError, JobError, UnknownJobError

nav = Nav("Jobs", "/jobs", "j", 50, "jobs")

PAGE = 30
T = TypeVar("T")


async def show(request: Request) -> Response:
    """The list."""
    return page(request, "jobs.html", **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "jobs_live.html", **await _context(request))


async def show_one(request: Request) -> Response:
    """One job."""
    return page(request, "job.html", **await _job(request))


async def live_one(request: Request) -> Response:
    """What of one moves."""
    return fragment(request, "job_live.html", **await _job(request))


async def cancel(request: Request) -> Response:
    """Take it off the queue, or have its worker stop it."""
    state, job_id = state_of(request), request.path_params["job_id"]
    try:
        before = await _ask(state, lambda: jobboard.cancel(state.jobs, job_id))
    except UnknownJobError:
        raise _no_job(job_id) from None
    except JobError as error:
        return redirect(request, f"/jobs/{job_id}", f"{str(error)[:1].upper()}{str(error)[1:]}.", "note")
    await deed(request, "jobs.cancel", job_id, {"kind": before.kind, "source": before.source})
    running = before.status == "started"
    ended = (
        "The job was cancelled; what it did stays done." if before.done else "The job was cancelled before it began."
    )
    told = "The job is being stopped; what it did stays done." if running else ended
    return redirect(request, f"/jobs/{job_id}", told)


async def _context(request: Request) -> dict[str, Any]:
    state = state_of(request)
    before = request.query_params.get("before") or None
    able, listing, due, trouble = 0, Listing((), None), list[Due](), ""
    try:
        able = await asyncio.to_thread(lambda: jobboard.workers(state.jobs))
        listing = await asyncio.to_thread(lambda: jobboard.list_jobs(state.jobs, before=before, count=PAGE))
        due = [] if before else await read_due(state)
    except RedisError as error:
        trouble = why(state, error)
    except ConfigurationError as error:
        if before is not None:
            raise HTTPException(404, str(error)) from None
        trouble = why(state, error)
    return {
        "jobs": listing.jobs, "able": able, "due": due, "trouble": trouble, "before": before,
        "living": [job for job in listing.jobs if not job.ended],
        "file_here": lambda job: file_here(state.settings, job),
        "next": listing.next and url("/jobs", before=listing.next), "first": before and "/jobs",
    }  # fmt: skip


async def _job(request: Request) -> dict[str, Any]:
    state, job_id = state_of(request), request.path_params["job_id"]
    found = await _ask(state, lambda: _look(state, job_id))
    if found is None:
        raise _no_job(job_id)
    job, able = found
    ours = job.meta.get("namespace") in {None, state.settings.namespace}
    return {
        "job": job, "able": able, "ours": ours, "counts": counts(job.meta), "checkpoint": checkpoint(job),
        "file": file_here(state.settings, job),
    }  # fmt: skip


def _look(state: State, job_id: str) -> tuple[JobView, int] | None:
    job = jobboard.read_job(state.jobs, job_id)
    return None if job is None else (job, jobboard.workers(state.jobs))


async def _ask(state: State, work: Callable[[], T]) -> T:
    with control_plane(state):
        return await asyncio.to_thread(work)


def _no_job(job_id: str) -> HTTPException:
    return HTTPException(404, f"no job has the id {job_id[:80]!r}; jobs that ended are kept for a week")


routes = [
    Route("/jobs", show),
    Route("/jobs/-/live", live),
    Route("/jobs/{job_id}", show_one),
    Route("/jobs/{job_id}/live", live_one),
    Route("/jobs/{job_id}/cancel", cancel, methods=["POST"]),
]
