"""The close-up: one source as near as an operator can see it: its charts, its partitions, what Segment answered."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis

from pombo.shared.deadletters import DeadLetter, LetterHeader
from pombo.shared.errors import StoredVersionError
from pombo.shared.history import History, read_history
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.sources import Source

LETTERS: Final = 10
"""Dead letters that are read, the newest ones."""


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition of a source."""

    number: int
    entries: int
    """Record batches in its stream."""
    at: int | None
    """When the first one was accepted, in ms of Redis' clock; None when there is none."""
    owner: str
    """The worker that its lease names; "" for nobody."""
    in_flight: int = 0
    """Events that a worker claimed and has not settled."""
    attempts: int = 0
    """How often these were sent."""


@dataclass(frozen=True, slots=True)
class Closeup:
    """One source's partitions by number, its newest dead letters, the newest first, and its last 15 minutes."""

    source: str
    partitions: Sequence[PartitionView] = ()
    letters: Sequence[DeadLetter] = ()
    history: History | None = None

    def worst(self, live: Set[str]) -> list[PartitionView]:
        """Its partitions, those first whose events nobody holds, then by the age of their first entry."""

        def key(one: PartitionView) -> tuple[bool, float, int]:
            return one.at is None or one.owner in live, one.at or float("inf"), one.number

        return sorted(self.partitions, key=key)


async def read_closeup(redis: Redis, keys: Keys, source: Source) -> Closeup:
    """Read one source in a few round trips: four commands a partition."""
    of = keys.of(source.name)
    partitions = await _partitions(redis, of, source.partitions)
    entries = cast("Sequence[Any]", await redis.xrevrange(of.dead, count=LETTERS) or ())
    history = await read_history(redis, keys, [source], "15m")
    return Closeup(source.name, partitions, [*_letters(source.name, entries)], history)


async def _partitions(redis: Redis, of: SourceKeys, count: int) -> list[PartitionView]:
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(count):
            pipe.xlen(of.stream(number))
            pipe.xrange(of.stream(number), count=1)
            pipe.get(of.lease(number))
            pipe.hmget(of.record(number), "left", "attempts")
        replies = await pipe.execute()
    return [_partition(number, *replies[4 * number : 4 * number + 4]) for number in range(count)]


def _partition(number: int, length: int, first: Sequence[Any], lease: bytes | None, record: Any) -> PartitionView:
    at = int(first[0][0].partition(b"-")[0]) if first else None
    left, attempts = (int(value or 0) for value in record)
    return PartitionView(number, length, at, (lease or b"").partition(b":")[0].decode(), left, attempts)


def _letters(source: str, entries: Sequence[Any]) -> Iterator[DeadLetter]:
    """The letters of these entries that this pombo knows."""
    for entry_id, fields in entries:
        try:
            header = LetterHeader.load(fields.get(b"h", b""))
        except StoredVersionError:
            continue
        yield DeadLetter(source, entry_id.decode(), header, fields.get(b"b", b""), int(fields.get(b"n", 1)))
