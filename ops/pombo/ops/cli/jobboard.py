"""The job board: what RQ knows of pombo's jobs, as people want to see it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from redis.client import Redis
from rq import Worker
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError
from pombo.worker.jobs import queue

ENDED = frozenset({"finished", "failed", "stopped", "canceled", "gone"})


@dataclass(frozen=True, slots=True)
class JobView:
    """One job as stored at one moment."""

    id: str
    status: str
    """RQ's word; `gone` for one that is no longer stored."""
    description: str
    enqueued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    """Progress and checkpoint."""
    result: Any = None
    error: str | None = None
    """The last line of what a failed job raised."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Look at a job of RQ's."""
        result = job.latest_result()
        failed = result is not None and result.exc_string
        return cls(
            id=job.id,
            status=str(job.get_status(refresh=False).value),
            description=job.description or "",
            enqueued_at=_utc(job.enqueued_at),
            started_at=_utc(job.started_at),
            ended_at=_utc(job.ended_at),
            meta=dict(job.meta),
            result=None if result is None else result.return_value,
            error=str(result.exc_string).strip().splitlines()[-1] if result and failed else None,
        )

    def gone(self) -> Self:
        """The same job, no longer stored."""
        return replace(self, status="gone")

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in ENDED

    @property
    def moved(self) -> int:
        """What it has done so far, in events."""
        done = self.result if isinstance(self.result, dict) else self.meta
        return int(done.get("moved", 0))

    def describe(self) -> dict[str, Any]:
        """The JSON of `jobs list`."""
        moments = {name: getattr(self, name) for name in ("enqueued_at", "started_at", "ended_at")}
        return {
            "id": self.id,
            "status": self.status,
            "description": self.description,
            **{name: moment and moment.isoformat(timespec="milliseconds") for name, moment in moments.items()},
            "progress": self.meta,
            "result": self.result,
            "error": self.error,
        }


def read_jobs(connection: Redis) -> list[JobView]:
    """Every job that is stored, the newest first."""
    jobs = Job.fetch_many([*_ids(connection)], connection=connection, serializer=JSONSerializer)
    views = [JobView.of(job) for job in jobs if job is not None]
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(views, key=lambda view: view.enqueued_at or first, reverse=True)


def read_job(connection: Redis, job_id: str) -> JobView | None:
    """One job; None when none of that id is stored."""
    job = _fetch(connection, job_id)
    return None if job is None else JobView.of(job)


def find_job(connection: Redis, job_id: str) -> JobView:
    """One job.

    Raises:
        CommandError: none of that id is stored.
    """
    view = read_job(connection, job_id)
    if view is None:
        raise CommandError(f"no job has the id {job_id!r}; `pombo jobs list` shows those there are", MISUSE)
    return view


def cancel(connection: Redis, job_id: str) -> JobView:
    """Take a job off the queue, or have its worker stop it.

    Raises:
        CommandError: none of that id is stored, or it has ended.
    """
    view = find_job(connection, job_id)
    job = _fetch(connection, job_id)
    if view.ended or job is None:
        raise CommandError(f"job {job_id} is {view.status} already; nothing was changed", UNWELL)
    try:
        if view.status == "started":
            send_stop_job_command(connection, job_id, serializer=JSONSerializer)
        else:
            job.cancel()
    except InvalidJobOperation as error:
        raise CommandError(f"job {job_id} cannot be cancelled now: {error}", UNWELL) from None
    return view


def workers(connection: Redis) -> int:
    """How many processes do jobs now."""
    return Worker.count(connection=connection, queue=queue(connection))


def _fetch(connection: Redis, job_id: str) -> Job | None:
    try:
        return Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except (NoSuchJobError, ValueError):
        return None


def _ids(connection: Redis) -> Iterator[str]:
    """Ids of all jobs; listing changes nothing, so RQ is kept from tidying up meanwhile."""
    jobs = queue(connection)
    registries: Sequence[Any] = (
        jobs.started_job_registry, jobs.deferred_job_registry, jobs.scheduled_job_registry,
        jobs.finished_job_registry, jobs.failed_job_registry, jobs.canceled_job_registry,
    )  # fmt: skip
    yield from dict.fromkeys(
        (
            *jobs.get_job_ids(),
            *(job_id for registry in registries for job_id in registry.get_job_ids(cleanup=False)),
        )
    )


def _utc(moment: datetime | None) -> datetime | None:
    """RQ's times are in UTC and may not say so."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
