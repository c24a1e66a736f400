"""What every job has around it: a checkpoint, patience with Redis, a way to be stopped, and an end that is told."""

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError
from rq import get_current_job
from rq.executions import Execution
from rq.job import Job
from rq.timeouts import JobTimeoutException

from pombo.shared.clock import Clock, SystemClock, iso
from pombo.shared.connection import aconnect, redis_url, transient
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings, read_settings
from pombo.worker.jobs.criteria import forget
from pombo.worker.jobs.pace import LOOK_S, Pace
from pombo.worker.jobs.runs import Kept, OneRun, StopFlag, Superseded
from pombo.worker.jobs.sentences import told

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Between two looks whether Redis is back: doubled from the first up to the longest."""
TOLD_WAIT_S = 1.0
"""Trouble that is waited out for less is not told in the job's meta."""
ROOM_WAIT_S = 5.0
"""Between two looks whether there is room again."""
STAY_S = 3.0
"""For which a run lasts at least that lets others go first: jobs that all wait take turns no faster than that."""
KEEPS_S = 5.0
"""A throttled job keeps its worker where its steps are less apart: to let go, and come back, takes a new process and
up to `STAY_S` of another job that only waits."""
HANDOVER_S = 0.5
"""A step takes far less."""
STOPPED_CODE = 3
"""Exit code of a job's process that ended because the job was cancelled."""
NO_WAIT: Final[Mapping[str, Any]] = {"waits": None, "waits_since": None}
"""In the meta of a job that does not wait."""
FULL = "Redis is at its maxmemory and takes nothing more; discard dead letters, or give it more memory"

log = get_logger("pombo.worker.jobs")


class Cancelled(Exception):  # noqa: N818 -- it is no error
    """The job was told to stop, and is between two steps."""


class Waits(Exception):  # noqa: N818 -- it is no error
    """The job can do nothing until others have made room for it; the message says where."""


class GivesWay(Exception):  # noqa: N818 -- it is no error
    """The job can only wait, its meta says for what, and another one waits for its worker."""


STOP = StopFlag()
"""That of this process."""


class Seat:
    """Where this process does its job."""

    execution: Execution | None = None
    """RQ's record of the run; None where its worker is not ours."""


SEAT = Seat()
"""That of this process."""


