from redis.asyncio import Redis

from pombo.ops.overview import WorkerView, read_overview, read_source, silent
from pombo.shared.keys import Keys
from pombo.shared.registry import Snapshot
from pombo.shared.sources import Source

SOURCE = Source(name="bot", incarnation="i", partitions=3, rate=0)


async def test_the_oldest_entry_of_any_partition_counts(redis: Redis, keys: Keys) -> None:
    """A source's age is that of the oldest head of its streams, by Redis' clock."""
    of = keys.of("bot")
    await redis.hset(of.ledger, "queued", 3)
    for partition, milliseconds in ((0, 5000), (2, 3000)):
        await redis.xadd(of.stream(partition), {"b": b"x"}, id=f"{milliseconds}-0")
    view = await read_source(redis, keys, SOURCE, now=10_000)
    assert (3000, 7.0, None) == (view.oldest_ms, view.oldest_age_s, view.rate_limit)


async def test_a_source_without_data(redis: Redis, keys: Keys) -> None:
    """A source that holds nothing has no age and is active."""
    view = await read_source(redis, keys, SOURCE, now=10_000)
    assert (None, "active", 0) == (view.oldest_age_s, view.state, view.ledger.queued)


async def test_an_entry_from_the_future_is_not_younger_than_now(redis: Redis, keys: Keys) -> None:
    """After a clock went back an age is 0, never below."""
    await redis.hset(keys.of("bot").ledger, "queued", 1)
    await redis.xadd(keys.of("bot").stream(0), {"b": b"x"}, id="20000-0")
    assert (await read_source(redis, keys, SOURCE, now=10_000)).oldest_age_s == 0


async def test_overview(redis: Redis, keys: Keys) -> None:
    """It has every source, every worker however it describes itself, and the server."""
    await redis.hset(keys.workers, mapping={"w2": b'{"v":1,"pid":7,"beat":3}', "w1": b"what"})
    overview = await read_overview(redis, keys, Snapshot(1, {"bot": SOURCE}, ("future",)))
    assert (["bot"], ("future",)) == ([*overview.sources], overview.unreadable)
    assert [WorkerView("w1"), WorkerView("w2", pid=7, beat=3)] == [*overview.workers]
    assert overview.redis.persistence == "none"
    assert overview.redis.used_memory > 0
    assert {"sources", "workers", "redis"} == set(overview.describe())


def test_silence_is_a_beat_that_did_not_move() -> None:
    """A worker that is new at the second look, or whose beat moved, is not silent."""
    before = [WorkerView("a", beat=1), WorkerView("b", beat=1), WorkerView("gone", beat=1)]
    after = [WorkerView("a", beat=1), WorkerView("b", beat=2), WorkerView("new", beat=1)]
    assert {"a"} == silent(before, after)


async def test_each_source_has_its_own_heads(redis: Redis, keys: Keys) -> None:
    """Of many sources read together, those that hold events get their own partitions' heads, the others none."""
    sources = {f"s{number:03}": Source(name=f"s{number:03}", incarnation="i", partitions=2) for number in range(120)}
    for number in (0, 7, 119):
        of = keys.of(f"s{number:03}")
        await redis.hset(of.ledger, "queued", 1)
        await redis.xadd(of.stream(1), {"b": b"x"}, id=f"{1000 + number}-0")
        await redis.set(of.lease(1), f"worker-{number}:1")
    overview = await read_overview(redis, keys, Snapshot(1, sources, ()))
    found = {name: [(head.at, head.owner) for head in view.heads] for name, view in overview.sources.items()}
    assert [*sources] == [*found]
    held = {"s000": [(1000, "worker-0")], "s007": [(1007, "worker-7")], "s119": [(1119, "worker-119")]}
    assert held == {name: heads for name, heads in found.items() if heads}
