"""Remembered messageIds in a real Redis: their bound, and what is left behind."""

import logging
from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.flow import read_flow
from pombo.shared.sources import Source
from pombo.worker.idempotency import FIRST_BUCKETS, MAX_MEAN
from pombo.worker.memory import Memory
from support.stored import RecordingLink, ShiftedClock, StoredSource, whole

SOURCE = Source(name="bot", incarnation="i", rate=0, partitions=3, ids_limit=6)


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return await StoredSource(redis, SOURCE).set_up()


async def send(stored: StoredSource, store: Any, *ids: str) -> list[int]:
    """Claim and settle messageIds; those that are sent, by their place."""
    await stored.append(0, ids)
    (part,) = await stored.claimed(store, 0)
    todo = list(part.todo)
    if todo:
        await store.settle(whole(part), ())
    return todo


async def remembered(redis: Redis) -> int:
    """How many ids all buckets hold."""
    buckets = [key async for key in redis.scan_iter("pombo:{bot}:ids:*")]
    return sum([int(await redis.scard(bucket)) for bucket in buckets])


async def test_the_oldest_ids_are_forgotten_at_the_limit(
    stored: StoredSource, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit the oldest generation leaves Redis at once, with a word; newer ids are still remembered."""
    store = stored.store()
    for n in range(4):
        assert [0, 1, 2] == await send(stored, store, *(f"{n}-{m}" for m in range(3)))
        assert SOURCE.ids_limit >= await remembered(redis)
    assert [] == await send(stored, store, "3-0", "3-2")
    assert [0] == await send(stored, store, "0-0")
    flow = await read_flow(redis, stored.of)
    assert flow.ids_cut_at is not None
    assert 60_000 > flow.now - flow.ids_cut_at
    assert 60 > flow.ids_cut_to_s >= 0
    assert "ids.forgotten_early" in caplog.text
    await stored.assert_balanced()


async def test_nothing_is_said_below_the_limit(
    stored: StoredSource, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A source within its limit keeps every id, and its flow has nothing to tell."""
    caplog.set_level(logging.WARNING)
    store = stored.store()
    await send(stored, store, "a", "b")
    assert [] == await send(stored, store, "a", "b")
    assert None is (await read_flow(redis, stored.of)).ids_cut_at
    assert "" == caplog.text


async def test_a_late_answer_counts_for_no_newer_generation(redis: Redis) -> None:
    """Claims run side by side: the count of a full generation, heard after the next one began, fills not that one."""
    memory = (await StoredSource(redis).set_up()).store().memory
    full = await memory.live(SOURCE.window_s)
    memory.note(full, FIRST_BUCKETS * MAX_MEAN)
    newer = await memory.live(SOURCE.window_s)
    assert (1, 2) == (full.generations[0].number, newer.generations[0].number)
    memory.note(full, newer.generations[0].buckets * MAX_MEAN)
    assert newer == await memory.live(SOURCE.window_s)
    memory.note(newer, newer.generations[0].buckets * MAX_MEAN)
    assert newer != await memory.live(SOURCE.window_s)


async def test_a_generation_that_ended_leaves_nothing_behind(redis: Redis) -> None:
    """When the last id of a generation is a window old its buckets go with it, long before they would expire."""
    stored = await StoredSource(redis).set_up()
    clock = ShiftedClock()
    store = stored.store(clock=clock)
    await send(stored, store, "a", "b")
    clock.ahead_s = SOURCE.window_s
    await store.memory.rotate(SOURCE.window_s)
    assert 2 == await remembered(redis)
    clock.ahead_s = 2 * SOURCE.window_s + 1
    await store.memory.rotate(SOURCE.window_s)
    assert 0 == await remembered(redis)


async def test_who_was_not_first_frees_nothing(stored: StoredSource, redis: Redis) -> None:
    """Two workers that cut the same table agree on one, and no live bucket is lost."""
    one, two = stored.store(), stored.store()
    for n in range(2):
        await send(stored, one, *(f"{n}-{m}" for m in range(3)))
    await two.memory.live(SOURCE.window_s, SOURCE.ids_limit)
    await send(stored, one, "2-0", "2-1", "2-2")
    assert [] == await send(stored, two, "2-0", "1-0")
    assert [0] == await send(stored, two, "3-0")
    assert one.memory.table.version <= two.memory.table.version


async def test_a_table_that_is_outdated_meanwhile_is_read_again(stored: StoredSource, redis: Redis) -> None:
    """While one delivery asks for the table another may find it outdated: nobody gets an empty one."""
    outdated = iter([False, True, False])

    async def now() -> int:
        if next(outdated):
            memory.outdated()
        return await stored.now_ms()

    memory = Memory(RecordingLink(redis), stored.of, now)
    first = await memory.live(SOURCE.window_s)
    assert 1 == len(first.generations)
    assert first == await memory.live(SOURCE.window_s)
