"""Finishing events, straight against the server: delivered, dead, unreadable."""

import pytest
from redis.asyncio import Redis

from pombo.shared.deadletters import Filter, LetterHeader, search
from pombo.shared.deadletters.table import look
from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.worker.idempotency import MAX_MEAN, Table, members
from pombo.worker.parts import Chunk
from support.stored import LEASE, StoredSource, letter, whole

COUNTERS = ("accepted", "queued", "in_flight", "delivered", "deduplicated", "dead")


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return await StoredSource(redis).set_up()


# -- delivered -----------------------------------------------------------------------------------------------


async def test_delivered_events_leave(stored: StoredSource) -> None:
    """With its last event a record leaves, and its entries with it; what stands behind them stays."""
    await stored.append(0, ["a", "b"], ["c"], ["d"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0, count=2)
    assert [] == await store.settle(whole(part), ())
    assert [] == part.todo
    assert (4, 1, 0, 3, 0, 0) == await stored.ledger(*COUNTERS)
    assert 1 == await stored.redis.xlen(stored.of.stream(0))
    assert not await stored.redis.exists(stored.of.record(0))
    assert await stored.now_ms() == int(await stored.redis.hget(stored.of.flow, "last_success") or 0)
    await stored.assert_balanced()


async def test_repeated_settlement_changes_nothing(stored: StoredSource) -> None:
    """An ack whose reply was lost may be repeated, also after the next claim of the partition."""
    await stored.append(0, ["a", "b"], ["c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0, count=1)
    await store.settle(whole(part), ())
    call = stored.calls[-1]
    before = await stored.dump()
    assert [b"gone"] == (await stored.repeat(call))[1]
    assert before == await stored.dump()
    await stored.claimed(store, 0)
    before = await stored.dump()
    assert [b"gone"] == (await stored.repeat(call))[1]
    assert before == await stored.dump()
    await stored.assert_balanced()


@pytest.mark.parametrize("dead", [False, True])
async def test_repeated_partial_settlement_changes_nothing(stored: StoredSource, dead: bool) -> None:
    """Events that are finished already are not finished again."""
    await stored.append(0, ["a", "b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.settle(Chunk([(part, [1])]), [letter(part, 2)] if dead else ())
    before = await stored.dump("last_success")
    assert [b"ok", 1 if dead else 2, 1] == (await stored.repeat())[1]
    assert before == await stored.dump("last_success")
    await stored.assert_balanced()


async def test_settlement_tells_what_the_stream_still_holds(stored: StoredSource) -> None:
    """A part that is finished knows how many entries are behind it; of one that is not, or was before, nobody knows."""
    await stored.append(0, ["a", "b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await stored.append(0, ["c"])
    await stored.append(0, ["d"])
    found = []
    for indices in ([0], [1], [1]):
        await store.settle(Chunk([(part, indices)]), ())
        found.append(part.behind)
    assert [None, 2, None] == found


async def test_settling_in_steps(stored: StoredSource) -> None:
    """A record shrinks step by step, in any order, and leaves with the last step only."""
    await stored.append(0, ["a", "b", "c"], ["d", "a", "e"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    for indices, bitmap, left in (([5], b"000011", 4), ([0, 2], b"101011", 2), ([3], b"101111", 1)):
        await store.settle(Chunk([(part, indices)]), ())
        found = await stored.redis.hmget(stored.of.record(0), ["done", "left"])
        assert [bitmap, b"%d" % left] == found
        assert 2 == await stored.redis.xlen(stored.of.stream(0))
        await stored.assert_balanced()
    await store.settle(Chunk([(part, [1])]), ())
    assert (6, 0, 0, 5, 1, 0) == await stored.ledger(*COUNTERS)
    assert (0, 0) == (
        await stored.redis.exists(stored.of.record(0)),
        await stored.redis.xlen(stored.of.stream(0)),
    )
    await stored.assert_balanced()


async def test_whole_remainder_of_a_record(stored: StoredSource) -> None:
    """When all that is left is delivered at once, only what was left is counted."""
    await stored.append(0, ["a", "b", "b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.settle(None, [letter(part, 0)])
    await store.settle(whole(part), ())
    assert (4, 0, 0, 2, 1, 1) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


async def test_settling_many_parts_at_once(stored: StoredSource) -> None:
    """Parts of one request are finished in one step, each as far as it was sent."""
    await stored.append(0, ["a", "b"])
    await stored.append(1, ["c", "d"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    await store.settle(Chunk([(first, [0, 1]), (second, [0])]), [letter(second, 1, "too_large")])
    assert (4, 0, 0, 3, 0, 1) == await stored.ledger(*COUNTERS)
    assert ([], []) == (first.todo, second.todo)
    await stored.assert_balanced()


# -- zombies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", ["w2:token", "w1:again", None])
async def test_worker_that_lost_its_lease_settles_nothing(stored: StoredSource, holder: str | None) -> None:
    """Without the current token neither ack nor dead letter nor ledger moves, not even last success."""
    await stored.append(0, ["a", "b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    if holder:
        await stored.redis.set(stored.of.lease(0), holder)
    else:
        await stored.redis.delete(stored.of.lease(0))
    before = await stored.dump()
    assert [part] == await store.settle(Chunk([(part, [0])]), [letter(part, 1)])
    assert before == await stored.dump()


async def test_zombie_with_an_old_record_settles_nothing(stored: StoredSource) -> None:
    """A record id that is not the one in flight is gone, though the lease is right."""
    await stored.append(0, ["a"])
    await stored.append(0, ["b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0, count=1)
    await store.settle(whole(part), ())
    await stored.claimed(store, 0)
    before = await stored.dump()
    part.todo = [0]
    assert [] == await store.settle(whole(part), ())
    assert before == await stored.dump()


async def test_one_lost_part_does_not_stop_the_others(stored: StoredSource) -> None:
    """What is still ours of a request is settled, and what is lost is named."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    await stored.redis.set(stored.of.lease(0), "w2:x")
    assert [first] == await store.settle(whole(first, second), ())
    assert (2, 0, 1, 1, 0, 0) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


async def test_new_owner_finishes_what_the_old_one_began(stored: StoredSource) -> None:
    """After a takeover the remainder is settled by the new owner, and the old one's ack comes to nothing."""
    await stored.append(0, ["a", "b", "c"])
    old = stored.store()
    (part,) = await stored.claimed(old, 0)
    await old.settle(Chunk([(part, [0])]), ())
    await stored.redis.set(stored.of.lease(0), "w2:t")
    new = stored.store()
    resumed = await new.resume(0, "w2:t")
    assert resumed is not None
    assert [part] == await old.settle(whole(part), ())
    assert [] == await new.settle(whole(resumed), ())
    assert (3, 0, 0, 3, 0, 0) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


# -- dead ----------------------------------------------------------------------------------------------------


async def test_dead_event_becomes_a_letter(stored: StoredSource) -> None:
    """Death moves the event's bytes and its header to the dead letters, and counts by reason."""
    await stored.append(0, ["a", "b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    one = letter(part, 1, "too_large")
    await store.settle(None, [one])
    ((_, fields),) = await stored.entries(stored.of.dead)
    assert {b"h": one.header, b"b": part.bodies[1]} == fields
    assert (1, 1) == await stored.ledger("dead", "died:too_large")
    assert not await stored.redis.hexists(stored.of.flow, "last_success")
    await stored.assert_balanced()


async def test_a_death_writes_its_row(stored: StoredSource) -> None:
    """In the step in which an event dies, or a batch is buried, it gets its row: one, also when repeated."""
    await stored.append(0, ["a", "b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.settle(Chunk([(part, [0])]), [letter(part, 1, "too_large"), letter(part, 2, "expired")])
    await stored.repeat()
    await stored.append(1, ["d"])
    (other,) = (await stored.part(store, 1)).entries
    assert "ok" == await store.bury(1, LEASE, other.id, LetterHeader("corrupt", 1).dump())
    await stored.repeat()

    state, found = await look(stored.redis, stored.of)
    assert (True, 3, 0) == (state.complete, state.rows, state.gone)
    assert {("too_large", False, 1), ("expired", False, 1), ("corrupt", True, 1)} == {
        (one.kind.reason, one.kind.stuck, one.count) for one in found.values()
    }
    assert part.bodies[1] == (await search(stored.redis, Keys(), "bot", Filter(message_id="b"))).letters[0].payload


async def test_becoming_dead_forgets_the_id(stored: StoredSource) -> None:
    """A dead event's id is free again in the same step, others of its batch stay remembered."""
    await stored.append(0, ["a", "b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.settle(Chunk([(part, [0, 2])]), [letter(part, 1)])
    await stored.append(0, ["a", "b", "c"])
    (again,) = await stored.claimed(store, 0)
    assert [1] == again.todo
    await stored.assert_balanced()


async def test_copies_of_a_dead_event_stay_deduplicated(stored: StoredSource) -> None:
    """A copy that was found while the event was in flight does not come back when the event dies."""
    await stored.append(0, ["a"])
    await stored.append(1, ["a"])
    store = stored.store()
    first, _ = await stored.claimed(store, 0, 1)
    await store.settle(None, [letter(first, 0)])
    assert (2, 0, 0, 0, 1, 1) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


async def test_death_is_forgotten_in_every_generation(stored: StoredSource) -> None:
    """The id leaves whichever live generation holds it."""
    store = stored.store()
    await store.memory.live(store.source.window_s)
    store.memory.count = 64 * MAX_MEAN
    await store.memory.rotate(store.source.window_s)
    assert [2, 1] == [generation.number for generation in store.memory.table.generations]
    hashed = members([b"a"])
    (member,) = hashed.members
    first, second = store.memory.buckets(hashed.spreads)
    await stored.append(0, ["a"])
    (part,) = await stored.claimed(store, 0)
    await stored.redis.sadd(second, member)
    await store.settle(None, [letter(part, 0)])
    assert [0, 0] == [await stored.redis.sismember(bucket, str(member)) for bucket in (first, second)]


async def test_death_leaves_the_count(stored: StoredSource) -> None:
    """A dead event's id no longer counts in the newest generation, if it was there."""
    store = stored.store()
    await stored.append(0, ["a", "b", "c"])
    (part,) = await stored.claimed(store, 0)
    await store.settle(None, [letter(part, 0)])
    await stored.repeat()
    assert b"2" == await stored.redis.hget(stored.of.ids, "count")
    store.memory.count = 64 * MAX_MEAN
    await store.memory.rotate(store.source.window_s)
    await store.settle(None, [letter(part, 1)])
    assert b"0" == await stored.redis.hget(stored.of.ids, "count")


async def test_death_is_forgotten_in_generations_begun_since(stored: StoredSource) -> None:
    """A worker that read the table before another one began a generation forgets a dead event's id in that too."""
    late, busy = stored.store(), stored.store()
    await late.memory.live(late.source.window_s)
    await busy.memory.live(busy.source.window_s)
    busy.memory.count = 64 * MAX_MEAN
    await stored.append(0, ["a"])
    await stored.claimed(busy, 0)
    assert (1, 2) == (len(late.memory.table.generations), len(busy.memory.table.generations))
    resumed = await late.resume(0, LEASE)
    assert resumed is not None
    assert [] == await late.settle(None, [letter(resumed, 0)])
    assert late.memory.table == busy.memory.table
    await stored.append(1, ["a"])
    (copy,) = await stored.claimed(late, 1)
    assert [0] == copy.todo
    await stored.assert_balanced()


async def test_letters_with_a_stale_table_change_nothing(stored: StoredSource) -> None:
    """Letters that come with another table's version are told so before anything is written; an ack needs none."""
    await stored.append(0, ["a", "b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    store.memory.table = Table("0", store.memory.table.generations)
    stale = stored.store()
    stale.memory.table = store.memory.table
    request = {"success": True, "probe": True, "sent_at": await stored.now_ms()}
    keys, args = stale._settle_arguments([part], {}, {part: [letter(part, 1)]}, request)
    before = await stored.dump()
    assert [b"table"] == await script("settle").acall(stored.redis, keys, args)
    assert before == await stored.dump()
    calls = len(stored.calls)
    await store.settle(Chunk([(part, [0])]), ())
    assert ["settle"] == [name for name, _, _ in stored.calls[calls:]]
    assert (2, 0, 1, 1, 0, 0) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


async def test_same_event_cannot_die_twice(stored: StoredSource) -> None:
    """A letter for an event that is delivered or dead already is not written, and its id is not forgotten."""
    await stored.append(0, ["a", "b", "c"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.settle(Chunk([(part, [0])]), [letter(part, 1)])
    await store.settle(None, [letter(part, 0), letter(part, 1)])
    assert 1 == await stored.redis.xlen(stored.of.dead)
    assert (3, 0, 1, 1, 0, 1) == await stored.ledger(*COUNTERS)
    await stored.append(1, ["a"])
    (copy,) = await stored.claimed(store, 1)
    assert [] == copy.todo
    await stored.assert_balanced()


async def test_many_letters_at_once(stored: StoredSource) -> None:
    """Two hundred letters over two parts are one step, in the order given, a part's own in theirs."""
    await stored.append(0, [f"a{n}" for n in range(100)])
    await stored.append(1, [f"b{n}" for n in range(100)])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    await store.settle(None, [letter(part, n) for n in range(100) for part in (second, first)])
    assert (200, 0, 0, 0, 0, 200) == await stored.ledger(*COUNTERS)
    bodies = [fields[b"b"] for _, fields in await stored.entries(stored.of.dead)]
    assert second.bodies + first.bodies == bodies
    assert 0 == sum([await stored.redis.scard(b) for b in await stored.redis.keys(f"{stored.of.ids}:1:*")])
    await stored.assert_balanced()


# -- the probe -----------------------------------------------------------------------------------------------


async def test_accepted_probe_ends_the_park(stored: StoredSource) -> None:
    """A success as probe unparks the source and tells the fleet; any other success does not."""
    await stored.append(0, ["a"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.park("why", 0)
    await store.settle(Chunk([(part, [])]), ())
    assert await stored.redis.hexists(stored.of.flow, "parked")
    async with stored.redis.pubsub() as listener:
        await listener.subscribe(stored.keys.wake)
        await store.settle(whole(part), (), probe=True)
        messages = [await listener.get_message(timeout=1) for _ in range(2)]
    assert b"bot" == (messages[1] or {})["data"]
    assert [None] * 3 == await stored.redis.hmget(stored.of.flow, ["parked", "parked_at", "probe_at"])


async def test_death_is_no_success(stored: StoredSource) -> None:
    """A settlement of dead letters alone neither unparks nor counts as a success of the source."""
    await stored.append(0, ["a"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.park("why", 0)
    await store.settle(None, [letter(part, 0)], probe=True)
    assert [b"why", None] == await stored.redis.hmget(stored.of.flow, ["parked", "last_success"])


# -- unreadable batches --------------------------------------------------------------------------------------

HEADER = LetterHeader(reason="corrupt", partition=0).dump()


async def test_unreadable_batch_dies_whole(stored: StoredSource) -> None:
    """The first entry moves to the dead letters as it is, with its events counted."""
    await stored.append(0, ["a", "b", "c"], ["d"])
    store = stored.store()
    part = await stored.part(store, 0)
    payload = (await stored.entries(stored.of.stream(0)))[0][1][b"b"]
    assert "ok" == await store.bury(0, LEASE, part.entries[0].id, HEADER)
    ((_, fields),) = await stored.entries(stored.of.dead)
    assert {b"h": HEADER, b"b": payload, b"n": b"3"} == fields
    assert (4, 1, 0, 0, 0, 3) == await stored.ledger(*COUNTERS)
    assert (3,) == await stored.ledger("died:corrupt")
    await stored.assert_balanced()


@pytest.mark.parametrize(
    "count", [None, "", "x", "-1", "1.5", "0x10", "1e3", " 1", "9" * 16, "9" * 5000], ids=lambda count: repr(count)[:9]
)
async def test_entry_without_a_count_dies_as_no_events(stored: StoredSource, count: str | None) -> None:
    """What has no proper number of events moves none in the ledger, and is buried all the same."""
    await stored.redis.xadd(stored.of.stream(0), {"b": "junk"} if count is None else {"b": "junk", "n": count})
    await stored.redis.hincrby(stored.of.ledger, "queued_bytes", 4)
    await stored.append(0, ["a"])
    store = stored.store()
    ((first, second),) = await store.read([(0, "", 10)])
    assert (0, 1) == (first.events, second.events)
    assert "ok" == await store.bury(0, LEASE, first.id, HEADER)
    ((_, buried),) = await stored.entries(stored.of.dead)
    assert {b"h": HEADER, b"b": b"junk", b"n": b"0"} == buried
    assert (1, 1, 0, 0, 0, 0) == await stored.ledger(*COUNTERS)
    (part,) = await stored.claimed(store, 0)
    assert [second.id] == [entry.id for entry in part.entries]
    await stored.assert_balanced()


async def test_repeated_burial_changes_nothing(stored: StoredSource) -> None:
    """A burial whose reply was lost may be repeated, with or without anything behind the entry."""
    for _ in range(2):
        await stored.append(0, ["a", "b"])
    store = stored.store()
    for entry in (await stored.part(store, 0)).entries:
        assert "ok" == await store.bury(0, LEASE, entry.id, HEADER)
        before = await stored.dump()
        assert b"ok" == await stored.repeat()
        assert before == await stored.dump()
    await stored.assert_balanced()


async def test_burial_is_refused_where_it_would_harm(stored: StoredSource) -> None:
    """Nothing is buried without the lease, under a record in flight, or from the middle of a stream."""
    await stored.append(0, ["a"], ["b"])
    store = stored.store()
    part = await stored.part(store, 0)
    await store.memory.live(store.source.window_s)
    before = await stored.dump()
    assert "lost" == await store.bury(0, "w1:other", part.entries[0].id, HEADER)
    assert "moved" == await store.bury(0, LEASE, part.entries[1].id, HEADER)
    assert before == await stored.dump()
    await stored.claimed(store, 0, count=1)
    before = await stored.dump()
    assert "record" == await store.bury(0, LEASE, part.entries[0].id, HEADER)
    assert before == await stored.dump()


# -- a full Redis --------------------------------------------------------------------------------------------


async def test_full_redis_still_drains(stored: StoredSource) -> None:
    """At maxmemory nothing is appended, but leases, claims, acks, deaths, holds and parks go on."""
    await stored.append(0, ["a", "b"], ["c"])
    store = stored.store()
    await stored.redis.config_set("maxmemory", "1")
    try:
        (part,) = await stored.claimed(store, 0, count=1)
        await store.attempt(whole(part))
        await store.settle(Chunk([(part, [0])]), [letter(part, 1)])
        assert "ok" == await store.bury(0, LEASE, (await stored.part(store, 0)).entries[0].id, HEADER)
        assert [True] == await store.change_leases([(2, "", "w:1")])
        await store.hold(1)
        assert await store.park("why", 0)
    finally:
        await stored.redis.config_set("maxmemory", "0")
    assert (3, 0, 0, 1, 0, 2) == await stored.ledger(*COUNTERS)
    await stored.assert_balanced()


async def test_a_table_that_can_grow_no_more_stops_no_death(stored: StoredSource) -> None:
    """A string has a greatest length, of 16 million letters; beyond, letters are found by their stream alone."""
    await stored.append(0, ["a"], ["b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0, count=1)
    await store.settle(None, [letter(part, 0)])
    await stored.redis.config_set("proto-max-bulk-len", 1 << 20)
    try:
        await stored.redis.setrange(stored.of.dead_table, (1 << 20) - 4, b"full")
        (part,) = await stored.claimed(store, 0, count=1)
        assert [] == await store.settle(None, [letter(part, 0, "expired")])
        assert not (await look(stored.redis, stored.of))[0].complete
        found = await search(stored.redis, Keys(), "bot", Filter(reason="expired"))
        assert [part.bodies[0]] == [one.payload for one in found.letters]
    finally:
        await stored.redis.config_set("proto-max-bulk-len", 512 << 20)
    await stored.assert_balanced()
