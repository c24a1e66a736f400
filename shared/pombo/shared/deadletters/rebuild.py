"""Making the table of a source's dead letters anew, from the stream, while letters come and go.

1. A draft is begun, under a name of its own: two makers never write into the same one. It goes by itself half a
   minute after its maker.
2. Letters are read from the stream by pages, and their rows added. From its beginning on, whatever takes letters away
   takes them out of the draft too; rows of a page that was read before such a step are refused, and it is read again.
3. At the end of the stream the draft takes the table's place in one step, if it has as many live rows as there are
   letters, and none came since.

A table that holds mostly rows of letters that have left is made smaller the same way, from its own live rows.
"""

import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from pombo.shared.deadletters.filter import OTHER
from pombo.shared.deadletters.kind import Kind
from pombo.shared.deadletters.letter import order
from pombo.shared.deadletters.rows import GONE, SIZE, Row, Rows, row_of
from pombo.shared.deadletters.table import CHUNK, State, Stored, Table, TableMovedError, look
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument, script

PAGE = 500
"""Letters read in one step."""
LIFE_MS = 30_000
"""Of a draft after its maker's last step."""
WORTH = 4096
"""Rows of letters that have left, from which on a table is made smaller, if it holds fewer of others."""
MOST_GROUPS = 1000
"""As many as `lettertable.lua` makes."""
MOST_ROWS = (512 << 20) // SIZE - 1
"""In a table: Redis lets no string be longer. Of more letters, readers go by the stream."""
TRIES = 5
"""Of one call, when others are in its way."""

Progress = Callable[[int], Awaitable[object]]
"""Told how many letters were read since; it may take its time, and the making with it."""
Make = Callable[[Redis, SourceKeys, str, int], Awaitable[object]]
"""What a reader does about a table that does not tell all: of which source, and of how many letters it would be.

Where it leaves no whole table, the reader goes by the stream.
"""


async def _at_once(read: int) -> None:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Making:
    """A table that is being made, or has to be."""

    source: str
    letters: int
    """In the stream."""
    rows: int = 0
    """In the draft."""

    @property
    def share(self) -> float:
        """How much of it is made, 0 to 1."""
        return min(1.0, self.rows / self.letters) if self.letters else 1.0


log = get_logger("pombo.shared.deadletters")


async def make_now(redis: Redis, of: SourceKeys, source: str, letters: int) -> None:
    """Make the table that a reader asks for, and have the reader wait: 25 to 65 µs a letter."""
    await rebuilt(redis, of, source)


async def ready(redis: Redis, of: SourceKeys, source: str, make: Make = make_now) -> Table | None:
    """The source's table, made anew if it does not tell all; None when there is none to be had now."""
    state, groups = await look(redis, of)
    if _due(state):
        await make(redis, of, source, state.letters)
        state, groups = await look(redis, of)
    return Table(redis, of, state, groups) if state.complete else None


async def making(redis: Redis, keys: Keys, source: str) -> Making | None:
    """How far the source's table is, whoever makes it; None when it is whole, or there can be none."""
    of = keys.of(source)
    state, _ = await look(redis, of)
    if not _due(state):
        return None
    rows = await redis.hget(of.dead_draft[1], "rows")
    return Making(source, state.letters, int(rows or 0))


def _due(state: State) -> bool:
    return not state.complete and state.known and state.letters <= MOST_ROWS


async def rebuild(redis: Redis, keys: Keys, source: str, progress: Progress = _at_once) -> bool:
    """Make the source's table anew from its dead letters, whatever it says; whether that could be done now.

    It takes 25 to 65 µs a letter, by the machine and by what letters say. False means that somebody else is at it, or
    that Redis is full, or that a newer pombo keeps a table there, or that there are more than `MOST_ROWS` letters.
    """
    of = keys.of(source)
    state, _ = await look(redis, of)
    return state.known and state.letters <= MOST_ROWS and await rebuilt(redis, of, source, progress)


async def tidy(redis: Redis, of: SourceKeys, source: str) -> None:
    """Make the table smaller if it is worth it; a glance otherwise. For whoever took letters away."""
    told: Any = await redis.hmget(of.dead_groups, ["rows", "gone"])
    rows, gone = (int(number or 0) for number in told)
    if gone > max(WORTH, rows - gone):
        await _compact(redis, of, source)


async def compact(redis: Redis, keys: Keys, source: str) -> bool:
    """Make the source's table smaller by the rows of letters that have left; whether it was."""
    return await _compact(redis, keys.of(source), source)


async def _compact(redis: Redis, of: SourceKeys, source: str) -> bool:
    state, groups = await look(redis, of)
    if not (state.complete and state.gone):
        return False
    return await _tried(redis, of, source, lambda draft: draft.copy(Table(redis, of, state, groups)))


async def rebuilt(redis: Redis, of: SourceKeys, source: str, progress: Progress = _at_once) -> bool:
    """Make the source's table anew; whether it was."""
    return await _tried(redis, of, source, lambda draft: draft.read(progress))


