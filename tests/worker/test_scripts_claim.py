"""Claiming, straight against the server."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.worker.idempotency import MAX_MEAN, Generation, Table, members
from pombo.worker.parts import Part
from support.stored import LEASE, ShiftedClock, StoredSource, event, letter, whole

LEDGER = ("queued", "in_flight", "deduplicated", "delivered", "dead")


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return await StoredSource(redis).set_up()


async def test_claim_writes_the_record(stored: StoredSource) -> None:
    """A claim moves its events in flight and leaves its entries where they are."""
    await stored.append(0, ["a", "b"], ["c"])
    await stored.append(0, ["d"])
    (part,) = await stored.claimed(stored.store(), 0, count=2)
    assert [0, 1, 2] == part.todo
    assert (1, 3, 0, 0, 0) == await stored.ledger(*LEDGER)
    assert 3 == await stored.redis.xlen(stored.of.stream(0))
    record = await stored.record(0)
    assert ("1", part.record, "000", "3", "3", "2", "1") == tuple(
        record[name] for name in ("v", "id", "done", "left", "events", "entries", "attempts")
    )
    assert (part.entries[0].id, part.entries[1].id) == (record["first"], record["last"])
    assert await stored.now_ms() == int(record["sent_at"])
    await stored.assert_balanced()


async def test_repeated_claim_answers_the_same(stored: StoredSource) -> None:
    """A claim whose reply was lost finds its record, not its own ids as duplicates, and changes nothing."""
    await stored.append(0, ["a", "b", "a"])
    await stored.append(1, ["b"])
    store = stored.store()
    parts = [await stored.part(store, 0), await stored.part(store, 1)]
    await store.claim(parts)
    before = await stored.dump()
    await stored.append(0, ["x"])
    during = await stored.dump()
    reply = await stored.repeat(next(call for call in stored.calls if call[0] == "claim"))
    assert during == await stored.dump()
    assert [b"claimed", b"001"] == reply[5]
    # Nothing was left of the second part, so its entry is gone, and the worker reads on.
    assert [b"moved"] == reply[6]
    assert before != during
    await stored.assert_balanced()


async def test_ids_are_never_claimed_twice(stored: StoredSource) -> None:
    """Copies are found within a batch, within a claim, while in flight, and after delivery."""
    await stored.append(0, ["a", "a", "b"])
    await stored.append(1, ["b", "c", "a"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    assert ([0, 2], [1]) == (first.todo, second.todo)
    assert (0, 3, 3, 0, 0) == await stored.ledger(*LEDGER)
    await stored.append(1, ["x"])
    await store.settle(whole(second), ())
    await stored.append(1, ["b", "c", "y"])
    (third,) = await stored.claimed(store, 1)
    assert [0, 3] == third.todo
    await store.settle(whole(first, third), ())
    await stored.append(0, ["a", "b", "c", "x", "y"])
    (fourth,) = await stored.claimed(store, 0)
    assert [] == fourth.todo
    await stored.assert_balanced()


async def test_two_parts_of_one_claim_share_an_id(stored: StoredSource) -> None:
    """The earlier part of a claim keeps the id, the later one loses its copy, whatever their partitions."""
    await stored.append(0, ["a"])
    await stored.append(1, ["a"])
    one, zero = await stored.claimed(stored.store(), 1, 0)
    assert ([0], []) == (one.todo, zero.todo)
    assert {"pombo:{bot}:stream:1"} == {key for key in await stored.dump() if ":stream:" in key} - {
        "pombo:{bot}:stream:0"
    }
    assert (0, 1, 1, 0, 0) == await stored.ledger(*LEDGER)
    await stored.assert_balanced()


async def test_claim_of_duplicates_only_ends_at_once(stored: StoredSource) -> None:
    """Where nothing is left to send, the entries leave without a record, and without costing tokens."""
    source = stored.source.model_copy(update={"rate": 10, "burst": 100})
    store = stored.store(source)
    await stored.append(0, ["a"])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    await stored.append(0, ["a", "a"], ["a"])
    before = await stored.redis.hget(stored.of.rate, "tokens")
    (part,) = await stored.claimed(store, 0)
    assert [] == part.todo
    assert not await stored.redis.exists(stored.of.record(0))
    assert 0 == await stored.redis.xlen(stored.of.stream(0))
    assert before == await stored.redis.hget(stored.of.rate, "tokens")
    assert (0, 0) == await stored.ledger("queued", "queued_bytes")
    await stored.assert_balanced()


async def test_same_id_with_other_escapes_is_another_id(stored: StoredSource) -> None:
    """Ids are compared as they are written: nothing but the same text is a copy."""
    await stored.append(0, ["a", "A", "a ", "\\u0061"])
    (part,) = await stored.claimed(stored.store(), 0)
    assert [0, 1, 2, 3] == part.todo


async def test_claim_with_a_record_in_flight(stored: StoredSource) -> None:
    """While a record is in flight nothing else of its partition is claimed; other partitions are."""
    await stored.append(0, ["a"])
    await stored.append(0, ["b"])
    await stored.append(1, ["c"])
    store = stored.store()
    await stored.claimed(store, 0, count=1)
    before = await stored.ledger(*LEDGER)
    other, free = await stored.part(store, 0), await stored.part(store, 1)
    assert ["record", "claimed"] == (await store.claim([other, free])).states
    assert ([], [0]) == (other.todo, free.todo)
    assert (before[0] - 1, before[1] + 1) == (await stored.ledger(*LEDGER))[:2]
    await stored.assert_balanced()


@pytest.mark.parametrize("lease", ["w2:token", "w1:other", "w1", ""])
async def test_claim_without_the_lease(stored: StoredSource, lease: str) -> None:
    """A worker that lost its lease claims nothing, and learns it."""
    await stored.append(0, ["a"])
    store = stored.store()
    part = await stored.part(store, 0, lease=lease)
    await store.memory.live(store.source.window_s)
    before = await stored.dump()
    assert ["lost"] == (await store.claim([part])).states
    assert before == await stored.dump()


async def test_claim_without_any_lease(stored: StoredSource) -> None:
    """A partition that nobody holds is not claimed by a worker that believes it does."""
    await stored.append(2, ["a"])
    store = stored.store()
    assert ["lost"] == (await store.claim([await stored.part(store, 2)])).states


async def test_claim_of_a_stream_that_moved(stored: StoredSource) -> None:
    """A claim that was built from entries which are gone, or no longer first, is told to read again."""
    await stored.append(0, ["a"], ["b"], ["c"])
    store = stored.store()
    stale = await stored.part(store, 0, count=2)
    behind = Part(0, LEASE, "other", stale.entries[1:])
    longer = await stored.part(store, 0, count=3)
    await stored.redis.xdel(stored.of.stream(0), longer.entries[2].id)
    await store.memory.live(store.source.window_s)
    before = await stored.dump()
    assert ["moved"] == (await store.claim([behind])).states
    assert ["moved"] == (await store.claim([longer])).states
    assert before == await stored.dump()
    await stored.redis.xdel(stored.of.stream(0), stale.entries[0].id)
    assert ["moved"] == (await store.claim([stale])).states
    await stored.redis.delete(stored.of.stream(0))
    assert ["moved"] == (await store.claim([stale])).states


async def test_claim_of_another_incarnation(stored: StoredSource) -> None:
    """A source that was removed, or removed and added again, is not touched."""
    await stored.append(0, ["a"])
    store = stored.store()
    part = await stored.part(store, 0)
    await store.memory.live(store.source.window_s)
    for incarnation in ("other", None):
        if incarnation:
            await stored.redis.hset(stored.of.ledger, "incarnation", incarnation)
        else:
            await stored.redis.delete(stored.of.ledger)
        before = await stored.dump()
        assert ["unknown"] == (await store.claim([part])).states
        assert before == await stored.dump()


async def test_claim_mixes_every_state(stored: StoredSource) -> None:
    """Parts of one claim do not disturb each other."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    await stored.append(2, ["c"])
    store = stored.store()
    (busy,) = await stored.claimed(store, 1)
    parts = [
        await stored.part(store, 2),
        busy,
        Part(1, LEASE, "other", busy.entries),
        await stored.part(store, 0),
    ]
    assert ["lost", "claimed", "record", "claimed"] == (await store.claim(parts)).states
    assert (1, 2) == (await stored.ledger(*LEDGER))[:2]
    await stored.assert_balanced()


