import asyncio

from redis.asyncio import Redis

from ops.top.looks import NOW, view, worker
from pombo.ops.trace import Place
from pombo.ops.trial import USER, Road, obstacles
from pombo.shared.batches import partition_of
from support.stored import LEASE, StoredSource, letter, whole


async def test_the_road_of_an_event(redis: Redis) -> None:
    """A test event is not seen while it is queued, then it is in flight, and then delivered or dead."""
    for end in ("delivered", "dead"):
        await redis.flushall()
        source = await StoredSource(redis).set_up()
        partition = partition_of(USER, source.source.partitions)
        await redis.set(source.of.lease(partition), LEASE)
        road, store = Road(redis, source.keys, source.source, "m"), source.store()
        await source.append(partition, ["m"])
        assert await road.look() is None
        (part,) = await source.claimed(store, partition)
        assert "in_flight" == _state(await road.look())
        await store.settle(whole(part) if end == "delivered" else None, [letter(part, 0)] if end == "dead" else [])
        assert end == _state(await road.look())


async def test_a_source_that_is_shut_is_told_at_once(redis: Redis) -> None:
    """Whether the event waits behind the park, or its own request brought that about: nobody waits for the time."""
    for claimed in (False, True):
        await redis.flushall()
        source = await StoredSource(redis).set_up()
        partition = partition_of(USER, source.source.partitions)
        await redis.set(source.of.lease(partition), LEASE)
        await source.append(partition, ["m"])
        if claimed:
            await source.claimed(source.store(), partition)
        await redis.hset(source.of.flow, "parked", "Segment answered 401: the write key is refused")
        road = Road(redis, source.keys, source.source, "m", settled_s=0)
        async with asyncio.timeout(30):
            place = await road.follow(float("inf"))
        assert ("in_flight" if claimed else None) == _state(place)
        told = await road.obstacles(place)
        assert any("the test event does not go past that" in one for one in told)


def _state(place: Place | None) -> str | None:
    return None if place is None else place.state


def test_obstacles() -> None:
    """What keeps an event is named, the worst first; with nothing in its way nothing is."""
    alive = [worker("w")]
    assert [] == [*obstacles(view("bot", queued=1), alive, None)]
    assert ["no worker lives; `pombo worker` starts one"] == [*obstacles(view("bot"), [worker("w", alive=False)], None)]
    held = [*obstacles(view("bot", flow={"hold_until": NOW + 60_000}), alive, None)]
    assert ["Segment asked to wait: it is held for 60 s more"] == held
    broken = [*obstacles(view("bot", flow={"broken_at": NOW - 1, "broken_why": "HTTP 503"}), alive, None)]
    assert "HTTP 503" in broken[0]
    blocked = [*obstacles(view("bot", flow={"blocked": {"2": "version 9"}}), alive, None)]
    assert ["partition 2 waits: version 9"] == blocked
    behind = [*obstacles(view("bot", queued=501), alive, None)]
    assert ["500 events of the source wait with it, at 1000 events/s at most"] == behind
    flying = Place(source="bot", state="in_flight", attempts=3)
    (told,) = obstacles(view("bot", queued=501), alive, flying)
    assert "it was sent 3 times" in told
