"""Searching dead letters, newest first, and counting them, by the source's table."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from redis.asyncio import Redis

from pombo.shared.deadletters.filter import Filter
from pombo.shared.deadletters.letter import WINDOW, DeadLetter, order
from pombo.shared.deadletters.pages import PAGE, pages
from pombo.shared.deadletters.reader import Place, Reader, fetch_each
from pombo.shared.deadletters.rebuild import Make, make_now
from pombo.shared.deadletters.rows import Rows, Wanted
from pombo.shared.deadletters.table import Table, TableMovedError
from pombo.shared.keys import Keys

TRIES = 5
"""Of one call, when the table is made anew meanwhile; after that the stream is read."""


@dataclass(frozen=True, slots=True)
class Found:
    """Some letters that match, newest first."""

    letters: tuple[DeadLetter, ...]
    next: str | None
    """The cursor of the older ones that match; None when there are none."""
    cut: bool = False
    """Whether nobody looked at the older ones: `most` letters were looked at, and `next` is the last of them."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many letters match."""

    letters: int = 0
    redrivable: int = 0
    stuck: int = 0
    """Those that hold no event which could be sent again as it is."""
    older: int = 0
    """Of the redrivable, those accepted longer ago than Segment remembers their messageIds (`WINDOW`)."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.letters + other.letters, self.redrivable + other.redrivable, self.stuck + other.stuck,
            self.older + other.older,
        )  # fmt: skip


async def search(
    redis: Redis, keys: Keys, source: str, wanted: Filter, *, before: str | None = None, count: int = 50,
    make: Make = make_now, most: int | None = None,
) -> Found:  # fmt: skip
    """Find the newest `count` letters that match and died before the letter of stream id `before`.

    Letters of another version of pombo are passed over. It reads at most a few hundred letters at a time, and a
    megabyte of the table. `make` is what is done about a table that does not tell all; where there is none, no more
    than `most` letters are looked at.
    """
    found: list[DeadLetter] = []
    reader = Reader.of_source(redis, keys, source, wanted, make)
    try:
        async for letter in _newest(reader, _earlier(wanted.end, before), count + 1, most):
            found.append(letter)
            if len(found) > count:
                return Found(tuple(found[:count]), found[count - 1].stream_id if count else before)
    except _TiredError as tired:
        return Found(tuple(found), tired.at, cut=True)
    return Found(tuple(found), None)


async def count(
    redis: Redis, keys: Keys, source: str, wanted: Filter, *, now: datetime | None = None, make: Make = make_now
) -> Counts:
    """Count the letters of a source that match.

    By group, reason, event and time the table alone tells; by user, messageId or selection each letter that it names
    is read. `now` is the moment that `older` goes by: this machine's without.
    """
    cutoff = int(((now or datetime.now(UTC)) - WINDOW).timestamp())
    reader = Reader.of_source(redis, keys, source, wanted, make)
    for _ in range(TRIES if wanted.ids is None else 0):
        table = await reader.table()
        if table is None:
            break
        try:
            return await _counted(reader, table, cutoff)
        except TableMovedError:
            continue
    total = Counts()
    async for page in pages(redis, keys, source, wanted):
        total += _tally(page.letters, cutoff)
    return total


class _TiredError(Exception):
    """As many letters as may be were looked at, the last of them `at`; never leaves this module."""

    def __init__(self, at: str) -> None:
        super().__init__(at)
        self.at = at


async def _newest(reader: Reader, end: str, step: int, most: int | None) -> AsyncIterator[DeadLetter]:
    """Letters that match, the newest first."""
    wanted = reader.wanted
    if wanted.ids is not None:
        async for letter in _selected(reader, end):
            yield letter
        return
    for _ in range(TRIES if wanted.sparse else 0):
        table = await reader.table()
        if table is None:
            break
        try:
            async for letter in _by_table(reader, table, end, step):
                yield letter
                end = f"({letter.stream_id}"
        except TableMovedError:
            continue
        return
    if not wanted.sparse:
        most = None
    async for letter in _by_stream(reader, end, PAGE if wanted.sparse else step, most):
        yield letter


async def _by_table(reader: Reader, table: Table, end: str, step: int) -> AsyncIterator[DeadLetter]:
    narrowed = replace(table.narrowed(reader.wanted)[0], always=None)
    first, last = (0, 0) if narrowed.nothing else await table.span(reader.wanted.start, end)
    places: list[Place] = []
    async for place in table.backwards(narrowed, first, last):
        places.append(place)
        if len(places) == step:
            for letter in await _letters(reader, places[::-1]):
                yield letter
            places = []
    for letter in await _letters(reader, places[::-1]):
        yield letter


async def _letters(reader: Reader, places: Sequence[Place]) -> Sequence[DeadLetter]:
    """The letters of places that the table names, ascending; they come the newest first."""
    return reader.by_table.page(await reader.fetch(places), "").letters[::-1]


async def _by_stream(reader: Reader, end: str, step: int, most: int | None) -> AsyncIterator[DeadLetter]:
    while entries := await reader.reversed(end, reader.wanted.start, step):
        for letter in reader.page(entries, "").letters:
            yield letter
        last = entries[-1][0].decode()
        most = most and most - len(entries)
        if most is not None and most <= 0:
            raise _TiredError(last)
        end = f"({last}"


async def _selected(reader: Reader, end: str) -> AsyncIterator[DeadLetter]:
    ids = [one for one in reader.ids if end == "+" or order(one) < order(end)]
    for at in range(len(ids), 0, -PAGE):
        entries = await fetch_each(reader.redis, reader.of, ids[max(0, at - PAGE) : at])
        for letter in reversed(reader.page(entries, "").letters):
            yield letter


async def _counted(reader: Reader, table: Table, cutoff: int) -> Counts:
    """Count by the table; letters of which it cannot say all are read."""
    wanted = reader.wanted
    sure, read = _known(wanted, table)
    stuck = frozenset(number for number in sure if table.groups[number].kind.stuck)
    whole, total = wanted.since is None and wanted.until is None, Counts()
    if whole:
        total += _sums({number: table.groups[number].count for number in sure}, stuck)
    places: list[Place] = []
    span = await table.span(wanted.start, wanted.end) if sure or read.groups else (0, 0)
    async for start, rows in table.runs(*span):
        total += Counts(older=_older(rows, sure - stuck, cutoff))
        total += Counts() if whole else _sums(_within(rows, sure), stuck)
        places += [(start + place, rows.id(place)) for place in rows.wanted(read)] if read.groups else []
        while len(places) >= PAGE:
            total += _tally(await _letters(reader, places[:PAGE]), cutoff)
            places = places[PAGE:]
    return total + _tally(await _letters(reader, places), cutoff)


def _known(wanted: Filter, table: Table) -> tuple[frozenset[int], Wanted]:
    """Groups whose letters match, all of them; and what rows are like of others that may match."""
    narrowed, unsure = table.narrowed(wanted)
    if narrowed.user is not None or narrowed.message is not None:
        return frozenset(), replace(narrowed, always=None)
    return (narrowed.groups or frozenset()) - unsure, Wanted(unsure)


def _within(rows: Rows, groups: frozenset[int]) -> dict[int, int]:
    counts = Counter(rows.groups)
    return {number: counts[number] for number in groups if number in counts}


def _older(rows: Rows, groups: frozenset[int], cutoff: int) -> int:
    """Rows of these groups whose letters were accepted before `cutoff`, in seconds since 1970."""
    accepted = rows.accepted
    if not groups or min(accepted) >= cutoff:
        return 0
    return sum(at < cutoff and group in groups for at, group in zip(accepted, rows.groups, strict=True))


def _sums(counts: dict[int, int], stuck: frozenset[int]) -> Counts:
    letters = sum(counts.values())
    held = sum(number for group, number in counts.items() if group in stuck)
    return Counts(letters, letters - held, held)


def _tally(letters: Sequence[DeadLetter], cutoff: int) -> Counts:
    able = [letter for letter in letters if letter.redrivable]
    old = [letter for letter in able if letter.accepted and int(letter.accepted.timestamp()) < cutoff]
    return Counts(len(letters), len(able), len(letters) - len(able), len(old))


def _earlier(end: str, before: str | None) -> str:
    """The end of a range that ends at `end`, and before the letter of that id."""
    if before is None or (end != "+" and order(end) <= order(before)):
        return end
    return f"({before}"
