"""Memory in Redis is bounded: dead letters park their source, and a full Redis drains."""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from pombo.shared import batches
from pombo.shared.connection import connect
from pombo.shared.deadletters import FULL, discard
from pombo.shared.flow import BLOCKED, read_flow, resume
from pombo.shared.sources import Source
from pombo.worker.packing import MAX_CLAIM_EVENTS
from support.stored import StoredSource, letter
from support.virtual import run_virtually
from support.virtualfleet import VirtualFleet, VirtualSegment
from support.world import WRITE_KEY, World, body

MIB = 1 << 20
REFUSED = {"answer": {"status": 400, "body": {"message": "no such event"}}}


def refuse(*ids: str) -> list[dict[str, Any]]:
    """A plan that refuses these messageIds."""
    return [{"when": {"message_id": one}, **REFUSED} for one in ids]


async def parked(world: World, name: str = "bot") -> str:
    """Why the source is parked, or nothing."""
    return (await read_flow(world.redis, world.keys.of(name))).parked or ""


# -- dead letters --------------------------------------------------------------------------------------------


async def test_dead_letters_at_their_limit_park_the_source(world: World) -> None:
    """Nothing more is sent, nothing is lost, another source goes on; as soon as letters leave, it goes on too."""
    source = await world.add(dead_bytes=1)
    other = await world.add("other", "o" * 32)
    world.sim.set_plan(refuse("m1"))
    worker = world.start()
    await world.append(source, 0, [body("m0"), body("m1"), body("m2")])
    await world.until(lambda: parked(world), "the park")
    await world.append(source, 0, [body("m3")])
    await world.append(other, 0, [body("x")])
    await world.drained("other")

    assert (await parked(world)).startswith(FULL)
    assert "m3" not in world.kept()
    assert ["m1"] == [one.event["messageId"] for one in await world.letters()]
    await world.assert_balanced()

    assert 1 == await discard(world.redis, world.keys, "bot", await world.letters())
    await world.drained()
    assert ["m0", "m2", "m3"] == world.kept()
    assert "" == await parked(world)
    await world.assert_balanced()
    await worker.finish()


async def test_a_higher_limit_ends_the_park(world: World) -> None:
    """`sources set` with more room is all it takes, and a limit of 0 is none."""
    source = await world.add(dead_bytes=1)
    world.sim.set_plan(refuse("m1", "m4"))
    world.start()
    await world.append(source, 0, [body("m0"), body("m1")])
    await world.until(lambda: parked(world), "the park")
    await world.append(source, 0, [body("m3"), body("m4")])
    await world.registry.set("bot", dead_bytes=0)
    await world.drained()
    assert ["m0", "m3"] == world.kept()
    assert "" == await parked(world)
    assert 2 == len(await world.letters())
    await world.assert_balanced()


async def test_resumed_at_the_limit_it_is_parked_by_the_next_letter(world: World) -> None:
    """An operator may let it go on: what can be delivered is, until another event dies."""
    source = await world.add(dead_bytes=1)
    world.sim.set_plan(refuse("m1", "m3"))
    world.start()
    await world.append(source, 0, [body("m0"), body("m1")])
    await world.until(lambda: parked(world), "the park")
    await resume(world.redis, world.keys, "bot")
    await world.append(source, 0, [body("m2")])
    await world.drained()
    assert "" == await parked(world)
    await world.append(source, 0, [body("m3"), body("m4")])
    await world.until(lambda: parked(world), "the next park")
    assert 2 == len(await world.letters())


async def test_unreadable_batches_wait_at_the_limit(world: World) -> None:
    """They would be dead letters without a request: at the limit they stay where they are until there is room."""
    source = await world.add(dead_bytes=1, partitions=1)
    of = world.keys.of("bot")
    for _ in range(3):
        await world.redis.xadd(
            of.stream(0), {"n": 1, "r": 9, "b": bytes([batches.VERSION, batches.DICTIONARY, 0]) + b"trash"}
        )
        for counter, by in (("accepted", 1), ("queued", 1), ("queued_bytes", 8)):
            await world.redis.hincrby(of.ledger, counter, by)
    await world.append(source, 0, [body("m1")])
    world.start()
    await world.until(lambda: parked(world), "the park")
    assert 1 == await world.redis.xlen(of.dead)
    await world.assert_balanced()

    await world.registry.set("bot", dead_bytes=0)
    await world.drained()
    assert 3 == len(await world.letters())
    assert ["m1"] == world.kept()
    await world.assert_balanced()


async def test_who_has_not_heard_of_the_repair_parks_nothing(redis: Redis) -> None:
    """A worker that still has the lower limit may not undo what an operator has just mended."""
    source = Source(name="bot", incarnation="i", rate=0, partitions=3, dead_bytes=1)
    stored = await StoredSource(redis, source).set_up()
    await redis.hset(stored.of.flow, "repaired_at_version", "5")
    store = stored.store()
    for version, expected in ((4, None), (5, True)):
        store.version = version
        await stored.append(0, [f"m{version}"])
        (part,) = await stored.claimed(store, 0)
        await store.settle(None, [letter(part, 0)])
        assert expected == ((await redis.hget(stored.of.flow, "parked")) and True)
    await stored.assert_balanced()


