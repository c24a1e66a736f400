"""What once went wrong, or nearly: each of these was seen before it was mended."""

import asyncio
import gzip
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from pombo.shared.flow import pause
from pombo.shared.scripts import script
from pombo.shared.secrets import SealedKeys, Secrets, digest
from pombo.worker.answers import Answer
from pombo.worker.direct import DirectTransport
from pombo.worker.limit import Closed
from pombo.worker.parts import Room
from pombo.worker.store import Claim
from pombo.worker.transport import Request
from support.lateanswers import LateAnswers
from support.world import World, body

DAY_MS = 24 * 3600 * 1000


async def parked(world: World) -> bool:
    """Whether source bot is parked."""
    return bool(await world.redis.hexists(world.keys.of("bot").flow, "parked"))


async def test_a_deep_backlog_is_read_within_the_room(world: World) -> None:
    """The first look at deep partitions takes no more into memory than the room allows, give or take an entry each."""
    source = await world.add()
    for partition in range(4):
        await world.append(source, partition, [body(f"{partition}-{n}", text="x" * 500) for n in range(3000)])
    room = Room(limit=200_000)
    peak = 0

    class Watched(DirectTransport):
        async def post(self, request: Request) -> Answer:
            nonlocal peak
            peak = max(peak, room.used)
            return await super().post(request)

    world.start(transport=Watched(), room=room)
    await world.drained()
    assert 12_000 == len(world.kept())
    # An entry is 100 events of 620 bytes; while the room is full, each idle partition may still read a few.
    assert room.limit <= peak <= room.limit + 4 * 11 * 62_500
    await world.until(lambda: room.used == 0, "all to be given back")


async def test_room_is_given_back_with_a_removed_source(world: World) -> None:
    """What was read ahead for a source that is removed no longer counts."""
    source = await world.add(rate=1, burst=100)
    worker = world.start()
    for partition in range(4):
        await world.append(source, partition, [body(f"{partition}-{n}", text="x" * 300) for n in range(500)])
    await world.until(lambda: "bot" in worker.pool.lanes and world.sim.requests(), "the first request")
    await world.registry.remove("bot", discard=True)
    await world.until(lambda: "bot" not in worker.pool.lanes, "the lane to close")
    await world.until(lambda: worker.pool._tools.room.used == 0, "the room to be empty")