async def _tried(redis: Redis, of: SourceKeys, source: str, fill: Callable[["Draft"], Awaitable[None]]) -> bool:
    """Fill a draft and put it in the table's place; begin again when it was lost on the way."""
    name = secrets.token_hex(SIZE // 2)
    for _ in range(TRIES):
        draft = Draft(redis, of, name)
        try:
            if not await draft.begin():
                return False
            await fill(draft)
            if await draft.swap():
                return True
        except (LostError, TableMovedError):
            pass
        except (OutOfMemoryError, LargeError):
            return False
    log.warning("letters.table_not_made", source=source)
    return False


class LostError(Exception):
    """The draft is gone, or another; never leaves this package."""


class LargeError(Exception):
    """No table can hold so many rows; never leaves this package."""


@dataclass(slots=True)
class _Tally:
    """Letters of one group among the rows of a page."""

    kind: Kind
    letters: int = 0
    first: int = 1 << 63
    last: int = 0

    def add(self, milliseconds: int) -> None:
        self.letters += 1
        self.first, self.last = min(self.first, milliseconds), max(self.last, milliseconds)


@dataclass(slots=True)
class _Numbers:
    """Numbers of the groups, as the maker of a draft gives them."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, kind: Kind) -> tuple[int, Kind]:
        """A kind's number, and that of which group it is."""
        number = self.known.get(kind.fingerprint)
        if number is None and len(self.known) >= MOST_GROUPS:
            name = f"{OTHER}{kind.reason}{'-stuck' if kind.stuck else ''}"
            kind = Kind(name, kind.reason, stuck=kind.stuck, other=True)
            number = self.known.get(name)
        if number is None:
            number = self.known[kind.fingerprint] = max(self.known.values(), default=0) + 1
        return number, kind


class Draft:
    """A table in the making."""

    def __init__(self, redis: Redis, of: SourceKeys, name: str) -> None:
        self._redis = redis
        self._of = of
        self._name = name
        self._numbers = _Numbers()
        self._last = "0-0"

    async def begin(self) -> bool:
        """Begin; whether nobody else is at it."""
        return await self._call("", b"", {}) == b"ok"

    async def read(self, progress: Progress = _at_once) -> None:
        """Add a row for every letter that is behind the last one read."""
        while (read := await self.step()) is not None:
            await progress(read)

    async def step(self, page: int = PAGE) -> int | None:
        """Add the rows of the next `page` letters; how many, or None when there are no more.

        0 means that letters were taken away meanwhile: it has to be tried again.
        """
        moves, entries = await self._page(page)
        if not entries:
            return None
        rows, tallies = self._rows(entries)
        if not await self._add(moves, rows, tallies):
            return 0
        self._last = entries[-1][0].decode()
        return len(entries)

    async def copy(self, table: Table) -> None:
        """Add the live rows of the table that is there."""
        self._numbers.known = {one.kind.fingerprint: number for number, one in table.groups.items()}
        first = 0
        while True:
            moves: Any = await self._redis.hget(self._of.dead_draft[1], "moves")
            rows = await table.rows(first, CHUNK // 8)
            if not len(rows):
                return
            tallies = _tallies(rows, table.groups)
            if await self._add(moves, rows.live(), tallies):
                first += len(rows)
                self._last = rows.id(len(rows) - 1)

    async def swap(self) -> bool:
        """Put it in the table's place; read on until no letter came meanwhile."""
        for _ in range(100):
            keys = [self._of.dead, self._of.dead_table, self._of.dead_groups, *self._of.dead_draft]
            reply = await script("dead_swap").acall(self._redis, keys, [self._name, self._last])
            if reply != b"behind":
                return bool(reply == b"ok")
            await self.read()
        return False

    async def _page(self, count: int) -> tuple[bytes | None, list[Any]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            # `moves` comes first: letters that are taken away behind it move it on.
            pipe.hget(self._of.dead_draft[1], "moves")
            pipe.xrange(self._of.dead, f"({self._last}", "+", count=count)
            moves, entries = await pipe.execute()
        return moves, entries

    def _rows(self, entries: Iterable[Any]) -> tuple[bytes, dict[int, _Tally]]:
        tallies: dict[int, _Tally] = {}
        packed = []
        for entry_id, fields in entries:
            row = row_of(fields.get(b"h", b""), fields.get(b"b", b""), _count(fields.get(b"n")))
            stream_id = entry_id.decode()
            number, kind = self._numbers.of(row.kind)
            packed.append(Row(row.marks, kind).packed(stream_id, number))
            tallies.setdefault(number, _Tally(kind)).add(order(stream_id)[0])
        return b"".join(packed), tallies

    async def _add(self, moves: bytes | None, rows: bytes, tallies: dict[int, _Tally]) -> bool:
        """Add rows; whether nothing was taken away since they were read."""
        reply = await self._call(moves or b"-", rows, tallies)
        if reply == b"lost":
            raise LostError
        if reply == b"large":
            raise LargeError
        return reply == b"ok"

    async def _call(self, moves: bytes | str, rows: bytes, tallies: dict[int, _Tally]) -> bytes:
        args: list[Argument] = [self._name, moves, LIFE_MS, rows]
        for number, tally in tallies.items():
            kind = tally.kind
            args += [number, tally.letters, tally.first, tally.last, kind.fingerprint, kind.dump()]
        return bytes(await script("dead_draft").acall(self._redis, self._of.dead_draft, args))


def _tallies(rows: Rows, groups: dict[int, Stored]) -> dict[int, _Tally]:
    """What a copied run of rows holds of each group; first and last deaths are as the table has them."""
    counts: defaultdict[int, int] = defaultdict(int)
    for number in rows.groups:
        counts[number] += 1
    counts.pop(GONE, None)
    missing = [number for number in counts if number not in groups]
    if missing:
        raise TableMovedError
    return {
        number: _Tally(groups[number].kind, letters, groups[number].first_ms, groups[number].last_ms)
        for number, letters in counts.items()
    }


def _count(stored: bytes | None) -> int:
    return int(stored) if stored and stored.isdigit() and len(stored) <= 15 else 1
