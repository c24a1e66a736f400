"""The job board: what RQ knows of pombo's jobs, as people want to see it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from redis.client import Redis
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job
from rq.registry import BaseRegistry
from rq.serializers import JSONSerializer
from rq.utils import utcformat

from pombo.shared.errors import ConfigurationError, JobError, UnknownJobError
from pombo.shared.scripts import Argument, script
from pombo.worker.jobs import RESULT_TTL_S, forget, marked, queue, worker_count
from pombo.worker.jobs.sentences import lasts, told

ENDED = frozenset({"finished", "failed", "stopped", "canceled", "gone"})
_CANCELLED = frozenset({"stopped", "canceled"})
"""RQ's words for a job that was cancelled: while it ran, or before."""
LISTED = 50
"""Jobs on one page of the list, those that have not ended aside."""
_INNER = frozenset({"pending", "first_bad"})
"""What of a job's meta is its own business."""


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
    ending: bool = False
    """Whether somebody cancelled it, and it has not ended yet."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Look at a job of RQ's."""
        status = str(job.get_status(refresh=False).value)
        result = job.latest_result() if status in ENDED else None
        failed = status == "failed" and result is not None and result.exc_string
        return cls(
            id=job.id,
            status=status,
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
    def kind(self) -> str:
        """redrive, discard, export, import, retention or automatic_redrive."""
        return str(self.meta.get("kind", "redrive"))

    @property
    def source(self) -> str | None:
        """Whose dead letters."""
        return self.meta.get("source")

    @property
    def by(self) -> str:
        """Who wanted it; empty when nobody said so."""
        return str(self.meta.get("by") or "")

    @property
    def done(self) -> int:
        """What it has done so far, in letters."""
        return int(self.meta.get("done", self.meta.get("moved", 0)))

    @property
    def total(self) -> int | None:
        """How many letters it will probably handle; None while unknown."""
        total = self.meta.get("total")
        return None if total is None else max(int(total), self.done)

    @property
    def rate(self) -> float | None:
        """Letters a second, lately; None when it does not run, or this is unknown."""
        return self.meta.get("speed") if self.status == "started" else None

    @property
    def eta_s(self) -> float | None:
        """Seconds until it ends, if it goes on like this; None when that cannot be told."""
        return (self.total - self.done) / self.rate if self.rate and self.total is not None else None

    @property
    def waits(self) -> str | None:
        """What it waits for, beside a worker; None when for nothing."""
        return None if self.ended else self.meta.get("waits")

    @property
    def waits_since(self) -> datetime | None:
        """Since when."""
        since = self.meta.get("waits_since") if self.waits else None
        return None if since is None else datetime.fromisoformat(since)

    @property
    def word(self) -> str:
        """Its status in one word of ours: waiting, running, stopping, finished, failed, cancelled or gone."""
        if self.ended:
            return "cancelled" if self.status in _CANCELLED else self.status
        if self.ending:
            return "stopping"
        return "running" if self.status == "started" and not self.waits else "waiting"

    @property
    def sentence(self) -> str:
        """What it did so far, or what became of it, for people."""
        did = str(self.meta.get("sentence") or told(self.meta)) if self.ended else told(self.meta)
        if self.status in _CANCELLED:
            # Of a job that had to be killed, the last step is not counted.
            least = "at least " if self.meta.get("pending") else ""
            stays = ", which stays so" if lasts(self.meta) else ""
            return f"cancelled; {least}{did}{stays}" if self.done else "cancelled before it did anything"
        if self.ended:
            failed = f"failed: {self.error or 'its worker died again and again'}; before that, {did}"
            return {"finished": did, "failed": failed}.get(self.status, "no longer stored")
        return "; ".join(self._so_far(did))

    def _so_far(self, did: str) -> Iterator[str]:
        begun = self.status == "started" or bool(self.done)
        if begun:
            yield f"{did} so far"
        if self.ending:
            yield "it is being stopped"
        elif self.waits:
            since = f" since {self.waits_since:%Y-%m-%d %H:%M:%S} UTC" if self.waits_since else ""
            yield f"it waits{since}: {self.waits}"
            if self.status != "started":
                yield "meanwhile other jobs go first"
        elif self.status != "started":
            yield "it waits for a worker" if begun else "waits for a worker"

    def describe(self) -> dict[str, Any]:
        """The JSON of `jobs list`."""
        moments = {name: getattr(self, name) for name in ("enqueued_at", "started_at", "ended_at")}
        return {
            "id": self.id,
            "kind": self.kind,
            "source": self.source,
            "status": self.status,
            "ending": self.ending,
            "waits": self.waits,
            "waits_since": self.waits_since and self.waits_since.isoformat(timespec="milliseconds"),
            "description": self.description,
            "by": self.by,
            "done": self.done,
            "total": self.total,
            "rate": self.rate,
            "eta_s": self.eta_s,
            "sentence": self.sentence,
            **{name: moment and moment.isoformat(timespec="milliseconds") for name, moment in moments.items()},
            "progress": {name: value for name, value in self.meta.items() if name not in _INNER},
            "result": self.result,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the list of jobs."""

    jobs: tuple[JobView, ...]
    next: str | None
    """Where the next page begins; None when there is none."""


class _Place(NamedTuple):
    """A place among the jobs that ended: behind the first `skipped` of those that RQ forgets in this second."""

    second: float
    skipped: int

    @classmethod
    def read(cls, text: str) -> Self:
        second, _, skipped = text.partition("-")
        try:
            return cls(float(second), int(skipped))
        except ValueError:
            raise ConfigurationError(f"{text!r} is no place in the list of jobs; begin at its start") from None

    def __str__(self) -> str:
        return f"{self.second:.0f}-{self.skipped}"


def list_jobs(connection: Redis, *, before: str | None = None, count: int = LISTED) -> Listing:
    """A page of jobs: on the first those that run or wait, then those that ended, the last to end first.

    It costs the page alone, however many jobs are stored.

    Args:
        connection: a client of the control plane's Redis.
        before: the last page's `next`.
        count: ended jobs on it; of those that wait, too, no more are shown.

    Raises:
        ConfigurationError: `before` is no such place.
    """
    living = _fetch_all(connection, _living(connection, count)) if before is None else []
    living = sorted((view for view in living if not view.ended), key=_age, reverse=True)
    place = None if before is None else _Place.read(before)
    marks = _ended(connection, place, count + 1)
    page, more = marks[:count], len(marks) > count
    return Listing((*living, *_fetch_all(connection, [one for _, one in page])), _after(page, place) if more else None)


def read_jobs(connection: Redis) -> list[JobView]:
    """Every job that is stored, those that run or wait first."""
    page = list_jobs(connection)
    jobs = [*page.jobs]
    while page.next is not None:
        page = list_jobs(connection, before=page.next)
        jobs += page.jobs
    return jobs


def read_job(connection: Redis, job_id: str) -> JobView | None:
    """One job; None when none of that id is stored."""
    job = _fetch(connection, job_id)
    if job is None:
        return None
    view = JobView.of(job)
    return view if view.ended else replace(view, ending=bool(marked(connection, [job_id])))


def find_job(connection: Redis, job_id: str) -> JobView:
    """One job.

    Raises:
        UnknownJobError: none of that id is stored.
    """
    view = read_job(connection, job_id)
    if view is None:
        raise UnknownJobError(f"no job has the id {job_id!r}; `pombo jobs list` shows those there are")
    return view


def cancel(connection: Redis, job_id: str) -> JobView:
    """Take a job off the queue, or have its worker stop it; return it as it was before.

    What it did stays done. One that runs ends within some seconds; one whose worker is dead, when another one takes
    it up.

    Raises:
        UnknownJobError: none of that id is stored.
        JobError: it has ended.
    """
    view = find_job(connection, job_id)
    job = _fetch(connection, job_id)
    if view.ended or job is None:
        raise JobError(f"job {job_id} is {view.status} already; nothing was changed")
    now = datetime.now(UTC)
    jobs = queue(connection)
    keys = [job.key, jobs.key, jobs.scheduled_job_registry.key, jobs.canceled_job_registry.key]
    args: list[Argument] = [job_id, utcformat(now), int(now.timestamp()), RESULT_TTL_S]
    answer = script("job_cancel").call(connection, keys, args)
    if answer == b"off":
        _forget(connection, job_id)
    elif answer == b"marked":
        # Should nobody hear it, as when the job's worker is dead, whoever takes the job up finds the mark.
        with suppress(InvalidJobOperation, NoSuchJobError):
            send_stop_job_command(connection, job_id, serializer=JSONSerializer)
        return replace(view, status="started")
    else:
        raise JobError(f"job {job_id} has just ended; nothing was changed")
    return view


def workers(connection: Redis) -> int:
    """How many processes do jobs now."""
    return worker_count(queue(connection))


def _forget(connection: Redis, job_id: str) -> None:
    """Keep of a job that was taken off the queue no word of whom it was about."""
    job = _fetch(connection, job_id)
    if job is not None:
        forget(job)
        job.save(include_meta=False)


def _fetch(connection: Redis, job_id: str) -> Job | None:
    """One job of this namespace's."""
    try:
        job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except (NoSuchJobError, ValueError):
        return None
    return job if job.origin == queue(connection).name else None


def _fetch_all(connection: Redis, ids: Sequence[str]) -> list[JobView]:
    found = Job.fetch_many([*ids], connection=connection, serializer=JSONSerializer) if ids else []
    views = [JobView.of(job) for job in found if job is not None]
    ending = marked(connection, [view.id for view in views if not view.ended])
    return [replace(view, ending=view.id in ending) for view in views]


def _living(connection: Redis, count: int) -> list[str]:
    """Ids of jobs that have not ended; listing changes nothing, so RQ is kept from tidying up meanwhile."""
    jobs = queue(connection)
    registries: Sequence[BaseRegistry] = (
        jobs.started_job_registry, jobs.deferred_job_registry, jobs.scheduled_job_registry,
    )  # fmt: skip
    found = [job_id for one in registries for job_id in one.get_job_ids(0, count - 1, cleanup=False)]
    return [*dict.fromkeys([*found, *jobs.get_job_ids(0, count)])]


def _ended(connection: Redis, place: _Place | None, count: int) -> list[tuple[float, str]]:
    """When RQ will forget ended jobs, which is so long after their end, with their ids; the last to end first."""
    jobs, skipped = queue(connection), place.skipped if place else 0
    found: list[tuple[float, str]] = []
    for registry in (jobs.finished_job_registry, jobs.failed_job_registry, jobs.canceled_job_registry):
        highest = place.second if place else "+inf"
        marks: Any = connection.zrevrangebyscore(
            registry.key, highest, "-inf", start=0, num=skipped + count, withscores=True
        )
        found += [(score, job_id.decode()) for job_id, score in marks]
    return sorted(found, reverse=True)[skipped : skipped + count]


def _after(page: Sequence[tuple[float, str]], place: _Place | None) -> str:
    """The place behind a page that began at `place`."""
    second = page[-1][0]
    before = place.skipped if place and place.second == second else 0
    return str(_Place(second, before + sum(score == second for score, _ in page)))


def _age(view: JobView) -> datetime:
    return view.enqueued_at or datetime.min.replace(tzinfo=UTC)


def _utc(moment: datetime | None) -> datetime | None:
    """RQ's times are in UTC and may not say so."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
