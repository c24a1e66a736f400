from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from pombo.ops.trace import Place, Search, find_spooled
from pombo.producer.spool import spool_path
from pombo.worker.store import SourceStore
from support.spooling import spool_events
from support.stored import LEASE, StoredSource, letter, whole


async def stored(redis: Redis) -> tuple[StoredSource, SourceStore]:
    """A source without events, and a worker's store of it."""
    source = await StoredSource(redis).set_up()
    return source, source.store()


async def find(source: StoredSource, message_id: str) -> list[Place]:
    """All places of an event."""
    return await Search(source.redis, source.keys, source.source, message_id).run()


async def states(source: StoredSource, *message_ids: str) -> list[list[str]]:
    """The states of the places of some events."""
    return [[place.state for place in await find(source, one)] for one in message_ids]


async def test_a_queued_event(redis: Redis) -> None:
    """A queued event has its partition, its entry, when it was accepted, and how many are before it."""
    source, _ = await stored(redis)
    await source.append(1, ["a", "b"], ["c", "m"])
    (place,) = await find(source, "m")
    (_, (entry, _)) = await source.entries(source.of.stream(1))
    assert ("bot", "queued", 1, entry, 3) == (place.source, place.state, place.partition, place.entry, place.ahead)
    assert place.accepted_at is not None
    assert [[]] == await states(source, "nobody")


async def test_an_event_in_flight(redis: Redis) -> None:
    """A claimed event has its worker, its sends and their time; events behind the record are queued."""
    source, store = await stored(redis)
    await source.append(0, ["m", "n"])
    (part,) = await source.claimed(store, 0)
    await source.append(0, ["later"])
    (place,) = await find(source, "m")
    assert ("in_flight", 0, LEASE.partition(":")[0], 1) == (place.state, place.partition, place.worker, place.attempts)
    assert place.sent_at is not None
    assert (0, "queued") == ((later := (await find(source, "later"))[0]).ahead, later.state)
    assert part.todo == [0, 1]


async def test_a_delivered_event(redis: Redis) -> None:
    """An event that was delivered is known by its remembered id alone, also while others of its record are not."""
    source, store = await stored(redis)
    await source.append(0, ["m"], ["n"])
    (part,) = await source.claimed(store, 0)
    first, second = whole(part).singles()
    await store.settle(first, [])
    assert [["delivered"], ["in_flight"]] == await states(source, "m", "n")
    await store.settle(second, [])
    (place,) = await find(source, "n")
    assert "delivered" == place.state
    assert place.remembered_since is not None
    assert place.remembered_until is not None
    assert place.remembered_since < place.remembered_until


async def test_a_dead_event(redis: Redis) -> None:
    """A dead event has its letter and its reason; what died with it is not taken for delivered."""
    source, store = await stored(redis)
    await source.append(0, ["m", "n"])
    (part,) = await source.claimed(store, 0)
    await store.settle(None, [letter(part, 0)])
    (place,) = await find(source, "m")
    ((stream_id, _),) = await source.entries(source.of.dead)
    assert ("dead", "poison", f"bot/{stream_id}") == (place.state, place.reason, place.letter)
    assert [["in_flight"]] == await states(source, "n")


async def test_copies_of_an_event(redis: Redis) -> None:
    """A copy whose first one was delivered or is in flight is shown, and that it will not be sent."""
    source, store = await stored(redis)
    await source.append(0, ["m"])
    (part,) = await source.claimed(store, 0)
    await source.append(1, ["m"])
    flying, copy = await find(source, "m")
    assert ("in_flight", "queued") == (flying.state, copy.state)
    assert "the first one is in flight" in (copy.note or "")
    await store.settle(whole(part), [])
    copy, delivered = await find(source, "m")
    assert ("queued", "delivered") == (copy.state, delivered.state)
    assert "the first one is delivered" in (copy.note or "")


async def test_ids_as_json_writes_them(redis: Redis) -> None:
    """An id with quotes and letters beyond ASCII is found; one that only begins like another is another."""
    source, _ = await stored(redis)
    await source.append(0, ['say \\"é\\"', "m12"])
    assert [["queued"], [], ["queued"]] == await states(source, 'say "é"', "m1", "m12")


async def test_long_streams_are_read_in_steps(redis: Redis) -> None:
    """An event far down a stream is found, and every event passed is told as progress."""
    source, _ = await stored(redis)
    for start in range(0, 300, 20):
        await source.append(2, *([f"m{number}"] for number in range(start, start + 20)))
    seen: list[int] = []
    search = Search(redis, source.keys, source.source, "m260", seen.append)
    assert [260] == [place.ahead for place in await search.run()]
    assert 300 == sum(seen)


async def test_what_cannot_be_read_hides_nothing_else(redis: Redis) -> None:
    """Garbage in a stream, and a record of another version, do not end the search."""
    source, _ = await stored(redis)
    await redis.xadd(source.of.stream(0), {"n": 2, "r": 5, "b": b"\x01\x01rubbish"})
    await redis.hset(source.of.record(1), mapping={"v": "9"})
    await source.append(0, ["m"])
    assert [2] == [place.ahead for place in await find(source, "m")]


class Interrupted(Search):
    """A search during which somebody works, before the queue is read or right after the event was seen there."""

    def __init__(self, source: StoredSource, work: Callable[[], Awaitable[None]], *, late: bool) -> None:
        super().__init__(source.redis, source.keys, source.source, "m")
        self._work = [work]
        self._late = late

    async def in_flight(self, partition: int | None = None) -> list[Place]:
        found = await super().in_flight(partition)
        await self._interrupt(not self._late)
        return found

    async def _still_there(self, place: Place) -> bool:
        await self._interrupt(self._late)
        return await super()._still_there(place)

    async def _interrupt(self, due: bool) -> None:
        while due and self._work:
            await self._work.pop()()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("end", ["in_flight", "delivered", "dead"])
async def test_an_event_that_moves_meanwhile(redis: Redis, end: str, late: bool) -> None:
    """Whatever a worker does during the search, the event is found where it is at the end, and once."""
    source, store = await stored(redis)
    await source.append(0, ["m"])

    async def work() -> None:
        (part,) = await source.claimed(store, 0)
        if end != "in_flight":
            await store.settle(whole(part) if end == "delivered" else None, [letter(part, 0)] if end == "dead" else [])

    assert [end] == [place.state for place in await Interrupted(source, work, late=late).run()]


async def test_an_event_on_this_machines_disk(tmp_path: Path) -> None:
    """A spooled event has its source, when it was spooled, and how many are before it."""
    path = spool_path(tmp_path, "pombo")
    assert [] == find_spooled(path, "m2")
    spool_events(tmp_path, "bot", "m1", "m2")
    spool_events(tmp_path, "other", "m2")
    first, second = find_spooled(path, "m2")
    assert ("bot", "spooled", 1) == (first.source, first.state, first.ahead)
    assert ("other", 0) == (second.source, second.ahead)
    assert ["other"] == [place.source for place in find_spooled(path, "m2", "other")]
    assert [] == find_spooled(path, "m")
