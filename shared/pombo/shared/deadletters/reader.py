"""One reading of one source's dead letters by a filter: what its parts share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis

from pombo.shared.deadletters.filter import Filter
from pombo.shared.deadletters.letter import DeadLetter, is_id, letter_of, order
from pombo.shared.deadletters.rebuild import Make, make_now, ready
from pombo.shared.deadletters.table import Table
from pombo.shared.errors import StoredVersionError
from pombo.shared.keys import Keys, SourceKeys

DENSE = 4
"""Of so many letters, one has to be wanted for a whole range to be read instead of each."""

Place = tuple[int, str]
"""Where a letter's row is in the table, and its stream id."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one step of reading found."""

    letters: tuple[DeadLetter, ...]
    """Those that match."""
    unreadable: tuple[str, ...]
    """Stream ids of letters of an unknown version."""
    next: str
    """Where the next step starts: what a job keeps as its checkpoint."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Read letters of one source that a filter means."""

    redis: Any
    of: SourceKeys
    source: str
    wanted: Filter
    make: Make = field(default=make_now)
    """What is done about a table that does not tell all."""

    @classmethod
    def of_source(cls, redis: Redis, keys: Keys, source: str, wanted: Filter, make: Make = make_now) -> "Reader":
        """A reader of the source of that name."""
        return cls(redis, keys.of(source), source, wanted, make)

    async def table(self) -> Table | None:
        """The source's table, if there is one to be had."""
        return await ready(self.redis, self.of, self.source, self.make)

    @property
    def by_table(self) -> "Reader":
        """The same for letters that the table named."""
        return replace(self, wanted=self.wanted.in_group)

    @property
    def ids(self) -> list[str]:
        """Stream ids of the source's letters that the filter selects, ascending."""
        named = (name.rpartition("/") for name in self.wanted.ids or ())
        return sorted({one for of, _, one in named if of == self.source and is_id(one)}, key=order)

    async def range(self, start: str, end: str, count: int) -> list[Any]:
        """Stream entries of a range, the oldest first."""
        return [*await self.redis.xrange(self.of.dead, start, end, count=count)]

    async def reversed(self, end: str, start: str, count: int) -> list[Any]:
        """Stream entries of a range, the newest first."""
        return [*await self.redis.xrevrange(self.of.dead, end, start, count=count)]

    async def fetch(self, places: Sequence[Place]) -> list[Any]:
        """The stream entries of places, ascending; without those that are gone."""
        if not places:
            return []
        (first, first_id), (last, last_id) = places[0], places[-1]
        if last - first < DENSE * len(places):
            wanted = {stream_id.encode() for _, stream_id in places}
            return [entry for entry in await self.range(first_id, last_id, last - first + 1) if entry[0] in wanted]
        return await fetch_each(self.redis, self.of, [stream_id for _, stream_id in places])

    def page(self, entries: Iterable[Any], position: str) -> Page:
        """The page of some stream entries; the next one starts at `position`."""
        letters, unreadable = [], []
        for entry in entries:
            try:
                letters.append(letter_of(self.source, entry))
            except StoredVersionError:
                unreadable.append(entry[0].decode())
        return Page(tuple(filter(self.wanted.matches, letters)), tuple(unreadable), position)


async def fetch_each(redis: Redis, of: SourceKeys, ids: Iterable[str]) -> list[Any]:
    """The stream entries of ids, in their order; without those that are gone."""
    async with redis.pipeline(transaction=False) as pipe:
        for stream_id in ids:
            pipe.xrange(of.dead, stream_id, stream_id)
        return [entry for found in await pipe.execute() for entry in found]
