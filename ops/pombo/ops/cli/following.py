"""Jobs that a command starts: one a source, followed to their ends."""

import time
from collections.abc import Callable, Mapping

from redis.client import Redis
from rq.job import Job

from pombo.ops.cli import output
from pombo.ops.cli.session import jobs_connection
from pombo.ops.jobboard import JobView, read_job, workers

POLL_S = 0.3


def start(enqueue: Callable[[Redis, str, int], Job], letters: Mapping[str, int]) -> tuple[dict[str, JobView], bool]:
    """Put one job a source on the queue, by its number of letters; return them, and whether anybody does jobs now."""
    with jobs_connection() as connection:
        jobs = {source: JobView.of(enqueue(connection, source, number)) for source, number in letters.items()}
        able = workers(connection) > 0
    if not able:
        output.note("no worker does jobs now; they wait until `pombo worker` runs")
    return jobs, able


def follow(started: Mapping[str, JobView], doing: str) -> dict[str, JobView]:
    """Look at jobs until each has ended; Ctrl-C ends the looking, not the jobs."""
    with jobs_connection() as connection, output.progress(lambda done: f"{done:,.0f}") as bar:
        bars = {source: bar.add_task(f"{doing} {source}", total=job.total) for source, job in started.items()}
        while True:
            jobs = {source: read_job(connection, job.id) or job.gone() for source, job in started.items()}
            for source, job in jobs.items():
                bar.update(bars[source], completed=job.done, total=job.total)
            if all(job.ended for job in jobs.values()):
                return jobs
            time.sleep(POLL_S)


def wanted(wait: bool | None, *, able: bool) -> bool:
    """Whether to follow: as was said, or else on a terminal, where a worker does jobs."""
    return wait or (wait is None and able and output.on_terminal())


def tell(jobs: Mapping[str, JobView]) -> None:
    """Say what became of jobs."""
    for job in jobs.values():
        output.say(f"job {job.id} {job.status}: {job.sentence}")


def well(jobs: Mapping[str, JobView]) -> bool:
    """Whether none of them ended otherwise than well."""
    return not any(job.ended and job.status != "finished" for job in jobs.values())
