"""What every job has around it: a checkpoint, patience with Redis, a way to be stopped, and an end that is told."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from secrets import token_hex
from typing import Any, ClassVar, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError
from rq import get_current_job
from rq.job import Job
from rq.timeouts import JobTimeoutException

from pombo.shared.clock import Clock, SystemClock
from pombo.shared.connection import aconnect, redis_url, transient
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings, read_settings
from pombo.worker.jobs.criteria import forget
from pombo.worker.jobs.pace import Pace
from pombo.worker.jobs.sentences import told

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Between two looks whether Redis is back: doubled from the first up to the longest."""
HANDOVER_S = 0.5
"""A step takes far less."""
STOPPED_CODE = 3
"""Exit code of a job's process that ended because the job was cancelled."""

log = get_logger("pombo.worker.jobs")


class Kept(Protocol):
    """What a job wants of RQ: a place for JSON that outlives it."""

    meta: dict[str, Any]

    def save_meta(self) -> None:
        """Store `meta`."""


class Cancelled(Exception):  # noqa: N818 -- it is no error
    """The job was told to stop, and is between two steps."""


class Superseded(Exception):  # noqa: N818 -- it is no error
    """Another run of the same job goes on where this one was."""


class OneRun:
    """A job of RQ's as one of its runs keeps it: it stores nothing once another run has begun.

    RQ puts a job back whose worker gave no sign of life for a while, as when Redis was away; the worker may be well.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._run = token_hex(4)
        self.meta: dict[str, Any] = job.meta | {"run": self._run}
        job.meta = self.meta
        job.save_meta()  # type: ignore[no-untyped-call]

    def save_meta(self) -> None:
        """Store `meta`.

        Raises:
            Superseded: another run has begun.
        """
        if self._job.get_meta(refresh=True).get("run") != self._run:
            raise Superseded
        self._job.meta = self.meta
        self._job.save_meta()  # type: ignore[no-untyped-call]


class StopFlag:
    """Whether this process was told to stop its job; a signal sets it."""

    def __init__(self) -> None:
        self.up = False

    def listen(self) -> None:
        """Let SIGTERM raise the flag."""
        signal.signal(signal.SIGTERM, self._raise)

    def _raise(self, *_: Any) -> None:
        self.up = True


STOP = StopFlag()
"""That of this process."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What a job works with."""

    redis: Redis
    """Of the data plane."""
    keys: Keys
    job: Kept | None = None
    """Where its checkpoint is kept; None keeps none."""
    clock: Clock = field(default_factory=SystemClock)
    wait_s: float = FIRST_WAIT_S
    """Before the first look whether Redis is back; doubled up to `LONGEST_WAIT_S`."""
    stop: StopFlag = field(default_factory=StopFlag)

    @cached_property
    def registry(self) -> Registry:
        """Reading settings takes no secret, so a throwaway one will do."""
        return Registry(self.redis, self.keys, Secrets([new_secret()]))

    def look(self) -> None:
        """See whether the job is to stop; called between two steps.

        Raises:
            Cancelled: it is.
        """
        if self.stop.up:
            raise Cancelled


