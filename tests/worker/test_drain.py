import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ResponseError

from pombo.shared.errors import ConfigurationError
from pombo.shared.flow import Flow, pause
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.secrets import Secrets, new_secret
from pombo.worker.drain import Drain, obstacle
from pombo.worker.process import check_secrets
from support.programs import SECRET
from support.world import World, body

NOW = 1_700_000_000_000
POLL_S = 0.005


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        (Flow(NOW), ""),
        (Flow(NOW, hold_until=NOW - 1), ""),
        (Flow(NOW, hold_until=NOW + 60_000), ""),
        (Flow(NOW, hold_until=NOW + 3_600_000), "held for 3600 s more"),
        (Flow(NOW, paused=True, hold_until=NOW + 3_600_000), "paused: `pombo sources resume` ends it"),
        (Flow(NOW, parked="401 Unauthorized", paused=True), "parked: 401 Unauthorized"),
        (Flow(NOW, parked=""), "parked: "),
    ],
)
def test_obstacle(flow: Flow, expected: str) -> None:
    """A park, a pause and a long hold are obstacles, in this order; a short hold is waited for."""
    assert expected == obstacle(flow)


def drain_of(world: World, registry: Registry | None = None) -> Drain:
    return Drain(world.redis, world.keys, registry or world.registry, poll_s=POLL_S)


async def drained(drain: Drain) -> list[str]:
    """Watch until there is nothing more to do; the problems."""
    stop = asyncio.Event()
    async with asyncio.timeout(30):
        await drain.watch(stop)
    assert drain.done
    assert stop.is_set()
    return drain.problems


@asynccontextmanager
async def watching(drain: Drain) -> AsyncIterator[asyncio.Event]:
    """Watch in the background; the event that the end sets."""
    stop = asyncio.Event()
    watch = asyncio.create_task(drain.watch(stop))
    try:
        yield stop
        async with asyncio.timeout(30):
            await watch
    finally:
        watch.cancel()


async def looked(drain: Drain, times: int = 3) -> None:
    """Wait until a drain in the background has looked again a few times."""
    async with asyncio.timeout(30):
        for _ in range(times):
            before = drain.rest
            while drain.rest is before:
                await asyncio.sleep(0)


async def test_nothing_is_drained_at_once(world: World) -> None:
    """Without sources, and with empty ones, there is nothing to wait for."""
    assert [] == await drained(drain_of(world))
    await world.add()
    assert [] == await drained(drain_of(world))


async def test_it_ends_when_all_is_delivered(world: World) -> None:
    """While events wait it watches on; when a worker has delivered them it ends."""
    source = await world.add()
    await world.append(source, 0, [body(f"m{n}") for n in range(5)])
    drain = drain_of(world)
    async with watching(drain) as stop:
        await looked(drain)
        assert not stop.is_set()
        world.start()

    assert ([], []) == (drain.problems, drain.rest)
    assert 5 == len(world.kept())


async def test_a_paused_source_is_named_once_the_others_are_done(world: World) -> None:
    """An obstacle of one source does not end the drain of the others."""
    paused, other = await world.add("paused"), await world.add("other", "o" * 32)
    await pause(world.redis, world.keys, "paused")
    for source in (paused, other):
        await world.append(source, 0, [body("m1"), body("m2")])
    drain = drain_of(world)
    async with watching(drain) as stop:
        await looked(drain)
        assert not stop.is_set()
        world.start()

    assert ["paused: 2 events, paused: `pombo sources resume` ends it"] == drain.problems
    assert 2 == len(world.kept("o" * 32))


async def test_a_parked_source_is_named(world: World) -> None:
    """A source whose key is refused ends the drain, with Segment's reason."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": 401}}])
    await world.append(source, 0, [body("m1")])
    drain = drain_of(world)
    async with watching(drain):
        world.start()

    (problem,) = drain.problems
    assert problem.startswith("bot: 1 events, parked: ")
    assert "401" in problem


async def test_a_long_hold_is_named(world: World) -> None:
    """An hour is not waited for."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": 429, "headers": {"Retry-After": "3600"}}}])
    await world.append(source, 0, [body("m1")])
    drain = drain_of(world)
    async with watching(drain):
        world.start()

    (problem,) = drain.problems
    assert problem.startswith("bot: 1 events, held for 3")


async def test_an_unreadable_source_is_not_empty(world: World) -> None:
    """What another version of pombo stored is named, for it may hold events."""
    source = await world.add()
    await world.append(source, 0, [body("m1")])
    await world.redis.hset(world.keys.sources, "bot", b'{"v":9}')

    assert ["bot: 1 events, stored in a form that this pombo cannot read: upgrade pombo here"] == await drained(
        drain_of(world)
    )


async def test_a_source_under_another_secret_is_named(world: World) -> None:
    """A write key that cannot be decrypted would be waited for without end."""
    source = await world.add()
    await world.append(source, 0, [body("m1")])
    stranger = Registry(world.redis, world.keys, Secrets([new_secret()]))

    (problem,) = await drained(drain_of(world, stranger))
    assert problem.startswith("bot: 1 events, the write key of source 'bot' cannot be decrypted")


async def test_a_batch_of_another_version_is_named(world: World) -> None:
    """What every worker leaves alone ends the drain, once all before it is delivered."""
    source = await world.add()
    await world.append(source, 0, [body("m1")])
    of = world.keys.of("bot")
    args: list[Any] = [source.incarnation, 99, 0, 3600, world.keys.wake, "track=3", "bot/0", 3, 9, b"\x09\x01future"]
    reply = await script("append").acall(world.redis, [of.ledger, of.session("new"), of.stream(0)], args)
    assert b"ok" == reply[0]
    drain = drain_of(world)
    async with watching(drain):
        world.start()

    (problem,) = drain.problems
    assert problem.startswith("bot: 3 events, record batch has version 9")
    assert ["m1"] == world.kept()


async def test_a_record_of_another_version_is_named(world: World) -> None:
    """So is a partition whose events another version of pombo has in flight."""
    source = await world.add()
    await world.append(source, 0, [body("m1")])
    await world.redis.hset(world.keys.of("bot").record(0), mapping={"v": "9"})

    assert ["bot: 1 events, an in-flight record has version 9: upgrade pombo here"] == await drained(drain_of(world))


async def test_what_does_not_pass_ends_the_watch(world: World) -> None:
    """An error that waiting does not mend is raised, not waited out."""
    await world.add()
    await world.redis.delete(world.keys.of("bot").ledger)
    await world.redis.set(world.keys.of("bot").ledger, "nonsense")

    with pytest.raises(ResponseError):
        await drained(drain_of(world))


async def test_secrets_are_wrong_when_they_open_nothing(world: World, secrets: Secrets) -> None:
    """One source that can be read is enough; none at all is no reason to complain."""
    new = new_secret()
    stranger = Registry(world.redis, world.keys, Secrets([new]))
    await check_secrets(stranger)
    await world.add()
    with pytest.raises(ConfigurationError, match="encrypted with another secret"):
        await check_secrets(stranger)
    await stranger.rotate_key("bot", "t" * 32, force=True)
    with pytest.raises(ConfigurationError, match="encrypted with another secret"):
        await check_secrets(world.registry)
    await Registry(world.redis, world.keys, Secrets([SECRET, new])).add("ours", "o" * 32)

    await check_secrets(stranger)
    await check_secrets(world.registry)
