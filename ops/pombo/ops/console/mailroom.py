"""The mailroom: dead letters of several sources, read as if they were one list."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from redis.asyncio import Redis

from pombo.shared.deadletters import Counts, DeadLetter, Filter, Group, count, groups, search
from pombo.shared.keys import Keys

FEWEST: Final = 4
"""Letters read of one source at a time, at least."""
ALONGSIDE: Final = 8
"""Sources looked into at the same time."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A page of letters."""

    letters: Sequence[DeadLetter]
    """The newest first."""
    next: str | None
    """The last one's id, behind which the next page begins; None when there is none."""


class Mailroom:
    """Read the dead letters of an installation.

    Args:
        redis: a client.
        keys: the key catalogue.
        sources: the names of all sources.
    """

    def __init__(self, redis: Redis, keys: Keys, sources: Sequence[str]) -> None:
        self._redis = redis
        self._keys = keys
        self._sources = sources

    async def held(self) -> dict[str, int]:
        """How many letters each source has; without those that have none."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in self._sources:
                pipe.xlen(self._keys.of(name).dead)
            lengths = await pipe.execute()
        return {name: length for name, length in zip(self._sources, lengths, strict=True) if length}

    async def newest(self, sources: Sequence[str], wanted: Filter, before: str | None, most: int) -> Mail:
        """The newest letters that match, behind the one of id `before` (`source/ms-seq`).

        Sources are merged by the time of death; of each only what the page needs is read.
        """
        step = max(FEWEST, 2 * (most + 1) // max(1, len(sources)))
        ways = [self._way(name, wanted, before, min(step, most + 1)) for name in sources]
        found: list[DeadLetter] = []
        first = await asyncio.gather(*(anext(way, None) for way in ways))
        heads = [(letter, way) for letter, way in zip(first, ways, strict=True) if letter is not None]
        while heads and len(found) <= most:
            at = max(range(len(heads)), key=lambda one: _place(heads[one][0].id))
            letter, way = heads[at]
            found.append(letter)
            following = await anext(way, None)
            heads[at : at + 1] = [] if following is None else [(following, way)]
        for way in ways:
            await way.aclose()
        return Mail(found[:most], found[most - 1].id if len(found) > most else None)

    async def _way(self, source: str, wanted: Filter, before: str | None, step: int) -> "AsyncGenerator[DeadLetter]":
        cursor = None if before is None else _cursor(source, before)
        while True:
            page = await search(self._redis, self._keys, source, wanted, before=cursor, count=step)
            for letter in page.letters:
                yield letter
            if page.next is None:
                return
            cursor = page.next

    async def count(self, sources: Sequence[str], wanted: Filter, now: datetime) -> Mapping[str, Counts]:
        """How many match at that moment, by source; without sources of which none does."""
        turns = asyncio.Semaphore(ALONGSIDE)

        async def one(name: str) -> Counts:
            async with turns:
                return await count(self._redis, self._keys, name, wanted, now=now)

        found = await asyncio.gather(*map(one, sources))
        return {name: counts for name, counts in zip(sources, found, strict=True) if counts.letters}

    async def groups(self, sources: Sequence[str], wanted: Filter) -> list[Group]:
        """The groups of letters of these sources, the largest first, by the filter's reason and event."""
        turns = asyncio.Semaphore(ALONGSIDE)

        async def one(name: str) -> list[Group]:
            async with turns:
                return await groups(self._redis, self._keys, name)

        found = [group for some in await asyncio.gather(*map(one, sources)) for group in some]
        fitting = [
            group for group in found
            if wanted.reason in {None, group.reason} and (wanted.event in {None, group.event} or group.other)
        ]  # fmt: skip
        return sorted(fitting, key=lambda group: (-group.count, group.source, group.fingerprint))


def _place(letter_id: str) -> tuple[int, int, str]:
    """Where a letter is in the merged list; the newest is the greatest."""
    source, _, stream_id = letter_id.rpartition("/")
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence), source


def _cursor(source: str, before: str) -> str:
    """The stream id before which this source's letters come behind the letter `before`, be it of another source."""
    milliseconds, sequence, of = _place(before)
    return f"{milliseconds}-{sequence + 1}" if source < of else f"{milliseconds}-{sequence}"
