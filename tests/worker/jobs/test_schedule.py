import asyncio

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.shared.settings import Settings
from pombo.worker.jobs.outages import SETTLED_MS
from pombo.worker.jobs.queues import queue
from pombo.worker.jobs.recovery import modest
from pombo.worker.jobs.schedule import RETENTION_S, Schedule, Scheduler
from support.jobs import JumpingClock, bury

LONG_AGO_MS = 1_000_000


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def schedule(sync_redis: Redis, redis: AsyncRedis, keys: Keys, clock: JumpingClock) -> Schedule:
    return Schedule(sync_redis, redis, keys, clock)


def job_of(redis: Redis, job_id: str) -> Job:
    return Job.fetch(job_id, connection=redis, serializer=JSONSerializer)


def end(redis: Redis, job_id: str) -> None:
    """Let a job be over, as when a worker did it."""
    job = job_of(redis, job_id)
    queue(redis).remove(job)
    job.set_status(JobStatus.FINISHED)


async def test_nothing_is_due_unless_it_is_asked_for(schedule: Schedule, redis: AsyncRedis, of: SourceKeys) -> None:
    """Both options are off by default."""
    await bury(redis, of, "a", died_ms=LONG_AGO_MS)
    await redis.hset(of.flow, "broken_at", 1)
    assert [] == await schedule.tick()


async def test_retention_is_due_once_an_hour(
    schedule: Schedule, redis: AsyncRedis, sync_redis: Redis, of: SourceKeys, *, registry: Registry, clock: JumpingClock
) -> None:
    """When something is old enough; and not while the last run of the source goes on."""
    await registry.set("bot", retention_s=3600)
    assert [] == await schedule.tick()
    await bury(redis, of, "a", died_ms=LONG_AGO_MS)
    (first,) = await schedule.tick()
    assert ("retention", "bot", "pombo") == tuple(
        job_of(sync_redis, first).meta[k] for k in ("kind", "source", "namespace")
    )
    clock.elapsed += RETENTION_S
    assert [] == await schedule.tick()
    end(sync_redis, first)
    (second,) = await schedule.tick()
    end(sync_redis, second)
    clock.elapsed += RETENTION_S - 1
    assert [] == await schedule.tick()
    clock.elapsed += 1
    assert 1 == len(await schedule.tick())


async def test_many_workers_put_one_job_there(
    redis: AsyncRedis, sync_redis: Redis, of: SourceKeys, registry: Registry, *, keys: Keys, clock: JumpingClock
) -> None:
    """All look at once, and one of them is first."""
    await registry.set("bot", retention_s=3600)
    await bury(redis, of, "a", died_ms=LONG_AGO_MS)
    made = await asyncio.gather(*(Schedule(sync_redis, redis, keys, clock).tick() for _ in range(8)))
    assert 1 == sum(map(len, made)) == queue(sync_redis).count


async def test_what_is_young_enough_waits(
    schedule: Schedule, redis: AsyncRedis, of: SourceKeys, registry: Registry, clock: JumpingClock
) -> None:
    """Only the oldest letter is looked at, and when it is old enough there is a job."""
    await registry.set("bot", retention_s=3600)
    await bury(redis, of, "a", died_ms=int(clock.now().timestamp() * 1000))
    clock.elapsed = 3599
    assert [] == await schedule.tick()
    clock.elapsed = 3601
    assert 1 == len(await schedule.tick())


async def test_an_outage_is_followed_to_its_end(
    schedule: Schedule, redis: AsyncRedis, sync_redis: Redis, of: SourceKeys, *, registry: Registry, keys: Keys
) -> None:
    """While the breaker is open nothing is due; when the source has been well for a while, one job is."""
    await registry.set("bot", redrive_after_outage=True, rate=200)
    now = await redis_now(redis)
    began = now - 10 * SETTLED_MS
    await redis.hset(of.flow, "broken_at", began)
    assert [] == await schedule.tick()
    await redis.hdel(of.flow, "broken_at")
    assert [] == await schedule.tick()
    # As if it had been seen broken, and then well, some time ago.
    stored = f'{{"began": {began}, "broken": {began + 1}, "well_since": {now - SETTLED_MS}}}'
    sync_redis.hset(keys.schedule, "outage:bot", stored)
    (job_id,) = await schedule.tick()
    job = job_of(sync_redis, job_id)
    assert {"began": began, "ended": now - SETTLED_MS, "rate": 20.0} == job.kwargs
    assert ("automatic_redrive", "bot") == (job.meta["kind"], job.meta["source"])
    assert [] == await schedule.tick()
    sync_redis.hset(keys.schedule, "outage:bot", stored)
    assert [] == await schedule.tick()


async def test_a_redrive_leaves_room_for_new_events(registry: Registry) -> None:
    """A tenth of the source's rate, and 100 a second at most."""
    added = [await registry.add(f"s{rate}", "k" * 32, rate=rate) for rate in (10, 1000, 9000, 0)]
    assert [1, 100, 100, 100] == [modest(one.source) for one in added]


async def test_a_run_that_rq_forgot_is_over(
    schedule: Schedule, redis: AsyncRedis, sync_redis: Redis, of: SourceKeys, *, registry: Registry, clock: JumpingClock
) -> None:
    """A week after its end nothing is stored of the last run, and the next is due all the same."""
    await registry.set("bot", retention_s=3600)
    await bury(redis, of, "a", died_ms=LONG_AGO_MS)
    (first,) = await schedule.tick()
    end(sync_redis, first)
    job_of(sync_redis, first).delete()
    clock.elapsed += RETENTION_S
    (second,) = await schedule.tick()
    assert first != second


class BrokenJobs:
    """A Redis of jobs that holds what nobody expects."""

    def hget(self, name: str, key: str) -> bytes:
        """Fail in a way that nobody foresaw."""
        raise ValueError(f"{name} {key}")


async def test_the_scheduler_outlives_what_nobody_foresaw(
    redis: AsyncRedis, of: SourceKeys, registry: Registry, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that fails is told as such and is not the last."""
    await registry.set("bot", redrive_after_outage=True)
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)
    scheduler = Scheduler(BrokenJobs(), Settings())  # type: ignore[arg-type]
    assert await asyncio.to_thread(scheduler.look)
