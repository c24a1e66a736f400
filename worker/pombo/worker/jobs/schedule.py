"""The schedule: which jobs are due without anybody asking, and a thread of the job worker that looks.

RQ's own cron makes its queue with another serializer than ours, and would need a process of its own. Here every job
worker looks, and all of them may at once: a job that is due has an id made of its kind, its source and its turn, and
RQ takes an id once.
"""

import asyncio
import threading
import time
from dataclasses import dataclass
from hashlib import blake2s
from itertools import count
from typing import Any

from redis.asyncio import Redis as AsyncRedis
from redis.client import Redis
from redis.exceptions import RedisError
from rq.exceptions import DuplicateJobError, InvalidJobOperation
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from pombo.shared.clock import Clock, SystemClock
from pombo.shared.connection import aconnect, redis_url, transient
from pombo.shared.errors import PomboError
from pombo.shared.flow import read_flow
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings
from pombo.shared.sources import Source
from pombo.worker.jobs.outages import Outage, followed
from pombo.worker.jobs.queues import queue
from pombo.worker.jobs.recovery import enqueue_recovery, modest
from pombo.worker.jobs.retention import enqueue_retention
from pombo.worker.jobs.upkeep import reclaim

LOOK_S = 5.0
"""Between two looks for jobs whose worker is gone."""
TICK_S = 15.0
"""Between two looks for jobs that are due."""
RETENTION_S = 3600
"""Between two runs of a source's retention."""
_LIVING = frozenset({JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED})

log = get_logger("pombo.worker.jobs")


@dataclass(frozen=True)
class Schedule:
    """What is due, as seen by one job worker; `clock` tells the hour, an outage's times are those of its Redis."""

    jobs: Redis
    """Of the control plane."""
    redis: AsyncRedis
    """Of the data plane."""
    keys: Keys
    clock: Clock

    async def tick(self) -> list[str]:
        """Put on the queue what is due and is not there; return the ids of those jobs.

        Raises:
            RedisError: Redis is away, or refuses.
        """
        registry = Registry(self.redis, self.keys, Secrets([new_secret()]))
        made: list[str | None] = []
        for source in (await registry.snapshot()).sources.values():
            if source.retention_s:
                made.append(await self._retain(source))
            if source.redrive_after_outage:
                made.append(await self._recover(source))
        return [job_id for job_id in made if job_id is not None]

    async def _retain(self, source: Source) -> str | None:
        """Have old letters exported and discarded, where there are some, once an hour, and never twice at a time."""
        now = self.clock.now().timestamp()
        oldest: Any = await self.redis.xrange(self.keys.of(source.name).dead, count=1)
        if not oldest or int(oldest[0][0].partition(b"-")[0]) / 1000 > now - source.retention_s:
            return None
        field = f"retention:{source.name}"
        if self._lives(self.jobs.hget(self.keys.schedule, field)):
            return None
        job_id = self._id("retention", source, int(now // RETENTION_S))
        try:
            enqueue_retention(self.jobs, source.name, namespace=self.keys.namespace, job_id=job_id)
        except DuplicateJobError:
            return None
        self.jobs.hset(self.keys.schedule, field, job_id)
        return job_id

    async def _recover(self, source: Source) -> str | None:
        """Follow the source's outages, and redrive what died of one when it is over."""
        field = f"outage:{source.name}"
        stored: Any = self.jobs.hget(self.keys.schedule, field)
        flow = await read_flow(self.redis, self.keys.of(source.name))
        before = Outage.load(stored)
        outage = followed(before, flow)
        if outage is None or outage.well_since is None or not outage.over(flow.now):
            if outage is not None and outage != before:
                self.jobs.hset(self.keys.schedule, field, outage.dump())
            return None
        job_id: str | None = self._id("recovery", source, outage.began)
        try:
            enqueue_recovery(
                self.jobs, source.name, began=outage.began, ended=outage.well_since, rate=modest(source),
                namespace=self.keys.namespace, job_id=job_id,
            )  # fmt: skip
        except DuplicateJobError:
            job_id = None
        self.jobs.hdel(self.keys.schedule, field)
        return job_id

    def _id(self, kind: str, source: Source, turn: int) -> str:
        """The id of a turn's job: RQ allows letters, digits, underscores and dashes."""
        whose = f"{self.keys.namespace}/{source.name}/{source.incarnation}"
        return f"{kind}-{blake2s(whose.encode(), digest_size=6).hexdigest()}-{turn}"

    def _lives(self, job_id: Any) -> bool:
        """Whether a job runs or waits."""
        if not job_id:
            return False
        try:
            return Job(job_id.decode(), connection=self.jobs, serializer=JSONSerializer).get_status() in _LIVING
        except InvalidJobOperation:
            # RQ forgot it: its end was a week ago.
            return False


class Scheduler:
    """The thread that looks after the queue beside RQ's worker, whose own turns wait while a job runs."""

    def __init__(self, connection: Redis, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin to look, until the process ends."""
        self._thread.start()

    def _run(self) -> None:
        told = False
        for number in count():
            told = self.look(told=told, due=number % round(TICK_S / LOOK_S) == 0)
            time.sleep(LOOK_S)

    def look(self, *, told: bool = False, due: bool = True) -> bool:
        """Look once, whatever comes of it: without this thread, nothing would be due any more.

        Args:
            told: whether the look before failed, so that this failure need not be told.
            due: whether to look for jobs that are due, beside those whose worker is gone.

        Returns:
            Whether it failed.
        """
        try:
            for job_id in reclaim(queue(self._connection, self._settings.namespace)).back:
                log.warning("job.taken_up", job=job_id, note="its worker is gone; it waits for another one")
            if due:
                asyncio.run(self._tick())
        except (RedisError, OSError, PomboError) as error:
            if not told and not (isinstance(error, (RedisError, OSError)) and transient(error)):
                log.warning("schedule.failed", error=f"{type(error).__name__}: {error}")
            return True
        except Exception:
            if not told:
                log.exception("schedule.crashed")
            return True
        return False

    async def _tick(self) -> None:
        redis = aconnect(redis_url(self._settings))
        try:
            schedule = Schedule(self._connection, redis, self._settings.keys, SystemClock())
            for job_id in await schedule.tick():
                log.info("schedule.enqueued", job=job_id)
        finally:
            await redis.aclose()
