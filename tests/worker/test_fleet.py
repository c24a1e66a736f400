"""Workers share partitions, take over from each other, and lose nothing on the way."""

import asyncio
from typing import cast

import orjson

from pombo.shared import batches
from pombo.shared.audit import audit
from pombo.shared.clock import SystemClock
from pombo.shared.flow import read_flow
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source
from pombo.worker.fleet import BeatGuard, Fleet
from pombo.worker.vitals import Vitals
from support.lateanswers import LateAnswers
from support.world import WRITE_KEY, World, body


async def append_raw(world: World, source: Source, events: int, raw: int, payload: bytes) -> None:
    """Put a payload into partition 0 as a producer would, whatever is in it."""
    of = world.keys.of(source.name)
    args = [source.incarnation, 99, 0, 60, world.keys.wake, f"track={events}", f"{source.name}/0", events, raw, payload]
    await script("append").acall(world.redis, [of.ledger, of.session("x"), of.stream(0)], cast("list[Argument]", args))


def hang(world: World) -> None:
    """Segment takes requests and never answers."""
    world.sim.set_plan([{"when": {}, "answer": {"action": "hang"}}])


async def test_a_dead_worker_is_replaced(world: World) -> None:
    """What a worker had in flight when it was killed is sent by another, with the same ids, and nothing is lost."""
    source = await world.add()
    hang(world)
    ids = [f"m{n}" for n in range(300)]
    await world.append(source, 0, [body(i) for i in ids])
    first = world.start()
    await world.until(lambda: world.sim.requests(), "a request")
    await first.kill()
    world.sim.set_plan([])
    second = world.start()
    await world.drained()
    assert ids == world.kept()
    assert 1 == second.pool._tools.metrics.takeovers._value.get()
    await world.assert_balanced()


async def test_a_zombie_harms_nobody(world: World) -> None:
    """A worker whose partition was taken over while its request was under way settles nothing."""
    source = await world.add()
    world.sim.set_plan([{"when": {"requests": 1}, "answer": {"status": 400}}])
    late = LateAnswers()
    await world.append(source, 0, [body("a")])
    world.start(transport=late)
    await late.answered.wait()
    await world.redis.set(world.keys.of("bot").lease(0), "another:token")
    late.let_through.set()
    await world.drained()
    # Had it settled what it was told, the event would be dead.
    assert (["a"], []) == (world.kept(), await world.letters())
    await world.assert_balanced()


async def test_partitions_are_shared_evenly(world: World) -> None:
    """Partition counts differ by one at most, as workers come and go, and all are owned."""
    source = await world.add(partitions=8)
    for partition in range(8):
        await world.append(source, partition, [body(f"m{partition}")])
    workers = [world.start() for _ in range(3)]

    def held() -> list[int]:
        return sorted(sum(len(lane.holdings) for lane in w.pool.lanes.values()) for w in workers)

    await world.until(lambda: held() == [2, 3, 3], "an even share")
    await workers.pop().finish()
    await world.until(lambda: held() == [4, 4], "an even share of two")
    workers.append(world.start())
    await world.until(lambda: held() == [2, 3, 3], "an even share of three again")
    await world.drained()


async def test_a_stopping_worker_hands_back_at_once(world: World) -> None:
    """A graceful stop leaves no lease and no worker behind."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.drained()
    await worker.finish()
    assert [] == await world.redis.keys("pombo:{bot}:lease:*")
    assert {} == await world.redis.hgetall(world.keys.workers)


async def test_a_stop_finishes_what_is_on_the_wire(world: World) -> None:
    """A request under way at a stop is finished and settled; what waits is left to others."""
    source = await world.add()
    world.sim.set_plan([{"when": {"requests": 1}, "answer": {"delay_s": 0.3}}])
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.until(lambda: world.sim.requests(), "the request")
    await worker.finish()
    assert (1, 0) == ((await world.ledger())["delivered"], (await world.ledger())["in_flight"])


async def test_a_stop_interrupts_what_waits(world: World) -> None:
    """Events that wait for a hold to end are left in their record; the next worker sends them."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": 429, "headers": {"Retry-After": "600"}}, "times": 1}])
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.until(lambda: world.redis.hget(world.keys.of("bot").flow, "hold_until"), "the hold")
    await worker.finish()
    assert 1 == (await world.ledger())["in_flight"]
    await world.redis.hdel(world.keys.of("bot").flow, "hold_until")
    world.start()
    await world.drained()
    assert ["a"] == world.kept()
    await world.assert_balanced()


async def test_a_hold_stops_every_worker_and_no_other_source(world: World) -> None:
    """While one source is held nobody sends for it, and a second source is not slowed."""
    held = await world.add("held", "h" * 32, partitions=8)
    quiet = await world.add("quiet", "q" * 32)
    world.sim.set_plan([
        {"when": {"key": "h" * 32}, "answer": {"status": 429, "headers": {"Retry-After": "600"}}, "times": 1},
    ])  # fmt: skip
    for _ in range(3):
        world.start()
    await world.append(held, 0, [body("first")])
    await world.until(lambda: world.redis.hget(world.keys.of("held").flow, "hold_until"), "the hold")
    for partition in range(8):
        await world.append(held, partition, [body(f"h{partition}", user=f"u{partition}")])
    await world.append(quiet, 0, [body("q")])
    await world.drained("quiet")
    assert ["q"] == world.kept("q" * 32)
    assert 1 == len([row for row in world.sim.requests() if row["key"] == "h" * 32])
    await world.redis.hset(world.keys.of("held").flow, "hold_until", 1)
    await world.redis.publish(world.keys.wake, "held")
    await world.drained("held")
    assert 9 == len(world.kept("h" * 32))
    await world.assert_balanced()