async def test_claim_reads_changed_generations_again(stored: StoredSource) -> None:
    """A worker that does not know of a new generation reads the table, and finds ids of all of them."""
    first, second = stored.store(), stored.store()
    await stored.append(0, ["a"])
    await first.settle(whole(*await stored.claimed(first, 0)), ())
    await stored.append(0, ["b"])
    await second.settle(whole(*await stored.claimed(second, 0)), ())
    old = first.memory.table
    born = old.generations[0].born
    new = Table("2", (Generation(2, 128, born), Generation(1, 64, born, born)))
    await first._link.script("rotate_ids", [stored.of.ids], [old.version, "2", new.dump(), "1"])
    await stored.append(0, ["a", "b", "c"])
    (part,) = await stored.claimed(second, 0)
    assert [2] == part.todo
    assert new == second.memory.table
    assert [] != await stored.redis.keys(f"{stored.of.ids}:2:*")
    await stored.assert_balanced()


async def test_generation_that_is_due_begins_before_a_claim(stored: StoredSource) -> None:
    """After an idle window no id goes into the old buckets, which end before its own window does."""
    clock = ShiftedClock()
    store = stored.store(clock=clock)
    await stored.append(0, ["a"])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    await stored.append(0, ["a", "b"])
    clock.ahead_s += stored.source.window_s
    (part,) = await stored.claimed(store, 0)
    assert [1] == part.todo
    sizes = {
        number: [await stored.redis.scard(key) for key in await stored.redis.keys(f"{stored.of.ids}:{number}:*")]
        for number in (1, 2)
    }
    assert {1: [1], 2: [1]} == sizes
    assert b"1" == await stored.redis.hget(stored.of.ids, "count")


