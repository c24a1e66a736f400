"""Who delivers: workers, partitions that nobody holds, and jobs."""

from collections.abc import Iterator, Mapping, Sequence

from pombo.ops.doctor.check import Check, listed
from pombo.ops.jobcount import Jobs
from pombo.ops.overview import SourceView, WorkerView
from pombo.ops.wording import plural


def fleet_checks(
    workers: Sequence[WorkerView], views: Sequence[SourceView], unowned: Mapping[str, int], now: int
) -> Iterator[Check]:
    """Judge the workers at `now`, ms of Redis' clock; `unowned` counts partitions left alone for long, by source."""
    alive = [worker for worker in workers if worker.alive(now)]
    waiting = sum(view.ledger.queued + view.ledger.in_flight for view in views)
    yield _alive(alive, waiting)
    if alive:
        yield _versions(alive)
        yield _unowned(unowned)


def _alive(alive: Sequence[WorkerView], waiting: int) -> Check:
    if alive:
        hosts = {worker.host for worker in alive}
        return Check("workers", True, f"{plural(len(alive), 'worker')} on {plural(len(hosts), 'machine')}")
    if not waiting:
        return Check("workers", True, "none lives, and nothing waits", "`pombo worker` starts one")
    return Check("workers", False, f"none lives, and {plural(waiting, 'event')} under way", "start one: `pombo worker`")


def _versions(alive: Sequence[WorkerView]) -> Check:
    versions = sorted({worker.version or "an older pombo" for worker in alive})
    if len(versions) == 1:
        return Check("worker versions", True, versions[0])
    return Check(
        "worker versions", True, f"they differ: {listed(versions)}",
        "bring all to the newest, or what it stores may wait for those who know it",
    )  # fmt: skip


def _unowned(unowned: Mapping[str, int]) -> Check:
    found = [f"{name} ({count})" for name, count in unowned.items() if count]
    if not found:
        return Check("partitions", True, "each with events has a worker")
    detail = f"with old events and no living worker: {listed(found)}"
    return Check("partitions", False, detail, "see the workers' logs; one that is stuck can be restarted at any time")


def jobs_check(jobs: Jobs) -> Check:
    """Judge the queue of jobs."""
    if jobs.workers:
        return Check("jobs", True, f"{plural(jobs.open, 'job')} open, {plural(jobs.workers, 'worker')} for them")
    if jobs.open:
        detail = f"{plural(jobs.open, 'job')} and nobody who does them"
        return Check("jobs", False, detail, "start a `pombo worker` without --no-jobs")
    return Check("jobs", True, "none, and nobody who would do one", "a `pombo worker` without --no-jobs does them")
