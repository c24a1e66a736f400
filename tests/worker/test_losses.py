"""What workers notice when Redis loses what it had: exactly that is named, and all goes on."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis as BlockingRedis

from pombo.ops.simulator import Simulator
from pombo.producer import AsyncProducer, Rejected
from pombo.shared.audit import AuditReport, audit
from pombo.shared.connection import aconnect, connect
from pombo.shared.keys import Keys
from pombo.shared.losses import acknowledge
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from pombo.worker.watch import FIELDS, Sight
from support.older import bring_back, keep
from support.servers import Server, running, scratch
from support.world import Worker, World, body


async def report(world: World) -> AuditReport:
    return await audit(world.redis, world.keys, await world.registry.snapshot())


async def noticed(world: World, *kinds: str) -> AuditReport:
    """Wait until losses of these kinds are noted, and return the audit."""

    async def there() -> AuditReport | None:
        found = await report(world)
        losses = [found.losses, *(one.losses for one in found.sources.values())]
        seen = {note.kind for one in losses for note in one.notes}
        return found if seen >= {*kinds} else None

    made: AuditReport = await world.until(there, f"notes of {kinds}")
    return made


async def beaten(world: World, *workers: Worker, times: int = 3) -> None:
    """Wait for some more beats and looks of each worker."""
    goals = [(worker, worker.pool.fleet._confirmed + times) for worker in workers]
    await world.until(lambda: all(w.pool.fleet._confirmed >= goal for w, goal in goals), "beats")


async def seen(world: World, worker: Worker, **counts: int) -> None:
    """Wait until a worker has seen such counts of the source."""

    def there() -> bool:
        sights = [sight for sight, _ in worker.pool._watch._sights.values()]
        return any(sight.counts.items() >= counts.items() for sight in sights)

    await world.until(there, f"a look at {counts}")


def hang(world: World) -> None:
    """Segment takes requests and never answers."""
    world.sim.set_plan([{"when": {}, "answer": {"action": "hang"}}])


def test_a_sight_falls() -> None:
    """What never falls and is lower has fallen; what comes and goes has not."""
    values: dict[str, Any] = dict.fromkeys(FIELDS, b"5")
    before = Sight.parse([values[name] for name in FIELDS])
    later = Sight.parse([(values | {"accepted": b"4", "queued": b"1", "in_flight": None})[name] for name in FIELDS])
    assert ({"accepted": 5}, {}) == (before.fell_to(later), later.fell_to(before))
    assert (True, True, False) == (before.holds, later.holds, Sight(None).holds)


async def test_an_older_state(world: World, sync_redis: BlockingRedis) -> None:
    """Counters that fell are named with by how much, once for two workers; nothing needs a restart."""
    source = await world.add()
    workers = [world.start(), world.start()]
    for partition in range(4):
        await world.append(source, partition, [body(f"a{partition}", user=f"u{partition}")])
    await world.drained()
    await beaten(world, *workers)
    older = keep(sync_redis)
    for partition in range(4):
        await world.append(source, partition, [body(f"b{partition}{n}") for n in range(5)])
    await world.drained()
    for worker in workers:
        await seen(world, worker, accepted=24, delivered=24)
    bring_back(sync_redis, older)

    found = await noticed(world, "older", "fall")
    await beaten(world, *workers)
    found = await report(world)
    (one,) = found.sources["bot"].losses.notes
    assert ("20", "20") == (one.told["accepted"], one.told["delivered"])
    assert "at least 20 accepted and 20 delivered events" in found.sources["bot"].lost[0]
    assert (False, 20) == (found.balanced, found.sources["bot"].ledger.fallen)
    assert "came back in an older state" in found.problems[0]
    await acknowledge(world.redis, world.keys, "bot", found.sources["bot"].losses)
    await acknowledge(world.redis, world.keys, None, found.losses)
    await world.append(source, 0, [body("c")])
    await world.drained()
    await beaten(world, *workers)
    await world.assert_balanced()


async def test_an_older_state_has_other_leases(world: World, sync_redis: BlockingRedis) -> None:
    """Who finds leases of its name that it does not know of lets them go; else nobody would ever serve them."""
    source = await world.add()
    workers = [world.start(), world.start()]
    for partition in range(4):
        await world.append(source, partition, [body(f"a{partition}")])

    def held() -> list[int]:
        return [sum(len(lane.holdings) for lane in worker.pool.lanes.values()) for worker in workers]

    await world.until(lambda: held() == [2, 2], "an even share")
    await world.drained()
    await beaten(world, *workers)
    leases = [world.keys.of("bot").lease(partition) for partition in range(4)]
    now = [lease.decode() for lease in cast("list[bytes]", sync_redis.mget(leases))]
    first = now[0].partition(":")[0]
    for key, lease in zip(leases, now, strict=True):  # Before the second one came, the first had them all.
        sync_redis.set(key, lease if lease.startswith(first) else f"{first}:then")
    older = keep(sync_redis)
    for key, lease in zip(leases, now, strict=True):
        sync_redis.set(key, lease)
    await beaten(world, *workers)
    bring_back(sync_redis, older)
    await noticed(world, "older")
    await beaten(world, *workers)
    for partition in range(4):
        await world.append(source, partition, [body(f"b{partition}")])
    await world.drained()
    assert 8 == len(world.kept())


async def test_everything_gone(world: World) -> None:
    """FLUSHALL is named with what was queued and in flight when last seen; with the source back all flows."""
    source = await world.add()
    hang(world)
    await world.append(source, 0, [body(f"a{n}") for n in range(5)])
    worker = world.start()
    await seen(world, worker, in_flight=5)
    await world.append(source, 0, [body(f"b{n}") for n in range(7)])
    await seen(world, worker, in_flight=5, queued=7)
    await world.redis.flushall()

    found = await noticed(world, "emptied", "gone")
    assert ({}, False) == (found.sources, found.balanced)
    emptied, gone = found.problems
    assert "Redis was emptied" in emptied
    assert "lost source 'bot' with all it held: 7 events queued and 5 in flight" in gone
    world.sim.set_plan([])
    fresh = await world.add()
    await world.append(fresh, 0, [body("c")])
    await world.drained()
    assert world.kept()[-1] == "c"
    await acknowledge(world.redis, world.keys, None, (await report(world)).losses)
    await beaten(world, worker)
    await world.assert_balanced()


async def test_everything_gone_and_back_at_once(world: World) -> None:
    """A source that is there again before anybody looks does not hide what was lost with the former one."""
    source = await world.add()
    hang(world)
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await seen(world, worker, in_flight=1)
    async with world.redis.pipeline(transaction=True) as pipe:
        pipe.flushall()
        pipe.hset(world.keys.of("bot").ledger, "incarnation", "another")
        pipe.hset(world.keys.sources, "bot", source.model_copy(update={"incarnation": "another"}).dump())
        await pipe.execute()
    found = await noticed(world, "emptied", "gone")
    assert "0 events queued and 1 in flight" in found.problems[1]


async def test_a_source_that_is_removed_is_no_loss(world: World) -> None:
    """Removed with its events, added anew and removed again: nothing is noted, nor kept in mind."""
    worker = world.start()
    for _ in range(2):
        source = await world.add()
        await world.append(source, 0, [body(f"{source.incarnation}{n}") for n in range(3)])
        await world.drained()
        await seen(world, worker, delivered=3)
        await world.registry.remove("bot", discard=True)
        await world.until(lambda: not worker.pool.lanes, "the lane's end")
    await beaten(world, worker)
    await world.until(lambda: not worker.pool._watch._sights, "an empty memory")
    found = await report(world)
    assert (True, ()) == (found.balanced, found.losses.notes)


async def test_workers_that_come_and_go_are_no_loss(world: World) -> None:
    """Stops and kills of workers, and a fleet that begins anew, note nothing."""
    source = await world.add()
    for number in range(3):
        first, second = world.start(), world.start()
        await world.append(source, number, [body(f"a{number}")])
        await world.drained()
        await beaten(world, first, second)
        await first.finish()
        await second.kill()
    await world.assert_balanced()


async def test_who_was_forgotten_while_it_was_silent_notes_no_loss(world: World) -> None:
    """A worker that was silent so long that others forgot it comes back without an alarm."""
    worker = world.start()
    await beaten(world, worker)
    worker.pool.fleet._shown -= worker.pool.fleet._guard.pace.forget
    await world.redis.hdel(world.keys.workers, worker.pool.fleet.id)
    await beaten(world, worker)
    await world.assert_balanced()


async def test_a_removal_takes_its_notes_along(world: World) -> None:
    """What was noted of a source goes with it: one of the same name begins clean."""
    await world.add()
    await world.redis.xadd(world.keys.of("bot").losses, {"kind": "append", "session": "s", "forgotten": 1})
    await world.redis.hset(world.keys.of("bot").ledger, "forgotten", 1)
    assert not (await report(world)).balanced
    await world.registry.remove("bot")
    await world.add()
    await world.assert_balanced()


async def test_producers_and_everything_gone(world: World) -> None:
    """After FLUSHALL producers are told that there is no such source, and go on once it is there again."""
    await world.add()
    worker = world.start()
    async with AsyncProducer("bot", settings=Settings(redis_url=world.url), budget_s=20) as producer:
        await producer.track("u1", "Said", message_id="a")
        await world.drained()
        await seen(world, worker, delivered=1)
        await world.redis.flushall()
        outcome = (await producer.track("u1", "Said", message_id="lost")).outcome
        assert isinstance(outcome, Rejected)
        assert "unknown_source" == outcome.reason
        await noticed(world, "emptied", "gone")
        await world.add()
        await producer.track("u1", "Said", message_id="b")
        await world.drained()
    assert ["a", "b"] == world.kept()
    assert (await report(world)).sources["bot"].balanced


# -- a server that is restarted without its last writes ---------------------------------------------------------------


@pytest.fixture
async def forgetful(secrets: Secrets) -> AsyncIterator[tuple[World, Server]]:
    """A world on a server that keeps only what was saved."""
    with scratch() as folder, running(Path(folder) / "server", dbfilename="dump.rdb") as server:
        url = f"redis://127.0.0.1:{server.port}"
        client = aconnect(url)
        async with Simulator(port=0) as sim:
            made = World(client, url, Keys(), Registry(client, Keys(), secrets), sim)
            yield made, server
            for worker in made.workers:
                worker.stop.set()
            await asyncio.gather(*(worker.task for worker in made.workers), return_exceptions=True)
            for worker in made.workers:
                await worker.pool._tools.transport.close()
            for one in (*made.clients, client):
                await one.aclose()


async def test_a_restart_that_lost_the_last_writes(forgetful: tuple[World, Server]) -> None:
    """Killed and started on an older snapshot, Redis is told exactly what it forgot of each producer."""
    world, server = forgetful
    await world.add()
    hang(world)
    worker = world.start()
    settings = Settings(redis_url=world.url)
    async with (
        AsyncProducer("bot", settings=settings, budget_s=25) as one,
        AsyncProducer("bot", settings=settings, budget_s=25) as two,
    ):
        await asyncio.gather(*(one.track(f"u{n}", "Said") for n in range(10)))
        await beaten(world, worker)  # Without a beat the server would come back as an emptied one.
        with connect(world.url) as client:
            client.save()
        await asyncio.gather(*(one.track(f"u{n}", "Said") for n in range(30)))
        await asyncio.gather(*(two.track(f"u{n}", "Said") for n in range(7)))
        await beaten(world, worker)
        server.kill()
        await asyncio.to_thread(server.restart)
        await asyncio.gather(one.track("u", "Said"), two.track("u", "Said"))

    found = await noticed(world, "append", "older")
    lost = found.sources["bot"].lost[0]
    assert (37, 12) == (found.sources["bot"].ledger.forgotten, found.sources["bot"].ledger.accepted)
    assert lost.startswith("Redis forgot 37 accepted events of 2 producers ")
    assert not found.sources["bot"].differences
    assert (False, False) == (found.sources["bot"].balanced, found.balanced)
    await worker.kill()  # Rather than let it wait for its hanging requests.