async def test_new_buckets_live_for_twice_the_window(stored: StoredSource) -> None:
    """A bucket expires two windows after its first id; later ids do not move that."""
    store = stored.store(stored.source.model_copy(update={"window_s": 3600.0}))
    await stored.append(0, [f"m{n}" for n in range(100)])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    buckets = await stored.redis.keys(f"{stored.of.ids}:1:*")
    assert all([7_190_000 < await stored.redis.pttl(bucket) <= 7_200_000 for bucket in buckets])
    for bucket in buckets:
        await stored.redis.pexpire(bucket, 5_000_000)
    await stored.append(0, [f"n{n}" for n in range(100)])
    await stored.claimed(store, 0)
    assert all([await stored.redis.pttl(bucket) <= 5_000_000 for bucket in buckets])


async def test_every_bucket_of_a_claim_has_its_time(stored: StoredSource) -> None:
    """Buckets get their time to live up to the count with which none is missing, also in one claim that passes it."""
    store = stored.store()
    await stored.append(0, [f"m{n}" for n in range(64 * 32 + 100)])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    buckets = await stored.redis.keys(f"{stored.of.ids}:1:*")
    assert 64 == len(buckets)
    assert all([await stored.redis.pttl(bucket) > 0 for bucket in buckets])
    claim = next(call for call in stored.calls if call[0] == "claim")
    assert b'"crowded":2048' in bytes(claim[2][0])  # type: ignore[arg-type]