async def test_a_closing_that_was_cut_off_is_ended(world: World) -> None:
    """A lane that Redis' absence left half closed gives way to a new one, even when its source may go on after all."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.until(lambda: world.kept(), "the first event")
    worker.pool.lanes["bot"].stop()
    worker.pool._loops["bot"].cancel()
    await world.registry.set("bot", max_age_s=100)
    await world.append(source, 0, [body("b")])
    await world.drained()
    assert ["a", "b"] == world.kept()


async def test_a_shut_gate_holds_no_room(world: World) -> None:
    """What a claim in vain named is forgotten too: sources that wait for long would fill the memory of all others."""
    source = await world.add()
    await pause(world.redis, world.keys, "bot")
    await world.append(source, 0, [body(f"m{n}", text="x" * 300) for n in range(500)])
    worker = world.start()
    await world.until(lambda: "bot" in worker.pool.lanes and worker.pool.lanes["bot"]._is_shut(), "a claim in vain")
    assert 0 == worker.pool._tools.room.used


async def test_a_known_answer_is_not_unknown_after_a_restart(world: World) -> None:
    """Events refused with 401, parked, and resumed a day later by another worker are sent, not dead."""
    source = await world.add()
    world.sim.set_plan([{"when": {"key": "k" * 32}, "answer": {"status": 401}}])
    await world.append(source, 0, [body("a"), body("b")])
    first = world.start()
    record = world.keys.of("bot").record(0)

    async def noted() -> bool:
        return await parked(world) and b"0" == await world.redis.hget(record, "sent_at")

    await world.until(noted, "the park, and the note that nothing is on the wire")
    await first.finish()
    for field in ("sent_at", "unknown_since"):
        if int(await world.redis.hget(record, field) or 0):
            await world.redis.hincrby(record, field, -DAY_MS - 1000)
    await world.registry.rotate_key("bot", "n" * 32)
    world.start()
    await world.drained()
    assert ["a", "b"] == world.kept("n" * 32)


async def test_one_unreadable_key_stops_one_source(world: World) -> None:
    """A source whose key this worker cannot decrypt is let go, with its leases; the others flow on."""
    for name in ("one", "two"):
        source = await world.add(name, name[0] * 32)
        await world.append(source, 0, [body(f"{name}-1")])
    worker = world.start()
    await world.drained("one")
    await world.drained("two")
    other = Secrets(["pbs_another-secret-that-is-newer-than-all"])
    await world.redis.hset(world.keys.secrets, "one", SealedKeys.seal(other, "z" * 32, digest("any")).dump())
    await world.redis.incr(world.keys.version)
    await world.redis.publish(world.keys.wake, "one")
    await world.until(lambda: "one" not in worker.pool.lanes, "source one to be let go")
    assert not any(await world.redis.mget([world.keys.of("one").lease(p) for p in range(4)]))
    await world.append(await world.registry.get("two"), 0, [body("two-2")])
    await world.drained("two")
    assert ["two-1", "two-2"] == world.kept("t" * 32)


async def test_late_evidence_does_not_park(world: World) -> None:
    """A refusal of the old key that arrives after the key was replaced parks nothing."""
    source = await world.add()
    world.sim.set_plan([{"when": {"key": "k" * 32}, "answer": {"status": 401}}])
    late = LateAnswers()
    await world.append(source, 0, [body("a")])
    world.start(transport=late)
    await late.answered.wait()
    await world.registry.rotate_key("bot", "n" * 32)
    late.let_through.set()
    await world.drained()
    assert ["a"] == world.kept("n" * 32)
    assert not await parked(world)


async def test_a_repeated_claim_asks_the_gate_again(world: World) -> None:
    """A claim whose answer was lost is repeated; a hold that began meanwhile keeps its events back."""
    source = await world.add()
    worker = world.start()
    await world.append(source, 0, [body("a")])
    await world.drained()
    redis: Any = worker.pool._link.redis
    execute, claim = redis.execute_command, script("claim").sha
    of = world.keys.of("bot")
    held = asyncio.Event()

    async def lossy(*args: Any, **options: Any) -> Any:
        reply = await execute(*args, **options)
        if args[:2] == ("EVALSHA", claim) and reply[0] == b"ok" and not held.is_set():
            keys = [of.flow, of.rate, of.ledger]
            await script("hold").acall(world.redis, keys, [60_000, world.keys.wake, "bot", 0, 0])
            held.set()
            await asyncio.sleep(0.11)
            raise RedisConnectionError("the reply was lost")
        return reply

    redis.execute_command = lossy
    await world.append(source, 0, [body("b")])
    await asyncio.wait_for(held.wait(), 10)
    await world.until(lambda: worker.pool.lanes["bot"].holdings[0].part, "the repeated claim")
    await asyncio.sleep(0.2)
    assert ["a"] == world.kept()
    await world.redis.hdel(of.flow, "hold_until")
    await world.redis.publish(world.keys.wake, "bot")
    await world.drained()
    assert ["a", "b"] == world.kept()


async def test_a_delivery_that_crashes_rests_and_wedges_nobody(world: World) -> None:
    """A defect in one delivery is tried again after a second; other partitions flow on."""
    source = await world.add()
    crashes = 0

    class Faulty(DirectTransport):
        async def post(self, request: Request) -> Answer:
            nonlocal crashes
            if b'"bad"' in gzip.decompress(request.body):
                crashes += 1
                raise KeyError("a defect")
            return await super().post(request)

    await world.append(source, 0, [body("bad")])
    world.start(transport=Faulty())
    await world.until(lambda: crashes >= 1, "the crash")
    await world.append(source, 1, [body(f"good{n}", user="u2") for n in range(5)])
    await world.until(lambda: len(world.kept()) == 5, "the other partition")
    await asyncio.sleep(0.5)
    assert crashes <= 10


async def test_an_endpoint_that_cannot_be_used_parks(world: World) -> None:
    """An endpoint that no request can be made for parks the source; a usable one ends that."""
    source = await world.add(endpoint="http://xn--.com")
    await world.append(source, 0, [body("a")])
    world.start()
    await world.until(lambda: parked(world), "the park")
    await world.registry.set("bot", endpoint=world.sim.url)
    await world.drained()
    assert ["a"] == world.kept()


async def test_a_gate_that_opened_before_the_sleep_is_no_reason_to_sleep(world: World) -> None:
    """When a short wait is over before the lane goes to sleep, it looks again at once."""
    source = await world.add()
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.drained()
    lane = worker.pool.lanes["bot"]
    claim, sleep = lane.store.claim, lane._sleep
    seen: list[str] = []

    async def shut_once(parts: Any) -> Claim:
        if not seen:
            seen.append("shut")
            return Claim(["wait"] * len(parts), closed=Closed("rate", 0.0001))
        return await claim(parts)

    async def late() -> None:
        while seen == ["shut"] and lane._is_shut():
            await asyncio.sleep(0)
        if seen == ["shut"]:
            seen.append("late")
        await sleep()

    lane.store.claim, lane._sleep = shut_once, late  # type: ignore[method-assign]
    await world.append(source, 0, [body("b")])
    await world.drained()
    assert ["shut", "late"] == seen
    assert ["a", "b"] == world.kept()


async def test_a_wake_up_during_a_read_is_not_lost(world: World) -> None:
    """An entry that comes while its partition is read, and that the read misses, waits for no look of the beat's."""
    source = await world.add()
    worker = world.start()
    await world.append(source, 0, [body("a")])
    await world.drained()
    lane, pool = worker.pool.lanes["bot"], worker.pool
    read, hear = lane.store.read, pool._hear
    heard = asyncio.Event()

    async def look_no_more() -> None:
        """Nothing but the wake-up tells of the entry."""

    def tell(message: str) -> None:
        hear(message)
        heard.set()

    async def read_early(wanted: Any) -> Any:
        lane.store.read = read  # type: ignore[method-assign]
        replies = await read(wanted)
        await world.append(source, 0, [body("b")])
        await heard.wait()
        return replies

    pool._peek, pool._sweep, pool._hear = look_no_more, look_no_more, tell  # type: ignore[method-assign]
    lane.store.read = read_early  # type: ignore[method-assign]
    lane.wake(0)
    await world.until(lambda: len(world.kept()) == 2, "the entry that the read missed")
    assert ["a", "b"] == world.kept()


