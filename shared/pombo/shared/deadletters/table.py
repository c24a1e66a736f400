"""The table of one source's dead letters, as its readers see it.

The letters' stream is the truth, and it can only be read in its order. Beside it the scripts keep a table of rows and
a hash of groups (`lua/lettertable.lua`), by which letters are found and counted without looking at each. The table is
used only while it tells all: it has as many live rows as there are letters, and a row for each that ever came since
it was begun. A pombo without a table, or a Redis that lost a part, makes it fall short; then it is made anew
(`rebuild.py`), and until then readers go by the stream.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from pombo.shared.deadletters.filter import Filter
from pombo.shared.deadletters.kind import UNREADABLE, Kind
from pombo.shared.deadletters.letter import order
from pombo.shared.deadletters.rows import SIZE, Rows, Wanted, hash_of
from pombo.shared.keys import SourceKeys
from pombo.shared.scripts import paired, script

VERSION = "1"
CHUNK = 32_768
"""Rows read at a time: a megabyte, a millisecond or two of the server."""


class TableMovedError(Exception):
    """Another table is in the place of the one that was looked at; never leaves this package."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A group as the table keeps it."""

    kind: Kind
    count: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class State:
    """How a table stands beside its stream: the reply of `tablestate.lua`."""

    letters: int = 0
    """In the stream."""
    added: int = 0
    """Entries that were ever added to it."""
    stored: int = 0
    """Rows by the length of the table."""
    rows: int = 0
    gone: int = 0
    """Of these, rows of letters that have left."""
    rows_added: int = 0
    """What `added` was when the last row came."""
    version: str = ""
    """Empty without a table."""
    name: bytes = b""

    @classmethod
    def parse(cls, reply: list[Any]) -> "State":
        """Read the reply."""
        letters, added, stored, rows, gone, rows_added, version, name = reply
        return cls(letters, added, stored, rows, gone, rows_added, version.decode("utf-8", "replace"), name)

    @property
    def complete(self) -> bool:
        """Whether the table tells all, so that it may stand for the stream."""
        if not self.letters and not self.version:
            return True
        whole = self.stored == self.rows and self.rows - self.gone == self.letters
        return self.version == VERSION and whole and self.rows_added == self.added

    @property
    def known(self) -> bool:
        """Whether it may be made anew: what a newer pombo keeps is left alone."""
        return self.version in {"", VERSION}


class Table:
    """A table that was complete when it was looked at."""

    def __init__(self, redis: Redis, of: SourceKeys, state: State, groups: dict[int, Stored]) -> None:
        self._redis = redis
        self._of = of
        self.state = state
        self.groups = groups

    def narrowed(self, wanted: Filter) -> tuple[Wanted, frozenset[int]]:
        """What rows of letters that match are like; and the groups of which only some letters match, perhaps.

        For these, and wherever a hash is compared, the letter itself has to be looked at.
        """
        unsure, chosen = set(), set()
        for number, stored in self.groups.items():
            kind = stored.kind
            if kind.reason == UNREADABLE.reason:
                continue
            fits = wanted.reason in {None, kind.reason} and wanted.group in {None, kind.fingerprint}
            known = None if wanted.event is None else kind.may_be(wanted.event)
            if fits and known is not False:
                chosen.add(number)
                if wanted.event is not None and known is None:
                    unsure.add(number)
        always = next((n for n, stored in self.groups.items() if stored.kind.reason == UNREADABLE.reason), None)
        user = None if wanted.user is None else hash_of(wanted.user)
        message = None if wanted.message_id is None else hash_of(wanted.message_id)
        return Wanted(frozenset(chosen), user, message, always), frozenset(unsure)

    async def rows(self, first: int, count: int) -> Rows:
        """Rows from the place `first` on (from 0), fewer than `count` at the end.

        Raises:
            TableMovedError: it is not this table any more.
        """
        start = SIZE * (first + 1)
        async with self._redis.pipeline(transaction=False) as pipe:
            # The name comes last: a table that was put in this one's place before that is noticed.
            pipe.getrange(self._of.dead_table, start, start + SIZE * count - 1)
            pipe.getrange(self._of.dead_table, 0, SIZE - 1)
            raw, name = await pipe.execute()
        if name != self.state.name:
            raise TableMovedError
        return Rows(raw)

    async def place(self, stream_id: str) -> int:
        """The place of the first row whose letter has this id or a later one; behind the last if there is none.

        Raises:
            TableMovedError: it is not this table any more.
        """
        low, high, wanted = 0, self.state.stored, order(stream_id)
        while low < high:
            middle = (low + high) // 2
            rows = await self.rows(middle, 1)
            if len(rows) and order(rows.id(0)) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    async def span(self, start: str, end: str) -> tuple[int, int]:
        """The places from which, and before which, rows lie in a range of stream ids as XRANGE takes it."""
        first = 0 if start == "-" else await self.place(_following(start) if start.startswith("(") else start)
        if end == "+":
            return first, self.state.stored
        return first, await self.place(end.removeprefix("(") if end.startswith("(") else _following(end))

    async def forwards(self, wanted: Wanted, first: int, last: int) -> AsyncIterator[tuple[int, str]]:
        """Places and ids of the wanted rows between two places, the oldest first."""
        async for start, rows in self.runs(first, last):
            for place in rows.wanted(wanted):
                yield start + place, rows.id(place)

    async def runs(self, first: int, last: int) -> AsyncIterator[tuple[int, Rows]]:
        """The rows between two places, in runs that start at a place; runs of rows that are gone are not left out."""
        while first < last:
            rows = await self.rows(first, min(CHUNK, last - first))
            if not len(rows):
                return
            yield first, rows
            first += len(rows)

    async def backwards(self, wanted: Wanted, first: int, last: int) -> AsyncIterator[tuple[int, str]]:
        """Places and ids of the wanted rows between two places, the newest first."""
        while last > first:
            start = max(first, last - CHUNK)
            rows = await self.rows(start, last - start)
            for place in reversed(rows.wanted(wanted)):
                yield start + place, rows.id(place)
            last = start


async def look(redis: Redis, of: SourceKeys) -> tuple[State, dict[int, Stored]]:
    """Read how the table stands, and its groups by number."""
    state, told = await script("dead_look").acall(redis, [of.dead, of.dead_table, of.dead_groups], [])
    seen = State.parse(state)
    return seen, _groups(paired(told)) if seen.version == VERSION else {}


def _groups(told: dict[bytes, bytes]) -> dict[int, Stored]:
    found = {}
    for name, value in told.items():
        if name.startswith(b"d:"):
            number = name[2:]
            count, first, last = (int(told.get(key + number, 0)) for key in (b"c:", b"s:", b"l:"))
            found[int(number)] = Stored(Kind.parse(value), count, first, last)
    return found


def _following(stream_id: str) -> str:
    milliseconds, sequence = order(stream_id)
    return f"{milliseconds}-{sequence + 1}"