async def test_a_bucket_made_late_has_its_time(stored: StoredSource) -> None:
    """Where dead events left buckets empty, these are made again with their time to live."""
    store = stored.store()
    await stored.append(0, [f"m{n}" for n in range(64 * 32)])
    (part,) = await stored.claimed(store, 0)
    await store.settle(None, [letter(part, index) for index in part.todo])
    assert [] == await stored.redis.keys(f"{stored.of.ids}:1:*")
    await stored.append(0, ["a"])
    await stored.claimed(store, 0)
    (bucket,) = await stored.redis.keys(f"{stored.of.ids}:1:*")
    assert await stored.redis.pttl(bucket) > 0


@pytest.mark.parametrize("generation", [0, 1])
async def test_a_claim_that_fails_leaves_no_id(stored: StoredSource, generation: int) -> None:
    """When a bucket is no set, whichever generation's, the claim is an error and nothing of it stays."""
    store = stored.store()
    await store.memory.live(store.source.window_s)
    born = store.memory.table.generations[0].born
    table = Table("9", (Generation(2, 128, born), Generation(1, 64, born, born)))
    await stored.redis.hset(stored.of.ids, mapping={"version": "9", "table": table.dump()})
    store.memory.outdated()
    await stored.append(0, [f"m{n}" for n in range(99)])
    await stored.append(1, ["last"])
    parts = [await stored.part(store, 0), await stored.part(store, 1)]
    await store.memory.live(store.source.window_s)
    spoilt = store.memory.buckets(members([b"last"]).spreads)[generation]
    await stored.redis.set(spoilt, "no set")
    before = await stored.dump()
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await store.claim(parts)
    assert before == await stored.dump()
    await stored.redis.delete(spoilt)
    assert ["claimed", "claimed"] == (await store.claim(parts)).states
    assert (99, 1) == (len(parts[0].todo), len(parts[1].todo))
    await stored.assert_balanced()


async def test_copies_are_found_whichever_generation_remembers_them(stored: StoredSource) -> None:
    """Several copies of an id in one claim are all duplicates of one in an older generation; the count stands still."""
    store = stored.store()
    await stored.append(0, ["a", "b"])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    store.memory.count = 64 * MAX_MEAN
    await stored.append(0, ["c"])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    assert 2 == len(store.memory.table.generations)
    await stored.append(0, ["a", "d", "a", "c"])
    await stored.append(1, ["d", "b", "c", "e"])
    one, two = await stored.claimed(store, 0, 1)
    assert ([1], [3]) == (one.todo, two.todo)
    assert b"3" == await stored.redis.hget(stored.of.ids, "count")
    await stored.assert_balanced()


async def test_members_are_stored_exactly(stored: StoredSource) -> None:
    """63-bit members survive the way through Lua to the last digit, and buckets stay packed."""
    store = stored.store()
    await stored.append(0, [f"m{n}" for n in range(1000)])
    await stored.claimed(store, 0)
    found = set()
    for bucket in await stored.redis.keys(f"{stored.of.ids}:1:*"):
        assert b"intset" == await stored.redis.object("encoding", bucket)
        found |= {int(member) for member in await stored.redis.smembers(bucket)}
    claim = next(call for call in stored.calls if call[0] == "claim")
    assert {*claim[2][1:]} == found
    assert b"1000" == await stored.redis.hget(stored.of.ids, "count")


async def test_a_request_of_2500_events_is_claimed(stored: StoredSource) -> None:
    """The largest request, with three generations to look through, is one claim."""
    store = stored.store()
    await store.memory.live(store.source.window_s)
    now = await stored.now_ms()
    table = Table("9", (Generation(3, 512, now), Generation(2, 64, now, now), Generation(1, 64, now, now)))
    await stored.redis.hset(stored.of.ids, mapping={"version": "9", "table": table.dump()})
    await stored.append(0, *[[f"a{n}-{m}" for m in range(100)] for n in range(13)])
    await stored.append(1, *[[f"b{n}-{m}" for m in range(100)] for n in range(12)])
    parts = await stored.claimed(store, 0, 1)
    assert 2500 == sum(len(part.todo) for part in parts)
    await stored.assert_balanced()