def listen() -> None:
    """Let SIGTERM ask this process' job to end."""
    signal.signal(signal.SIGTERM, STOP.set)


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
    others_wait: Callable[[], bool] = bool
    """Whether another job waits for this one's worker, and this one can let it go first."""

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
    that was asked for; `waits` is what it waits for, `waits_since` since when; `sentence` says what was done, once it
    ended. The kind's own counts and checkpoint go beside.
    """

    counts: ClassVar[tuple[str, ...]]
    """Names in the meta of what the result tells in numbers."""

    def __init__(self, desk: Desk, kind: str, source: str, rate: float | None, fresh: Mapping[str, Any]) -> None:
        self.desk = desk
        self.source = source
        stored = desk.job.meta if desk.job else {}
        # Jobs of an older pombo count what they moved, and nothing else.
        first = {
            "kind": kind, "source": source, "done": stored.get("moved", 0), "total": None, "speed": None,
            "throttle": rate, **NO_WAIT,
        }  # fmt: skip
        self.meta: dict[str, Any] = {**first, **dict.fromkeys(self.counts, 0), **fresh, **stored}
        self._rate = rate
        self._began = desk.clock.monotonic()
        # It holds for this run alone: who is killed after its next step cannot know when that was.
        free_at = self.meta.pop("free_at", None)
        owed_s = None if free_at is None else free_at - desk.clock.now().timestamp()
        self.pace = Pace(rate, desk.clock, resumed=self.meta["done"] > 0, owed_s=owed_s, look=self._paused)

    async def run(self) -> dict[str, Any]:
        """Do it, waiting out passing trouble; return the counts, and a sentence.

        It may be called again after it raised `GivesWay`.

        Raises:
            Cancelled: it was told to stop; what it did is done, and its meta says so.
            GivesWay: it can only wait, and another job waits for its worker.
            Superseded: another run has begun.
            PomboError: it cannot be done; the message says why.
            RedisError: what does not pass by itself.
        """
        try:
            return await self._persist()
        except Cancelled:
            # Without Redis, what the meta says has to do.
            with suppress(RedisError, OSError):
                await self.give_up()
            raise
        except Superseded:
            self.superseded()
            raise

    async def _persist(self) -> dict[str, Any]:
        wait_s = self.desk.wait_s
        while True:
            self.desk.look()
            try:
                await self.work()
                self.progressed(sentence=told(self.meta), speed=None)
                return self.result()
            except Waits as wait:
                await self._wait(str(wait), ROOM_WAIT_S, gives_way=True)
            except (RedisError, OSError) as error:
                # One that names a file is no trouble with Redis.
                if not transient(error) or getattr(error, "filename", None) is not None:
                    raise
                await self._sit_out(error, wait_s)
                wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    async def _sit_out(self, error: Exception, seconds: float) -> None:
        full = isinstance(error, OutOfMemoryError) or str(error).startswith("OOM")
        reason = FULL if full else f"Redis is away or refuses ({type(error).__name__}: {error})"
        if full or seconds >= TOLD_WAIT_S:
            await self._wait(reason, seconds, gives_way=full)
        else:
            await self.desk.clock.sleep(seconds)

    async def _wait(self, reason: str, seconds: float, *, gives_way: bool) -> None:
        """Wait, and tell for what; who makes room goes first, if they need this worker for it."""
        if self.meta["waits"] != reason:
            log.warning("job.waits", source=self.source, reason=reason)
            # It may be the very Redis that is away.
            with suppress(RedisError, OSError):
                self.note(waits=reason, waits_since=iso(self.desk.clock.now()), speed=None)
        ends = self.desk.clock.monotonic() + seconds
        while (left := ends - self.desk.clock.monotonic()) > 0:
            self.desk.look()
            if gives_way and self._others_go_first():
                raise GivesWay
            await self.desk.clock.sleep(min(left, LOOK_S))

    def _paused(self, left: float) -> None:
        """Called while the next step may not begin yet, for `left` seconds more."""
        self.desk.look()
        if left >= KEEPS_S and self._others_go_first():
            now = self.desk.clock.now()
            reason = f"its rate of {self._rate:g} letters a second"
            self.note(waits=reason, waits_since=iso(now), free_at=now.timestamp() + left, speed=None)
            raise GivesWay

    def _others_go_first(self) -> bool:
        stayed = self.desk.clock.monotonic() - self._began >= STAY_S
        return stayed and self.desk.others_wait()

    def result(self) -> dict[str, Any]:
        """What it did, in numbers and as a sentence."""
        return {**{name: self.meta[name] for name in self.counts}, "sentence": self.meta["sentence"]}

    @abstractmethod
    async def work(self) -> None:
        """Do what the meta says is still to do."""

    async def give_up(self) -> None:
        """Leave no loose ends; called when the job was cancelled between two steps."""
        self.progressed(sentence=told(self.meta), speed=None)

    def superseded(self) -> None:  # noqa: B027 -- most kinds have nothing of a run's own
        """Take away what is this run's alone; called when another run has begun."""

    def note(self, **changes: Any) -> None:
        """Change the checkpoint, and store it.

        Raises:
            Superseded: another run has begun; nothing was stored.
        """
        self.meta |= changes
        if self.desk.job is not None:
            self.desk.job.meta = self.meta
            self.desk.job.save_meta()

    def progressed(self, **changes: Any) -> None:
        """Note what was done: it waits for nothing now."""
        self.note(**NO_WAIT, **{"speed": self.pace.speed, **changes})

    def add(self, **changes: int) -> dict[str, int]:
        """What counts will be with so much more."""
        return {name: self.meta[name] + more for name, more in changes.items()}


def perform(namespace: str | None, make: Callable[[Desk, Settings], Task]) -> dict[str, Any]:
    """Do the current job of RQ's; return its result.

    What it raises is final: trouble that passes is waited out within. One whose time is up, as when it is throttled
    for more than a day, goes on in another run. When it was cancelled, lets others go first, or another run took it
    over, this process ends.
    """
    job, ended = get_current_job(), True
    try:
        return asyncio.run(_perform(namespace, make, job))
    except Cancelled:
        # RQ tells a job that was stopped from one that failed by the end of its process.
        os._exit(STOPPED_CODE)
    except GivesWay:
        # To RQ, a process that ended well has told itself what became of its job.
        os._exit(0)
    except Superseded:
        log.warning("job.superseded", job=job.id if job else None)
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
        others_wait = kept.others_wait if kept else bool
        task = make(Desk(redis=redis, keys=keys, job=kept, stop=STOP, others_wait=others_wait), settings)
        while True:
            try:
                return await task.run()
            except GivesWay:
                if kept is None or _handed_back(kept):
                    raise
    finally:
        await redis.aclose()


def _handed_back(kept: OneRun) -> bool:
    """Whether the job waits at the end of its queue now; else it goes on, as when somebody wants it to end."""
    try:
        return kept.let_others_go_first()
    except (RedisError, OSError) as error:
        if not transient(error):
            raise
        return False


async def _begun(job: Job) -> OneRun:
    """Begin a run, as soon as the control plane's Redis is there."""
    wait = FIRST_WAIT_S
    while True:
        try:
            return OneRun(job, STOP, SEAT.execution)
        except (RedisError, OSError) as error:
            if not transient(error):
                raise
        await asyncio.sleep(wait)
        wait = min(LONGEST_WAIT_S, wait * 2)