class Task(ABC):
    """One job, over all its runs: what is in its meta is all that the next run knows.

    `done` and `total` (None while unknown) are in letters; `speed` is in letters a second; `throttle` is the rate
    that was asked for; `sentence` says what was done, once it ended. The kind's own counts and checkpoint go beside.
    """

    counts: ClassVar[tuple[str, ...]]
    """Names in the meta of what the result tells in numbers."""

    def __init__(self, desk: Desk, kind: str, source: str, rate: float | None, fresh: Mapping[str, Any]) -> None:
        self.desk = desk
        self.source = source
        stored = desk.job.meta if desk.job else {}
        # Jobs of an older pombo count what they moved, and nothing else.
        done = stored.get("moved", 0)
        first = {"kind": kind, "source": source, "done": done, "total": None, "speed": None, "throttle": rate}
        self.meta: dict[str, Any] = {**first, **dict.fromkeys(self.counts, 0), **fresh, **stored}
        self.pace = Pace(rate, desk.clock, resumed=self.meta["done"] > 0, look=desk.look)

    async def run(self) -> dict[str, Any]:
        """Do it, waiting out passing trouble; return the counts, and a sentence.

        Raises:
            Cancelled: it was told to stop; what it did is done, and its meta says so.
            PomboError: it cannot be done; the message says why.
            RedisError: what does not pass by itself.
        """
        wait = self.desk.wait_s
        while True:
            try:
                await self.work()
                self.note(sentence=told(self.meta), speed=None)
                return self.result()
            except Cancelled:
                await self.give_up()
                raise
            except (RedisError, OSError) as error:
                # One that names a file is no trouble with Redis.
                if not transient(error) or getattr(error, "filename", None) is not None:
                    raise
                log.warning("job.waits", source=self.source, error=f"{type(error).__name__}: {error}")
            self.desk.look()
            await self.desk.clock.sleep(wait)
            wait = min(LONGEST_WAIT_S, wait * 2)

    def result(self) -> dict[str, Any]:
        """What it did, in numbers and as a sentence."""
        return {**{name: self.meta[name] for name in self.counts}, "sentence": self.meta["sentence"]}

    @abstractmethod
    async def work(self) -> None:
        """Do what the meta says is still to do."""

    async def give_up(self) -> None:
        """Leave no loose ends; called when the job was cancelled between two steps."""
        self.note(sentence=told(self.meta), speed=None)

    def note(self, **changes: Any) -> None:
        """Change the checkpoint, and store it."""
        self.meta |= changes
        if self.desk.job is not None:
            self.desk.job.meta = self.meta
            self.desk.job.save_meta()

    def add(self, **changes: int) -> dict[str, int]:
        """What counts will be with so much more."""
        return {name: self.meta[name] + more for name, more in changes.items()}


def perform(namespace: str | None, make: Callable[[Desk, Settings], Task]) -> dict[str, Any]:
    """Do the current job of RQ's; return its result.

    What it raises is final: trouble that passes is waited out within. One whose time is up, as when it is throttled
    for more than a day, goes on in another run. When it was cancelled, or another run took it over, this process ends.
    """
    job, ended = get_current_job(), True
    try:
        return asyncio.run(_perform(namespace, make, job))
    except Cancelled:
        # RQ tells a job that was stopped from one that failed by the end of its process.
        os._exit(STOPPED_CODE)
    except Superseded:
        log.warning("job.superseded", job=job.id if job else None)
        # To RQ, a process that ended well has told itself what became of its job; the other run does.
        os._exit(0)
    except JobTimeoutException:
        ended = job is None or not job.should_retry
        raise
    except Exception:
        if job is not None:
            job.retries_left = 0
        raise
    finally:
        if job is not None and ended:
            # RQ stores the job's words once more with its end, and keeps them for days.
            forget(job)


async def _perform(namespace: str | None, make: Callable[[Desk, Settings], Task], job: Job | None) -> dict[str, Any]:
    settings = read_settings()
    redis = aconnect(redis_url(settings))
    keys = Keys(namespace) if namespace else settings.keys
    try:
        kept = await _begun(job) if job else None
        if kept and kept.meta.get("pending"):
            # Should the run before go on all the same, it may be about to end the step that it noted, its last one.
            await asyncio.sleep(HANDOVER_S)
        return await make(Desk(redis=redis, keys=keys, job=kept, stop=STOP), settings).run()
    finally:
        await redis.aclose()


async def _begun(job: Job) -> OneRun:
    """Begin a run, as soon as the control plane's Redis is there."""
    wait = FIRST_WAIT_S
    while True:
        try:
            return OneRun(job)
        except (RedisError, OSError) as error:
            if not transient(error):
                raise
        await asyncio.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 2)
