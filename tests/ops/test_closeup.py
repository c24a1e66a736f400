from redis.asyncio import Redis

from pombo.ops.closeup import LETTERS, Closeup, PartitionView, read_closeup
from pombo.shared.deadletters import LetterHeader
from pombo.shared.keys import Keys
from pombo.shared.sources import Source

SOURCE = Source(name="bot", incarnation="i", partitions=3)


async def test_partitions_with_their_owners(redis: Redis, keys: Keys) -> None:
    """Each partition has its entries, the age of the first, its owner, and what is in flight; an empty one too."""
    of = keys.of("bot")
    await redis.xadd(of.stream(1), {"b": b"x"}, id="5000-0")
    await redis.xadd(of.stream(1), {"b": b"x"}, id="6000-0")
    await redis.set(of.lease(1), "w1:token")
    await redis.set(of.lease(2), "w2:token")
    await redis.hset(of.record(1), mapping={"left": 40, "attempts": 3})
    found = await read_closeup(redis, keys, SOURCE)
    assert ("bot", [
        PartitionView(0, 0, None, ""), PartitionView(1, 2, 5000, "w1", 40, 3), PartitionView(2, 0, None, "w2"),
    ]) == (found.source, [*found.partitions])  # fmt: skip


async def test_the_newest_letters(redis: Redis, keys: Keys) -> None:
    """Of many dead letters the last ones, the newest first; one of an unknown version is left out."""
    of = keys.of("bot")
    for number in range(LETTERS + 5):
        header = LetterHeader("poison", 0, status=500 + number).dump()
        await redis.xadd(of.dead, {"h": header, "b": b'{"messageId":"m"}', "n": 1})
    await redis.xadd(of.dead, {"h": b'{"v":9}', "b": b"x"})
    found = await read_closeup(redis, keys, SOURCE)
    assert [500 + n for n in range(LETTERS + 4, 5, -1)] == [letter.header.status for letter in found.letters]


def test_the_worst_partition_comes_first() -> None:
    """First those whose events nobody who lives holds, then by age; the empty ones last."""
    made = [PartitionView(0, 0, None, "gone"), PartitionView(1, 1, 900, "w1"), PartitionView(2, 1, 500, "w1"),
            PartitionView(3, 1, 950, "gone")]  # fmt: skip
    assert [3, 2, 1, 0] == [one.number for one in Closeup("bot", made).worst({"w1"})]
