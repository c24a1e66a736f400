"""The jobs of the control plane, counted."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True, slots=True)
class Jobs:
    """Its jobs by what has become of them, and the processes that do them."""

    open: int
    """Those that have not ended."""
    workers: int
    running: int = 0
    """Of the open ones those that somebody does."""
    failed: int = 0
    """Those that ended with an error and are still stored, for a week."""


def count_jobs(url: str) -> Jobs:
    """Ask RQ, over a connection of its own; raises what the client raises."""
    from pombo.shared.connection import connect
    from pombo.worker.jobs import queue, worker_count

    with connect(url, timeout_s=2.0, connect_timeout_s=1.0) as connection:
        jobs = queue(connection)
        # Looking changes nothing, so RQ is kept from tidying up meanwhile.
        started = jobs.started_job_registry.get_job_ids(cleanup=False)
        failed = failed_of(connection, jobs.failed_job_registry.get_job_ids(cleanup=False))
        return Jobs(len(jobs.get_job_ids()) + len(started), worker_count(jobs), len(started), failed)


def failed_of(connection: "Redis", ids: Iterable[str]) -> int:
    """How many of them failed: RQ keeps those that somebody cancelled while they ran in the same place."""
    from rq.job import Job, JobStatus

    with connection.pipeline(transaction=False) as pipe:
        for one in ids:
            pipe.hget(Job.key_for(one), "status")
        return sum(status is not None and status.decode() != JobStatus.STOPPED for status in pipe.execute())
