"""Charts read on from where the last reading ended: the same figures as everything read anew, at every moment."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from pombo.shared.connection import aconnect
from pombo.shared.flow import Flow
from pombo.shared.history import History, Present, Rolling, Width, read_history
from pombo.shared.keys import Keys
from pombo.shared.ledger import read_ledger
from pombo.shared.sources import Source
from support.virtualscript import EPOCH, clock_key, virtual_script

NOON_MS = round(EPOCH.timestamp() * 1000)
KEYS = Keys()
SOURCES = [Source(name=name, incarnation=name, rate=rate, partitions=1) for name, rate in (("a", 500), ("b", 0))]
SPANS: Sequence[Width] = get_args(Width)


class World:
    """Sources whose workers take samples on virtual time, and who reads on."""

    def __init__(self, redis: Redis) -> None:
        self.redis, self.second = redis, 0.0
        self.rolling = {span: Rolling(span) for span in SPANS}
        self.sources = SOURCES[:1]

    async def begin(self) -> None:
        """Make the ledgers."""
        for source in SOURCES:
            await self.redis.hset(KEYS.of(source.name).ledger, "incarnation", source.incarnation)

    async def move(self, source: Source, **by: int) -> None:
        """Count something."""
        for name, more in by.items():
            await self.redis.hincrby(KEYS.of(source.name).ledger, name, more)

    async def sample(self, source: Source, tallies: dict[str, int]) -> None:
        """Take a sample as a worker does."""
        of, script = KEYS.of(source.name), virtual_script("sample")
        names = [of.ledger, of.flow, of.history, of.history_day, of.stream(0), clock_key(self.second)]
        told: list[Any] = [source.incarnation, source.rate, orjson.dumps(tallies), "", b"[0,0,0]"]
        await cast("Any", self.redis.eval(script.text, len(names), *names, *told))

    async def read(self, span: Width) -> tuple[dict[str, Any], dict[str, Any]]:
        """The charts as everything read anew has them, and as read on."""
        now = NOON_MS + round(self.second * 1000)
        present = []
        for source in self.sources:
            of = KEYS.of(source.name)
            flow = cast("dict[bytes, bytes]", await self.redis.hgetall(of.flow))
            present.append(Present(source, await read_ledger(self.redis, of), Flow.parse(flow, now)))
        anew = await read_history(self.redis, KEYS, self.sources, span, now=now)
        return told(anew), told(await self.rolling[span].read(self.redis, KEYS, present, now))


def told(history: History) -> dict[str, Any]:
    """All of it that a screen shows."""
    return {**history.describe(), "backlog": history.series.backlog}


@pytest.fixture
async def world(redis: Redis) -> World:
    made = World(redis)
    await made.begin()
    return made


deeds = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.4, 3, 9, 10, 40, 130, 300, 1500, 4000, 90_500])),
    st.tuples(st.just("come"), st.integers(1, 9)),
    st.tuples(st.just("go"), st.integers(1, 9)),
    st.tuples(st.just("sample"), st.integers(0, 3)),
    st.tuples(st.just("park"), st.booleans()),
    st.tuples(st.just("which"), st.integers(0, 1)),
    st.tuples(st.just("sources"), st.integers(0, 2)),
    st.tuples(st.just("lose"), st.sampled_from(["history", "history_day"])),
    st.tuples(st.just("read"), st.sampled_from(SPANS)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(deeds, min_size=5, max_size=80))
def test_reading_on_is_reading_all(redis_url: str, steps: list[tuple[str, Any]]) -> None:
    """Whatever happens between two readings: samples, rests, parks, sources that come and go, lists that are lost."""

    async def play() -> None:
        redis = aconnect(redis_url)
        try:
            await redis.flushall()
            world = World(redis)
            await world.begin()
            await _play(world, [*steps, ("read", "15m"), ("read", "24h")])
        finally:
            await redis.aclose()

    asyncio.run(play())


async def _play(world: World, steps: list[tuple[str, Any]]) -> None:
    chosen = SOURCES[0]
    for deed, how in steps:
        of = KEYS.of(chosen.name)
        if deed == "wait":
            world.second += how
        elif deed == "come":
            await world.move(chosen, accepted=how, queued=how)
        elif deed == "go":
            done = min(how, int(await world.redis.hget(of.ledger, "queued") or 0))
            await world.move(chosen, queued=-done, delivered=done)
        elif deed == "sample":
            await world.sample(chosen, {"2xx": how, "b2": how} if how else {})
        elif deed == "park":
            at = NOON_MS + round(world.second * 1000)
            parked = {"parked": "401", "parked_at": at}
            await (world.redis.hset(of.flow, mapping=cast("Any", parked)) if how else world.redis.delete(of.flow))
        elif deed == "which":
            chosen = SOURCES[how]
        elif deed == "sources":
            world.sources = SOURCES[:how]
        elif deed == "lose":
            await world.redis.delete(getattr(of, how))
        else:
            anew, on = await world.read(how)
            assert anew == on


async def test_a_source_at_rest_is_not_asked_again(world: World) -> None:
    """Where nothing was counted for a minute no sample can have come, so a thousand such sources cost no command."""
    for _ in range(3):
        await world.move(SOURCES[0], accepted=2, delivered=2)
        await world.sample(SOURCES[0], {"2xx": 1})
        await world.read("15m")
        world.second += 30
    world.second += 60
    await world.read("15m")
    rolling, now = world.rolling["15m"], NOON_MS + round(world.second * 1000)
    ledger = await read_ledger(world.redis, KEYS.of("a"))
    before = (await world.redis.info("commandstats"))["cmdstat_lrange"]["calls"]
    found = await rolling.read(world.redis, KEYS, [Present(SOURCES[0], ledger, Flow(now))], now)
    assert before == (await world.redis.info("commandstats"))["cmdstat_lrange"]["calls"]
    assert 4 == sum(filter(None, found.series.accepted))


async def test_only_what_is_new_is_read(world: World) -> None:
    """A busy source's second reading asks for the samples since the first, not for all ninety."""
    for _ in range(95):
        await world.move(SOURCES[0], accepted=1, queued=1)
        await world.sample(SOURCES[0], {"2xx": 1})
        world.second += 10
    await world.read("15m")
    world.second += 10
    before = (await world.redis.info("stats"))["total_net_output_bytes"]
    ledger = await read_ledger(world.redis, KEYS.of("a"))
    now = NOON_MS + round(world.second * 1000)
    await world.rolling["15m"].read(world.redis, KEYS, [Present(SOURCES[0], ledger, Flow(now))], now)
    whole = sum(map(len, await world.redis.lrange(KEYS.of("a").history, 0, -1)))
    after = (await world.redis.info("stats"))["total_net_output_bytes"]
    assert after - before - whole < whole / 2


async def test_a_clock_that_went_back_begins_anew(world: World) -> None:
    """What was final by a clock that was wrong is read again by the one that is right."""
    for second in (0, 12, 25, 900):
        world.second = second
        await world.move(SOURCES[0], accepted=5, delivered=5)
        await world.sample(SOURCES[0], {"2xx": 5})
        await world.read("15m")
    world.second = 40
    anew, on = await world.read("15m")
    assert anew == on
