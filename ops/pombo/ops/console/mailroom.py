"""The mailroom: dead letters of several sources, read as if they were one list."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from pombo.shared.deadletters import (
    Counts,
    DeadLetter,
    Filter,
    Group,
    Make,
    Making,
    count,
    groups_at_hand,
    make_now,
    making,
    search,
)
from pombo.shared.keys import Keys

FEWEST: Final = 4
"""Letters read of one source at a time, at least."""
ALONGSIDE: Final = 8
"""Sources looked into at the same time."""
LOOKED_AT: Final = 10_000
"""Letters of all sources that a page looks at, at most, where a table is still to be made: half a second."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A page of letters."""

    letters: Sequence[DeadLetter]
    """The newest first."""
    next: str | None
    """The last one's id, behind which the next page begins; None when there is none."""
    cut: bool = False
    """Whether `next` is only the last that was looked at: a source's table is not made yet."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The groups of some sources' letters."""

    groups: Sequence[Group]
    """The largest first."""
    making: Sequence[Making]
    """The sources of which nobody can tell yet, as their tables are being made."""


class _End(str):
    """The id of the last letter that was looked at, and not the last there is."""

    __slots__ = ()


class Mailroom:
    """Read the dead letters of an installation.

    Args:
        redis: a client.
        keys: the key catalogue.
        sources: the names of all sources.
        make: what is done about a source's table that does not tell all.
        looked_at: letters of all sources that a page looks at, at most, where a table is still to be made.
    """

    def __init__(
        self, redis: Redis, keys: Keys, sources: Sequence[str], make: Make = make_now, *, looked_at: int = LOOKED_AT
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._sources = sources
        self._make = make
        self._looked_at = looked_at

    async def held(self) -> dict[str, int]:
        """How many letters each source has; without those that have none."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in self._sources:
                pipe.xlen(self._keys.of(name).dead)
            lengths = await pipe.execute()
        return {name: length for name, length in zip(self._sources, lengths, strict=True) if length}

    async def newest(self, sources: Sequence[str], wanted: Filter, before: str | None, most: int) -> Mail:
        """The newest letters that match, behind the one of id `before` (`source/ms-seq`).

        Sources are merged by the time of death; of each only what the page needs is read. Where one could not be read
        to its end, the page ends there.
        """
        step = max(FEWEST, 2 * (most + 1) // max(1, len(sources)))
        looked_at = max(1, self._looked_at // max(1, len(sources)))
        ways = [self._way(name, wanted, before, min(step, most + 1), looked_at) for name in sources]
        found: list[DeadLetter] = []
        end: _End | None = None
        first = await asyncio.gather(*(anext(way, None) for way in ways))
        heads = [(letter, way) for letter, way in zip(first, ways, strict=True) if letter is not None]
        while heads and len(found) <= most:
            at = max(range(len(heads)), key=lambda one: _place(_id(heads[one][0])))
            letter, way = heads[at]
            if isinstance(letter, _End):
                end = letter
                break
            found.append(letter)
            following = await anext(way, None)
            heads[at : at + 1] = [] if following is None else [(following, way)]
        for way in ways:
            await way.aclose()
        if len(found) > most:
            return Mail(found[:most], found[most - 1].id)
        return Mail(found, end, cut=end is not None)

    async def _way(
        self, source: str, wanted: Filter, before: str | None, step: int, looked_at: int
    ) -> "AsyncGenerator[DeadLetter | _End]":
        cursor = None if before is None else _cursor(source, before)
        while True:
            page = await search(
                self._redis, self._keys, source, wanted, before=cursor, count=step, make=self._make, most=looked_at
            )
            for letter in page.letters:
                yield letter
            if page.cut:
                yield _End(f"{source}/{page.next}")
            if page.next is None or page.cut:
                return
            cursor = page.next

    async def count(self, sources: Sequence[str], wanted: Filter, now: datetime) -> Mapping[str, Counts]:
        """How many match at that moment, by source; without sources of which none does.

        Where a table is still to be made it takes long: ask `making` first.
        """
        turns = asyncio.Semaphore(ALONGSIDE)

        async def one(name: str) -> Counts:
            async with turns:
                return await count(self._redis, self._keys, name, wanted, now=now, make=self._make)

        found = await asyncio.gather(*map(one, sources))
        return {name: counts for name, counts in zip(sources, found, strict=True) if counts.letters}

    async def making(self, sources: Sequence[str]) -> Sequence[Making]:
        """Those of the sources whose tables are still to be made, which is begun."""
        return (await self.survey(sources, Filter())).making

    async def survey(self, sources: Sequence[str], wanted: Filter) -> Survey:
        """The groups of letters of these sources, by the filter's reason and event."""
        turns = asyncio.Semaphore(ALONGSIDE)

        async def one(name: str) -> list[Group] | Making | None:
            async with turns:
                found = await groups_at_hand(self._redis, self._keys, name, make=self._make)
                return await making(self._redis, self._keys, name) if found is None else found

        told = await asyncio.gather(*map(one, sources))
        fitting = [
            group for some in told if isinstance(some, list) for group in some
            if wanted.reason in {None, group.reason} and (wanted.event in {None, group.event} or group.other)
        ]  # fmt: skip
        fitting.sort(key=lambda group: (-group.count, group.source, group.fingerprint))
        return Survey(fitting, [one for one in told if isinstance(one, Making)])


def _id(one: DeadLetter | _End) -> str:
    return one if isinstance(one, _End) else one.id


def _place(letter_id: str) -> tuple[int, int, str]:
    """Where a letter is in the merged list; the newest is the greatest."""
    source, _, stream_id = letter_id.rpartition("/")
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence), source


def _cursor(source: str, before: str) -> str:
    """The stream id before which this source's letters come behind the letter `before`, be it of another source."""
    milliseconds, sequence, of = _place(before)
    return f"{milliseconds}-{sequence + 1}" if source < of else f"{milliseconds}-{sequence}"