# -- resuming ------------------------------------------------------------------------------------------------


async def test_record_is_resumed_by_the_next_worker(stored: StoredSource) -> None:
    """A new worker finds what the dead one left unfinished, with its attempts, as an unknown outcome."""
    store = stored.store()
    await stored.append(0, ["a", "b", "a"], ["c", "d"])
    (part,) = await stored.claimed(store, 0)
    await store.settle(None, [letter(part, 1)])
    await store.attempt(whole(part))
    await stored.redis.set(stored.of.lease(0), "w2:t")
    resumed = await stored.store().resume(0, "w2:t")
    assert resumed is not None
    assert ([0, 3, 4], 2, part.record) == (resumed.todo, resumed.attempts, resumed.record)
    assert part.bodies == resumed.bodies
    assert [entry.id for entry in part.entries] == [entry.id for entry in resumed.entries]
    assert await stored.now_ms() == resumed.unknown_since


async def test_nothing_to_resume(stored: StoredSource) -> None:
    """A partition without a record has nothing to resume."""
    assert None is await stored.store().resume(0, LEASE)


async def test_record_of_another_version_is_left_alone(stored: StoredSource) -> None:
    """A record that a newer pombo wrote is reported, and not touched."""
    await stored.append(0, ["a"])
    store = stored.store()
    await stored.claimed(store, 0)
    await stored.redis.hset(stored.of.record(0), "v", "2")
    before = await stored.dump()
    with pytest.raises(StoredVersionError):
        await store.resume(0, LEASE)
    assert before == await stored.dump()


@pytest.mark.parametrize(
    "name", ["id", "first", "last", "done", "attempts", "sent_at", "unknown_since", "failing_since", "v"]
)
async def test_record_without_a_field_is_left_alone(stored: StoredSource, name: str) -> None:
    """A record that lacks something this pombo needs is another version's, and not touched."""
    await stored.append(0, ["a"])
    store = stored.store()
    await stored.claimed(store, 0)
    await stored.redis.hdel(stored.of.record(0), name)
    before = await stored.dump()
    with pytest.raises(StoredVersionError, match="partition 0"):
        await store.resume(0, LEASE)
    assert before == await stored.dump()


@pytest.mark.parametrize("lost", [(0,), (1,), (2,), (0, 1, 2)])
async def test_record_without_its_entries_is_corrupt(stored: StoredSource, lost: tuple[int, ...]) -> None:
    """A record of which Redis lost an entry is told as corrupt: its bitmap would mark other events."""
    await stored.append(0, ["a"], ["b", "c"], ["d"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await stored.redis.xdel(stored.of.stream(0), *[part.entries[number].id for number in lost])
    before = await stored.dump()
    with pytest.raises(CorruptBatchError, match="partition 0"):
        await store.resume(0, LEASE)
    assert before == await stored.dump()


async def test_entries_are_read_as_they_are(stored: StoredSource) -> None:
    """Reading goes on behind an id, in order, and hands out what is stored even if it is no batch."""
    await stored.append(0, ["a"], ["b"], ["c"])
    await stored.redis.xadd(stored.of.stream(0), {"n": "x", "r": "9" * 5000, "other": "y"})
    *_, (foreign, _) = await stored.entries(stored.of.stream(0))
    store = stored.store()
    ((first, *_),) = await store.read([(0, "", 1)])
    rest, none = await store.read([(0, first.id, 100), (1, "", 5)])
    assert ([], 3) == (none, len(rest))
    assert [[event("b")], [event("c")]] == [entry.decode().bodies for entry in rest[:2]]
    assert foreign == rest[2].id
    with pytest.raises(CorruptBatchError):
        rest[2].decode()
    assert [4, 0, 0] == await store.lengths(range(3))
