"""Leases, beats and the table of generations, straight against the server."""

from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.worker.idempotency import Generation, Table
from support.stored import StoredSource


async def run(redis: Redis, name: str, keys: list[str], *args: Any) -> Any:
    return await script(name).acall(redis, keys, args)


# -- leases --------------------------------------------------------------------------------------------------


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return StoredSource(redis)


async def test_free_lease_is_acquired(stored: StoredSource) -> None:
    """Who expects nobody and finds nobody holds the lease."""
    store = stored.store()
    assert [True, True] == await store.change_leases([(0, "", "a:1"), (1, "", "a:2")])
    assert ["a:1", "a:2", ""] == await store.leases([0, 1, 2])


async def test_held_lease_is_not_acquired(stored: StoredSource) -> None:
    """Who expects something else than what is there changes nothing."""
    store = stored.store()
    await store.change_leases([(0, "", "a:1"), (1, "", "a:2")])
    assert [False, False, True] == await store.change_leases([(0, "", "b:1"), (1, "a:1", "b:2"), (2, "", "b:3")])
    assert ["a:1", "a:2", "b:3"] == await store.leases([0, 1, 2])


async def test_lease_is_taken_over(stored: StoredSource) -> None:
    """A takeover names the value it saw; of two who try, one succeeds."""
    store = stored.store()
    await store.change_leases([(0, "", "dead:1")])
    assert [True] == await store.change_leases([(0, "dead:1", "a:1")])
    assert [False] == await store.change_leases([(0, "dead:1", "b:1")])
    assert ["a:1"] == await store.leases([0])


async def test_lease_is_handed_back(stored: StoredSource) -> None:
    """A lease handed back is gone; somebody else's is not handed back."""
    store = stored.store()
    await store.change_leases([(0, "", "a:1"), (1, "", "b:1")])
    assert [True, False] == await store.change_leases([(0, "a:1", ""), (1, "a:1", "")])
    assert ["", "b:1"] == await store.leases([0, 1])
    assert not await stored.redis.exists(stored.of.lease(0))


@pytest.mark.parametrize(("expected", "new"), [("", "a:1"), ("b:1", "a:1"), ("b:1", "")])
async def test_repeated_change_of_a_lease_answers_the_same(stored: StoredSource, expected: str, new: str) -> None:
    """A change whose reply was lost is repeated with the same answer, and changes nothing more."""
    if expected:
        await stored.redis.set(stored.of.lease(0), expected)
    assert [True] == await stored.store().change_leases([(0, expected, new)])
    before = await stored.dump()
    assert [new.encode()] == await stored.repeat()
    assert before == await stored.dump()


async def test_own_token_is_not_another_one(stored: StoredSource) -> None:
    """The same worker with a new token has to take over like everybody else."""
    store = stored.store()
    await store.change_leases([(0, "", "a:1")])
    assert [False] == await store.change_leases([(0, "", "a:2")])


# -- beats ---------------------------------------------------------------------------------------------------

FLEET = [Keys().workers, Keys().active, Keys().epoch, Keys().losses, Keys().watched]


async def beat(redis: Redis, worker: str, number: int, *, last: int = 0, epoch: Any = "", sure: bool = True) -> Any:
    """Beat for the `number`th time; what was answered last is as given."""
    return await run(redis, "beat", FLEET, worker, f'{{"v":1,"beat":{number}}}', number, last, epoch, int(sure))


async def test_beat_shows_the_fleet(redis: Redis) -> None:
    """A beat writes the worker down and reads all workers, all active partitions and the time."""
    await run(redis, "announce", [FLEET[1]], "bot/0", "bot/1")
    await run(redis, "beat", FLEET, "a", "first", 1, 0, "", 1)
    now, workers, active, *_ = await run(redis, "beat", FLEET, "b", "second", 1, 0, "", 1)
    assert {b"a": b"first", b"b": b"second"} == dict(zip(workers[::2], workers[1::2], strict=True))
    assert [b"bot/0", b"bot/1"] == active[::2]
    assert all(abs(now - int(score)) <= 1 for score in active[1::2])


async def test_repeated_beat_changes_nothing(redis: Redis) -> None:
    """A beat whose reply was lost may be repeated."""
    first = await run(redis, "beat", FLEET, "a", "1", 1, 0, "", 1)
    assert first[1:] == (await run(redis, "beat", FLEET, "a", "1", 1, 0, "", 1))[1:]


