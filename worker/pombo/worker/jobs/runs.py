"""Runs of a job: what RQ stores of it belongs to its last run, which alone may write it.

RQ takes a worker for dead that gave no sign of life for a while, as when Redis was away, and has another one do its
job; the worker may be well. Its fields of its own in RQ's hash of a job are `pombo_run`, the token of the last run,
and `pombo_cancel`, the mark that somebody wants the job to end.
"""

from collections.abc import Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final, Protocol

from redis.client import Redis
from redis.exceptions import RedisError
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from pombo.shared.logs import get_logger
from pombo.shared.scripts import script

RUN: Final = "pombo_run"
"""Field in RQ's hash of a job: the token of its last run; the scripts have the same word, and that of the next."""
CANCEL: Final = "pombo_cancel"
"""Field in RQ's hash of a job: somebody wants it to end."""
SIGN_OF_LIFE_S = 35
"""For which a running job's worker counts as alive after each sign of life; `process` says why."""

log = get_logger("pombo.worker.jobs")


class Superseded(Exception):  # noqa: N818 -- it is no error
    """Another run of the same job goes on where this one was."""


class Kept(Protocol):
    """What a job wants of RQ: a place for JSON that outlives it."""

    meta: dict[str, Any]

    def save_meta(self) -> None:
        """Store `meta`."""


class StopFlag:
    """Whether this process was told to stop its job; a signal, or a mark beside the checkpoint, sets it."""

    def __init__(self) -> None:
        self.up = False

    def set(self, *_: Any) -> None:
        """Raise the flag; a signal handler."""
        self.up = True


class OneRun:
    """A job of RQ's as one of its runs keeps it; begins the run.

    Args:
        job: as RQ's worker took it.
        stop: raised when somebody wants the job to end.
        execution: RQ's record of this run; None where a worker that is not ours runs it: such a run cannot let
            others go first.

    Raises:
        RedisError: the control plane's Redis is away, or refuses.
    """

    def __init__(self, job: Job, stop: StopFlag, execution: Execution | None = None) -> None:
        self._job, self._stop, self._execution = job, stop, execution
        self._redis: Redis = job.connection
        self._run = token_hex(8)
        self.meta: dict[str, Any] = dict(job.meta)
        reply = script("job_begin").call(self._redis, [job.key], [self._run])
        if not reply:
            self._store_anew()
            return
        # What RQ's worker read when it took the job may be older than what the run before stored last.
        self.meta = job.serializer.loads(reply[0]) if reply[0] else {}
        job.meta = self.meta
        if reply[1]:
            stop.set()

    def save_meta(self) -> None:
        """Store `meta`; look, too, whether somebody wants the job to end.

        Raises:
            Superseded: another run has begun.
        """
        # RQ stores the job with its end, or when it puts it back.
        self._job.meta = self.meta
        answer = script("job_note").call(self._redis, [self._job.key], [self._run, self._dumped()])
        self._heed(answer)

    def others_wait(self) -> bool:
        """Whether another job waits for a worker, and this one can let it go first."""
        with suppress(RedisError, OSError):
            return self._execution is not None and bool(self._redis.llen(self._queue.key))
        return False

    def let_others_go_first(self) -> bool:
        """Put the job at the end of its queue; False when it has to end instead, as somebody wants.

        Raises:
            Superseded: another run has begun, or has ended the job.
        """
        execution, job = self._execution, self._job
        if execution is None:
            raise RuntimeError("a run without RQ's record of it cannot be handed back")
        registries = [job.started_job_registry.key, ExecutionRegistry(job.id, self._redis).key]
        keys = [job.key, self._queue.key, *registries, execution.key, execution.worker_executions_key]
        answer = script("job_yield").call(self._redis, keys, [self._run, self._dumped(), job.id, execution.id])
        if answer == b"ok":
            return True
        self._heed(answer)
        return False

    @property
    def _queue(self) -> Queue:
        return Queue(self._job.origin, connection=self._redis, serializer=JSONSerializer)

    def _dumped(self) -> bytes:
        dumped: bytes = self._job.serializer.dumps(self.meta)
        return dumped

    def _heed(self, answer: bytes) -> None:
        if answer == b"superseded":
            raise Superseded
        if answer == b"cancel":
            self._stop.set()
        elif answer == b"gone":
            self._store_anew()

    def _store_anew(self) -> None:
        """Store the job once more, which Redis has lost: what it is to do, and how far it is, is all here."""
        job, execution = self._job, self._execution
        log.warning("job.stored_anew", job=job.id, note="the Redis of jobs no longer knew it; it goes on")
        job.meta = self.meta
        with self._redis.pipeline() as pipe:
            job.save(pipeline=pipe)
            pipe.hset(job.key, RUN, self._run)
            if execution is not None:
                execution.save(SIGN_OF_LIFE_S, pipeline=pipe)
                ExecutionRegistry(job.id, self._redis).add(execution, SIGN_OF_LIFE_S, pipeline=pipe)
                job.started_job_registry.add_execution(execution, pipeline=pipe, ttl=SIGN_OF_LIFE_S)
            pipe.execute()


def marked(connection: Redis, ids: Sequence[str]) -> set[str]:
    """Those of some jobs that somebody wants to end and that have not ended yet."""
    with connection.pipeline(transaction=False) as pipe:
        for job_id in ids:
            pipe.hget(Job.key_for(job_id), CANCEL)
        return {job_id for job_id, mark in zip(ids, pipe.execute(), strict=True) if mark} if ids else set()