@pytest.mark.parametrize(
    ("events", "options", "abreast"),
    [(300, {"partitions": 6}, 4), (3, {"partitions": 6}, 1), (300, {"partitions": 6, "rate": 1_000_000}, 1)],
    ids=["full", "thin", "limited"],
)
async def test_claims_go_side_by_side(world: World, events: int, options: dict[str, Any], abreast: int) -> None:
    """Full requests are claimed four at a time; thin ones wait and grow; a limited source makes no claim in vain."""
    source = await world.add(**options)
    worker = world.start()
    await world.append(source, 0, [body("first")])
    await world.drained()
    lane = worker.pool.lanes["bot"]
    claim, answered = lane.store.claim, asyncio.Event()
    under_way = most = 0

    async def wait(parts: Any) -> Claim:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await answered.wait()
        under_way -= 1
        return await claim(parts)

    lane.store.claim = wait  # type: ignore[method-assign]
    for partition in range(6):
        bodies = [body(f"{partition}-{n}", user=f"u{partition}", text="x" * 900) for n in range(events)]
        await world.append(source, partition, bodies)
    await world.until(lambda: sum(bool(h.ahead) for h in lane.holdings.values()) == 6, "all to be read")
    await world.until(lambda: not (lane._woken.is_set() or under_way < abreast), "the lane to have looked")
    answered.set()
    await world.until(lambda: len(world.kept()) == 6 * events + 1, "all to arrive")
    assert abreast == most


async def test_suspects_of_a_lost_part_count(world: World) -> None:
    """When all of a request is refused alone, the rest is not dead because a part was taken over meanwhile."""
    source = await world.add(partitions=2)
    plan = {"when": {}, "answer": {"status": 400, "body": '{"success": false}', "delay_s": 0.03}}
    world.sim.set_plan([plan])
    await world.append(source, 0, [body(f"a{n}", text="x" * 200) for n in range(8)])
    await world.append(source, 1, [body(f"b{n}", user="u2") for n in range(2)])
    world.start()
    await world.until(lambda: len(world.sim.requests()) >= 12, "most of the bisection")
    await world.redis.set(world.keys.of("bot").lease(0), "another:token")
    await world.until(lambda: parked(world), "the park")
    assert [] == await world.letters()