async def test_a_corrupt_batch_is_dead_as_it_is(world: World) -> None:
    """A record batch that cannot be read goes to the dead letters untouched, and the partition flows on."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    good = batches.encode([body("b"), body("c")])
    broken = good.payload[:-3] + b"\0\0\0"
    await append_raw(world, source, 2, good.raw, broken)
    await world.append(source, 0, [body("d")])
    world.start()
    await world.drained()
    assert ["a", "d"] == world.kept()
    (letter,) = await world.letters()
    assert ("corrupt", broken, 2) == (letter.header.reason, letter.payload, letter.events)
    await world.assert_balanced()


async def test_an_unknown_version_is_left_alone(world: World) -> None:
    """A record batch of another version stays where it is, in order, and others are not held up by it."""
    source = await world.add()
    newer = bytes([9]) + batches.encode([body("future")]).payload[1:]
    await world.append(source, 0, [body("a")])
    await append_raw(world, source, 1, 10, newer)
    await world.append(source, 1, [body("other", user="u2")])
    world.start()

    async def settled() -> bool:
        ledger = await world.ledger()
        return (2, 1, 0) == (ledger["delivered"], ledger["queued"], ledger["in_flight"])

    await world.until(settled, "the readable ones")
    ((_, fields),) = await world.redis.xrange(world.keys.of("bot").stream(0)) or []
    assert newer == (fields or {})[b"b"]

    async def shown() -> bool:
        reason = (await read_flow(world.redis, world.keys.of("bot"))).reason or ""
        return reason.startswith("partition 0 waits: record batch has version 9")

    await world.until(shown, "operators to see why it waits")
    assert [] == await world.letters()


async def test_new_settings_reach_running_workers(world: World) -> None:
    """A changed endpoint is used by a running worker, without a restart."""
    source = await world.add(endpoint="http://127.0.0.1:9")
    await world.append(source, 0, [body("a")])
    world.start()
    await world.until(lambda: world.redis.exists(world.keys.of("bot").record(0)), "a claim")
    await world.registry.set("bot", endpoint=world.sim.url)
    await world.drained()
    assert ["a"] == world.kept()


async def test_a_rate_limit_holds_for_the_fleet(world: World) -> None:
    """The bucket is one for all workers: what is sent at once is the burst, not the burst times the workers."""
    source = await world.add(partitions=8, rate=1, burst=40)
    for partition in range(8):
        await world.append(
            source, partition, [body(f"{partition}-{n}", user=f"u{partition}") for n in range(20)], batch=10
        )
    for _ in range(3):
        world.start()
    await world.until(lambda: len(world.kept()) >= 40, "the burst")
    await asyncio.sleep(0.3)
    assert len(world.kept()) <= 50
    await world.assert_balanced()


async def test_sources_of_a_rate_group_share_one_bucket(world: World) -> None:
    """Two sources of one group send no more together than one alone might."""
    for name in ("one", "two"):
        source = await world.add(name, name[0] * 32, rate=1, burst=30, rate_group="workspace")
        for partition in range(4):
            await world.append(source, partition, [body(f"{name}{partition}-{n}") for n in range(20)], batch=10)
    world.start()
    await world.until(lambda: len(world.sim.events()) >= 30, "the burst")
    await asyncio.sleep(0.3)
    assert len(world.sim.events()) <= 40
    await world.assert_balanced()


async def test_redis_losing_everything_needs_no_restart(world: World) -> None:
    """After FLUSHALL and a new source of the same name, the running worker delivers again."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    world.start()
    await world.drained()
    await world.redis.flushall()
    fresh = await world.add()
    assert fresh.incarnation != source.incarnation
    await world.append(fresh, 0, [body("b")])
    await world.drained()
    assert ["a", "b"] == world.kept()
    report = await audit(world.redis, world.keys, await world.registry.snapshot())
    assert report.sources["bot"].balanced, report.describe()


async def test_lost_wake_ups_are_made_up_for(world: World) -> None:
    """Events appended without any hint are found by the sweep of a starting worker."""
    source = await world.add()
    await world.append(source, 2, [body("a")])
    await world.redis.delete(world.keys.active)
    world.start()
    await world.drained()
    assert ["a"] == world.kept(WRITE_KEY)


async def test_a_worker_says_what_it_holds(world: World) -> None:
    """The fleet's hash names each worker with host, process and partitions."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    world.start()

    async def shown() -> bool:
        rows = [orjson.loads(text) for text in (await world.redis.hgetall(world.keys.workers)).values()]
        return [1] == [row["partitions"] for row in rows] and all({"host", "pid", "beat"} <= row.keys() for row in rows)

    await world.until(shown, "the worker's description")


async def test_what_was_heard_lasts_until_the_next_beat(world: World) -> None:
    """Redis alone says which partitions are active, and since when: workers that differ leave partitions to nobody."""
    now = await script("announce").acall(world.redis, [world.keys.active], ["bot/0"])
    clock = SystemClock()
    fleet = Fleet(world.redis, world.keys, clock, BeatGuard(clock))
    await fleet.show(Vitals())
    fleet._seconds = now + 100
    assert [False, True] == [fleet.heard_of(partition) for partition in ("bot/0", "bot/1")]
    assert {"bot/0", "bot/1"} == fleet.active
    await fleet.show(Vitals())
    assert {"bot/0": now} == fleet._active
    assert {"bot/0"} == fleet.active