async def test_a_beat_says_when_it_moved(redis: Redis) -> None:
    """Redis notes the second in which a counter moves, whatever the worker says; a repeated counter keeps it."""
    now, *_ = await run(redis, "beat", FLEET, "a", '{"beat":1,"at":0}', 1, 0, "", 1)
    stored: Any = await redis.hget(FLEET[0], "a")
    assert now == orjson.loads(stored)["at"]
    await redis.hset(FLEET[0], "a", b'{"beat":1,"at":7}')
    await run(redis, "beat", FLEET, "a", '{"beat":1,"at":0}', 1, 0, "", 1)
    assert b'{"beat":1,"at":7}' == await redis.hget(FLEET[0], "a")
    now, *_ = await run(redis, "beat", FLEET, "a", '{"beat":2,"at":0}', 2, 1, "", 1)
    assert f'{{"beat":2,"at":{now}}}'.encode() == await redis.hget(FLEET[0], "a")


async def test_goodbye_takes_a_worker_off(redis: Redis) -> None:
    """A worker that leaves is gone at once, and may leave twice."""
    await run(redis, "beat", FLEET, "a", "1", 1, 0, "", 1)
    await run(redis, "beat", FLEET, "b", "1", 1, 0, "", 1)
    for _ in range(2):
        assert [b"b", b"1"] == (await run(redis, "beat", FLEET, "a", ""))[1]


async def answered(redis: Redis, worker: str, number: int, **last: Any) -> tuple[Any, str]:
    """What a beat says of Redis: its epoch, and what it lost."""
    *_, epoch, loss, _ = await beat(redis, worker, number, **last)
    return epoch, loss.decode()


async def losses(redis: Redis) -> list[tuple[str, str]]:
    found: Any = await redis.xrange(FLEET[3])
    return [(fields[b"kind"].decode(), fields[b"worker"].decode()) for _, fields in found]


async def test_beats_of_a_whole_redis(redis: Redis) -> None:
    """While Redis keeps what it has, all beats are of one epoch, and nothing is noted."""
    epoch, loss = await answered(redis, "a", 1)
    assert (epoch, "") == await answered(redis, "b", 1)
    assert (epoch, "") == await answered(redis, "a", 2, last=1, epoch=epoch)
    assert ("", []) == (loss, await losses(redis))


async def test_an_emptied_redis_is_noted_by_each_worker(redis: Redis) -> None:
    """A flush is seen by each worker's next beat, however long ago its last one was; then a new epoch is in force."""
    epoch, _ = await answered(redis, "a", 1)
    await answered(redis, "b", 1)
    await redis.flushall()
    fresh, loss = await answered(redis, "a", 2, last=1, epoch=epoch, sure=False)
    assert ("emptied", True) == (loss, fresh != epoch)
    assert (fresh, "emptied") == await answered(redis, "b", 2, last=1, epoch=epoch)
    assert (fresh, "") == await answered(redis, "a", 3, last=2, epoch=fresh)
    assert [("emptied", "a"), ("emptied", "b")] == await losses(redis)


async def test_an_older_state_is_noted(redis: Redis) -> None:
    """A beat that was answered and is gone again tells of an older state of Redis."""
    epoch, _ = await answered(redis, "a", 1)
    older: Any = await redis.hgetall(FLEET[0])
    await answered(redis, "a", 2, last=1, epoch=epoch)
    await redis.hset(FLEET[0], mapping=older)
    assert (epoch, "older") == await answered(redis, "a", 3, last=2, epoch=epoch, sure=False)
    assert [("older", "a")] == await losses(redis)


@pytest.mark.parametrize(("sure", "loss"), [(True, "older"), (False, "")])
async def test_who_was_silent_for_long_may_have_been_forgotten(redis: Redis, sure: bool, loss: str) -> None:
    """A missing description is a loss only where nobody else can have taken it away."""
    epoch, _ = await answered(redis, "a", 1)
    await redis.hdel(FLEET[0], "a")
    assert (epoch, loss) == await answered(redis, "a", 2, last=1, epoch=epoch, sure=sure)


async def test_a_loss_is_noted_once_by_a_worker(redis: Redis) -> None:
    """A beat whose answer stayed out has noted the loss; the next one, that knows no better, does not."""
    epoch, _ = await answered(redis, "a", 1)
    await redis.flushall()
    await answered(redis, "a", 2, last=1, epoch=epoch)
    _, loss = await answered(redis, "a", 3, last=1, epoch=epoch)
    assert ("", [("emptied", "a")]) == (loss, await losses(redis))