async def test_a_park_for_another_reason_stays(redis: Redis) -> None:
    """Letters at their limit do not replace the reason that is there."""
    source = Source(name="bot", incarnation="i", rate=0, partitions=3, dead_bytes=1)
    stored = await StoredSource(redis, source).set_up()
    store = stored.store()
    await stored.append(0, ["m1"])
    (part,) = await stored.claimed(store, 0)
    await redis.hset(stored.of.flow, mapping={"parked": "401", "probe_at": "7"})
    await store.settle(None, [letter(part, 0)])
    assert {b"parked": b"401", b"probe_at": b"7"} == await redis.hgetall(stored.of.flow)


# -- a worker ------------------------------------------------------------------------------------------------


def test_a_worker_reads_no_further_ahead_than_a_claim(redis_url: str) -> None:
    """However many entries a read brings, no more events are kept than one claim takes; the rest is read again."""

    async def main(client: BlockingRedis) -> None:
        async with VirtualFleet(client, VirtualSegment(), partitions=1) as fleet:
            (lane,) = fleet.lanes
            lane.stop()
            await fleet.append([5000])
            (entries,) = await lane.store.read([(0, "", 1000)])
            await lane._ahead.take_in(lane.holdings[0], entries, full=False)
            assert (MAX_CLAIM_EVENTS, True) == (lane.holdings[0].events_ahead, lane.holdings[0].hungry)

    with connect(redis_url) as client:
        run_virtually(main(client))


# -- a full Redis --------------------------------------------------------------------------------------------


@pytest.fixture
async def bounded(redis: Redis) -> AsyncIterator[Redis]:
    """The server, whose memory a test may bound: without eviction, and without bound in the end."""
    before = await redis.config_get("maxmemory-policy")
    await redis.config_set("maxmemory-policy", "noeviction")
    yield redis
    await redis.config_set("maxmemory", 0)
    await redis.config_set("maxmemory-policy", str(before["maxmemory-policy"]))


async def fill(world: World, source: Source) -> list[str]:
    """Append until Redis refuses; the ids that were accepted."""
    accepted: list[str] = []
    while True:
        ids = [f"m{len(accepted) + n}" for n in range(20)]
        try:
            await world.append(source, len(accepted) // 20 % 4, [body(one, text=os.urandom(2000).hex()) for one in ids])
        except OutOfMemoryError:
            return accepted
        accepted += ids


async def test_a_full_redis_drains(world: World, bounded: Redis) -> None:
    """Filled until appends are refused, and kept full, it gives everything back: delivered, deduplicated or dead.

    The workers join, lease, claim, retry, bury and leave at maxmemory; beside a source that cannot be used.
    """
    source = await world.add()
    await world.append(await world.add("unusable", "u" * 32), 0, [body("m1")])
    await world.redis.hset(world.keys.secrets, "unusable", "{}")
    await world.append(source, 0, [body("twice"), body("twice")])
    await bounded.config_set("maxmemory", int((await bounded.info("memory"))["used_memory"]) + 6 * MIB)
    ids = await fill(world, source)
    assert len(ids) > 500
    await bounded.config_set("maxmemory", 1)
    refused = ids[3], ids[250], ids[-7]
    world.sim.set_plan([*refuse(*refused), {"when": {"requests": [1, 2]}, "answer": {"status": 503}}])
    workers = [world.start(), world.start()]
    await world.drained()
    for worker in workers:
        await worker.finish()

    with pytest.raises(OutOfMemoryError):
        await world.append(source, 0, [body("late")])
    assert sorted(["twice", *ids]) == sorted([*world.kept(WRITE_KEY), *refused])
    assert set(refused) == {one.event["messageId"] for one in await world.letters()}
    ledger: dict[str, int] = await world.ledger()
    assert (1, len(refused)) == (ledger["deduplicated"], ledger["dead"])
    assert await bounded.hexists(world.keys.of("unusable").flow, f"{BLOCKED}key")
    assert [] == [key async for key in bounded.scan_iter("*:lease:*")]
    await world.assert_balanced()


async def test_a_full_redis_drains_whatever_segment_answers(world: World, bounded: Redis) -> None:
    """At maxmemory a source of a rate group is held, fails and is parked as ever, and goes on when it is mended."""
    source = await world.add(rate=100_000, rate_group="g")
    answers = [{"status": 429, "headers": {"Retry-After": "0.1"}}, {"status": 503}, {"status": 404}]
    world.sim.set_plan([{"when": {"requests": [n + 1, n + 1]}, "answer": one} for n, one in enumerate(answers)])
    await world.append(source, 0, [body("m0"), body("m1")])
    await bounded.config_set("maxmemory", 1)
    world.start()
    await world.until(lambda: parked(world), "the park")
    assert [429, 503, 404] == [row["status"] for row in world.sim.requests()]
    assert await bounded.exists(world.keys.group_rate("g"))
    assert await resume(bounded, world.keys, "bot")
    await world.drained()
    assert ["m0", "m1"] == world.kept()
    await world.assert_balanced()


async def test_a_full_redis_is_relieved_of_its_dead_letters(world: World, bounded: Redis) -> None:
    """At maxmemory a source that its dead letters have parked is mended by discarding them."""
    source = await world.add(dead_bytes=1)
    world.sim.set_plan(refuse("m1"))
    await world.append(source, 0, [body("m0"), body("m1"), body("m2")])
    await bounded.config_set("maxmemory", 1)
    world.start()
    await world.until(lambda: parked(world), "the park")
    await discard(world.redis, world.keys, "bot", await world.letters())
    await world.drained()
    assert ["m0", "m2"] == world.kept()
    await world.assert_balanced()
