"""The line to Redis: trouble is told once, and so is its end."""

import asyncio
import logging

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError

from pombo.shared.clock import SystemClock
from pombo.worker.link import Link
from pombo.worker.metrics import Metrics
from support.world import World

LOST = ConnectionError("the line was cut")


class Hasty(SystemClock):
    """A clock on which nobody waits for long."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def link(redis: Redis, caplog: pytest.LogCaptureFixture) -> Link:
    caplog.set_level(logging.INFO)
    return Link(redis, Hasty(), Metrics())


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of Redis: each line's beginning and end of trouble."""
    words = ("redis.unavailable", "redis.available")
    return [word for line in caplog.messages for word in words if word in line]


async def test_trouble_is_told_once_for_all_who_wait(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """One line when it begins, one when the last who waited got an answer; a read that works ends nothing."""
    away, tried = True, asyncio.Event()

    async def claim() -> str:
        tried.set()
        if away:
            raise ReadOnlyError("READONLY")
        return "claimed"

    async def read() -> int:
        return 1

    waits = asyncio.create_task(link.run("claim", claim))
    await tried.wait()
    for _ in range(3):
        await link.failed("beat", LOST, "beat")
        assert 1 == await link.run("read", read)
    assert ["redis.unavailable"] == told(caplog)
    link.worked("beat")
    assert ["redis.unavailable"] == told(caplog)
    away = False
    assert "claimed" == await waits
    assert ["redis.unavailable", "redis.available"] == told(caplog)
    await link.failed("beat", LOST, "beat")
    link.worked("beat")
    assert ["redis.unavailable", "redis.available"] * 2 == told(caplog)


async def test_who_gives_up_waits_no_more(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """A command that was cancelled while it waited does not keep the trouble from ending."""
    tried = asyncio.Event()

    async def claim() -> None:
        tried.set()
        raise LOST

    waits = asyncio.create_task(link.run("claim", claim))
    await tried.wait()
    await link.failed("beat", LOST, "beat")
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert ["redis.unavailable"] == told(caplog)
    link.worked("beat")
    assert ["redis.unavailable", "redis.available"] == told(caplog)


async def test_what_does_not_pass_is_raised(link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """A defect is no weather: it is raised, and nobody waits for its end."""
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await link.failed("beat", ResponseError("WRONGTYPE"), "beat")
    assert [] == told(caplog)


async def test_an_idle_worker_tells_that_redis_refuses(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose beats alone fail says so once, and once that they work again."""
    caplog.set_level(logging.INFO)
    worker = world.start()
    await world.until(lambda: worker.pool.fleet.active is not None and worker.pool._guard.fresh(), "the first beat")
    await world.redis.replicaof("127.0.0.1", "1")
    try:
        await world.until(lambda: told(caplog), "the trouble to be told")
    finally:
        await world.redis.replicaof("NO", "ONE")
    await world.until(lambda: "redis.available" in told(caplog), "its end to be told")
    assert ["redis.unavailable", "redis.available"] == told(caplog)