async def test_a_late_beat_is_no_older_state(redis: Redis) -> None:
    """A beat that comes behind its successor changes nothing, so nobody takes it for an older state."""
    epoch, _ = await answered(redis, "a", 1)
    await answered(redis, "a", 3, last=1, epoch=epoch)
    await answered(redis, "a", 2, last=1, epoch=epoch)
    assert (epoch, "") == await answered(redis, "a", 4, last=3, epoch=epoch)
    assert [] == await losses(redis)


async def test_announcements_never_go_back(redis: Redis) -> None:
    """A partition keeps the latest time at which it had news."""
    await redis.zadd(FLEET[1], {"bot/0": 9_999_999_999})
    await run(redis, "announce", [FLEET[1]], "bot/0")
    assert 9_999_999_999 == await redis.zscore(FLEET[1], "bot/0")


async def test_prune_forgets_what_has_not_moved(redis: Redis) -> None:
    """Workers and partitions go if they are still as they were seen."""
    for worker in "abc":
        await run(redis, "beat", FLEET, worker, f"{worker}1", 1, 0, "", 1)
    await redis.zadd(FLEET[1], {"bot/0": 100, "bot/1": 100, "bot/2": 100})
    await run(redis, "beat", FLEET, "b", "b2", 1, 0, "", 1)
    await redis.zadd(FLEET[1], {"bot/1": 101})
    arguments = [2, "a", "a1", "b", "b1", "bot/0", "100", "bot/1", "100"]
    assert 2 == await run(redis, "prune", FLEET, *arguments)
    assert [b"b", b"c"] == sorted(await redis.hkeys(FLEET[0]))
    assert [b"bot/2", b"bot/1"] == await redis.zrange(FLEET[1], 0, -1)
    assert 0 == await run(redis, "prune", FLEET, *arguments)


@pytest.mark.parametrize("arguments", [[0], [1, "a", "1"], [0, "bot/0", "100"], [1, "no", "x", "bot/no", "1"]])
async def test_prune_takes_any_mix(redis: Redis, arguments: list[Any]) -> None:
    """Workers alone, partitions alone, nothing, or what was never there: each is fine."""
    await run(redis, "beat", FLEET, "a", "1", 1, 0, "", 1)
    await redis.zadd(FLEET[1], {"bot/0": 100})
    expected = {"a", "bot/0"} & {str(argument) for argument in arguments}
    assert len(expected) == await run(redis, "prune", FLEET, *arguments)


# -- generations ---------------------------------------------------------------------------------------------


async def rotate(redis: Redis, expected: str, table: Table, *, fresh: bool = True) -> Table:
    stored = await run(redis, "rotate_ids", ["ids"], expected, table.version, table.dump(), "1" if fresh else "0")
    return Table.load(stored[0], stored[1])


FIRST = Table("1", (Generation(1, 64, 1000),))
SECOND = Table("2", (Generation(2, 128, 2000), Generation(1, 64, 1000, 2000)))
OTHER = Table("2", (Generation(2, 4096, 2001), Generation(1, 64, 1000, 2001)))


async def test_one_of_two_rotations_wins(redis: Redis) -> None:
    """Of two workers that begin a generation at once one does, and both learn the same table."""
    assert FIRST == await rotate(redis, "", FIRST)
    assert SECOND == await rotate(redis, "1", SECOND)
    assert SECOND == await rotate(redis, "1", OTHER)
    assert SECOND == await rotate(redis, "", FIRST)


async def test_new_generation_counts_from_nothing(redis: Redis) -> None:
    """The count belongs to the newest generation, and a repeat does not reset it again."""
    await rotate(redis, "", FIRST)
    await redis.hincrby("ids", "count", 500)
    await rotate(redis, "1", SECOND)
    assert b"0" == await redis.hget("ids", "count")
    await redis.hincrby("ids", "count", 70)
    await rotate(redis, "1", SECOND)
    assert b"70" == await redis.hget("ids", "count")


async def test_table_may_change_within_a_generation(redis: Redis) -> None:
    """Without a new generation the count goes on."""
    await rotate(redis, "", FIRST)
    await redis.hincrby("ids", "count", 500)
    await rotate(redis, "1", SECOND, fresh=False)
    assert b"500" == await redis.hget("ids", "count")


async def test_workers_agree_on_the_first_generation(stored: StoredSource) -> None:
    """Stores that start together use one table."""
    await stored.set_up()
    stores = [stored.store() for _ in range(3)]
    tables = [await store.memory.live(store.source.window_s) for store in stores]
    assert [tables[0]] * 3 == tables
    assert "1" == tables[0].version
