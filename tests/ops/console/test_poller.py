"""One look a tick for everybody, and what is known while Redis is away."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError, RedisError

from ops.console.rig import Ahead
from ops.top.looks import look, view
from pombo.ops.console.live import Hub
from pombo.ops.console.poller import SHARE, STALE_S, TICK_S, Poller, Seen, tick


class Redis:
    """Counts looks; each finds another hundred events delivered, unless it is away."""

    def __init__(self) -> None:
        self.looks = 0
        self.away: RedisError | None = None
        self.takes: Callable[[], None] = lambda: None

    async def read(self) -> Seen:
        self.looks += 1
        await asyncio.sleep(0)
        self.takes()
        if self.away:
            raise self.away
        done = 100 * self.looks
        return Seen(look(0, view("bot", accepted=done, delivered=done)).overview, {})


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


def poller(redis: Redis, clock: Ahead, hub: Hub | None = None) -> Poller:
    return Poller(redis.read, str, Hub() if hub is None else hub, clock)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        await work()

    asyncio.run(all_of_it())


def test_however_many_ask_one_look_serves_them(redis: Redis, clock: Ahead) -> None:
    """A hundred pages within a tick cost Redis one look."""

    async def work() -> None:
        polling = poller(redis, clock)
        await asyncio.gather(*(polling.reading() for _ in range(100)))
        assert 1 == redis.looks
        clock.by += TICK_S
        await polling.reading()
        assert 2 == redis.looks

    run(work)


def test_a_look_that_takes_long_is_not_followed_at_once(redis: Redis, clock: Ahead) -> None:
    """With thousands of sources Redis is looked at a fifth of the time at most."""

    async def work() -> None:
        polling = poller(redis, clock)
        redis.takes = lambda: setattr(clock, "by", clock.by + 3)
        await polling.reading()
        clock.by += 2 * SHARE
        await polling.reading()
        assert 1 == redis.looks
        clock.by += 5 * SHARE
        await polling.reading()
        assert 2 == redis.looks

    run(work)


def test_what_cannot_be_read_ends_no_stream(redis: Redis, clock: Ahead) -> None:
    """After a look that failed over something stored, the watchers are told again as soon as one succeeds."""

    class Patient(Ahead):
        async def sleep(self, seconds: float) -> None:
            self.by += seconds
            redis.takes = lambda: None
            await asyncio.sleep(0)

    def fail() -> None:
        raise ValueError("nonsense is stored")

    async def work() -> None:
        hub = Hub()
        redis.takes = fail
        running = asyncio.create_task(poller(redis, Patient(), hub).run())
        with hub.watcher() as watcher:
            async with asyncio.timeout(30):
                assert b"event: tick" in await watcher.take()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    run(work)


def test_rates_are_of_two_looks(redis: Redis, clock: Ahead) -> None:
    """What moved between them, by the seconds between; the first look has none, and after a pause it begins anew."""

    async def work() -> None:
        polling = poller(redis, clock)
        assert None is (await polling.reading()).rows[0].rates
        clock.by += 10
        rates = (await polling.reading()).rows[0].rates
        assert rates is not None
        assert 9 < rates.delivered <= 10
        clock.by += STALE_S + 1
        assert None is (await polling.reading()).rows[0].rates

    run(work)


def test_while_redis_is_away_the_last_look_stays(redis: Redis, clock: Ahead) -> None:
    """The verdict is that Redis is away, and since when; what was wrong before is no longer known."""

    async def work() -> None:
        polling = poller(redis, clock)
        await polling.reading()
        redis.away = ConnectionError("no Redis answers")
        clock.by += TICK_S
        first = await polling.reading()
        clock.by += 60
        later = await polling.reading()
        assert first.away is not None
        assert later.away is not None
        assert first.away.since == later.away.since
        assert ["Redis is away"] == [one.what for one in later.problems]
        assert ["bot"] == [row.view.name for row in later.rows]
        assert ("critical", "The installation needs you") == (tick(later)["severity"], tick(later)["headline"])
        redis.away = None
        clock.by += TICK_S
        back = await polling.reading()
        assert (None, None) == (back.away, back.rows[0].rates)

    run(work)


def test_a_redis_that_never_answered_is_told_too(redis: Redis, clock: Ahead) -> None:
    """A console that starts before its Redis shows that, and nothing made up."""

    async def work() -> None:
        redis.away = ConnectionError("no Redis answers")
        reading = await poller(redis, clock).reading()
        assert (None, []) == (reading.overview, list(reading.rows))
        assert "last heard" not in reading.problems[0].why

    run(work)


def test_nobody_watching_means_no_looks(redis: Redis, clock: Ahead) -> None:
    """The loop sleeps until somebody watches, and then tells them."""

    async def work() -> None:
        hub = Hub()
        polling = asyncio.create_task(poller(redis, clock, hub).run())
        for _ in range(20):
            await asyncio.sleep(0)
        assert 0 == redis.looks
        with hub.watcher() as one:
            assert b"event: tick" in await one.take()
        assert 1 == redis.looks
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)

    run(work)
