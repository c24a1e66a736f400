"""The idempotency store's arithmetic: where an id is remembered, and when a new generation begins.

An id is a 63-bit member of one small set of integers; which set (bucket) comes from further bits of its hash that
the member does not hold, so both together tell ids apart by about 63 + log2(buckets) bits. Sets stay in Redis'
packed form up to 512 members (8 bytes each); a generation is sized for 200 members a bucket, so that 400, where a
new one begins early, is still far from 512.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import orjson

from pombo.shared.errors import StoredVersionError

MAX_GENERATIONS = 4
FIRST_BUCKETS = 64
MAX_BUCKETS = 1 << 20
_TARGET = 200
_FULL = 400
_GROWTH = 32
_LAST = 1 << 16
"""Buckets at least of a generation that none can follow until an older one ends: room for 26 million ids."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of remembered ids: its number, how many buckets it has, when it began and ended (ms)."""

    number: int
    buckets: int
    born: int
    ended: int = 0
    count: int = 0
    """Ids in it, once it has ended."""


@dataclass(frozen=True, slots=True)
class Table:
    """The live generations, newest first, and the table's version ("" when nothing is stored yet)."""

    version: str = ""
    generations: tuple[Generation, ...] = ()

    def dump(self) -> bytes:
        """The JSON stored in Redis, with its own format version."""
        rows = [[g.number, g.buckets, g.born, g.ended] for g in self.generations]
        return orjson.dumps({"v": 1, "generations": rows, "counts": [g.count for g in self.generations]})

    @classmethod
    def load(cls, version: bytes | None, stored: bytes | None) -> "Table":
        """Read what `dump` wrote; nothing stored is an empty table.

        Raises:
            StoredVersionError: another version of pombo wrote it.
        """
        if not version or not stored:
            return cls()
        found = orjson.loads(stored)
        if found.get("v") != 1:
            raise StoredVersionError(
                f"the remembered ids have version {found.get('v')}, this pombo knows 1; upgrade it"
            )
        rows: list[Any] = found["generations"]
        counts: list[int] = found.get("counts") or [0] * len(rows)
        return cls(version.decode(), tuple(Generation(*[*row, n]) for row, n in zip(rows, counts, strict=True)))

    def without(self, later: "Table") -> tuple[Generation, ...]:
        """The generations that `later` no longer has."""
        kept = {generation.number for generation in later.generations}
        return tuple(generation for generation in self.generations if generation.number not in kept)


def members(message_ids: Sequence[bytes]) -> list[tuple[int, int]]:
    """Hash messageIds: `(member, spread)` each; the member has 63 bits, `spread` 32 others."""
    hashed = []
    for message_id in message_ids:
        digest = blake2b(message_id, digest_size=12).digest()
        hashed.append((int.from_bytes(digest[:8]) >> 1, int.from_bytes(digest[8:])))
    return hashed


def next_table(table: Table, *, now: int, count: int, window: int, limit: int = 0) -> Table | None:
    """Decide whether a new generation begins, or the oldest ones end early; None keeps the table.

    One begins after a window, so that usually two are live; the others are for those that filled up early. With a
    limit one also begins at half of it, so that no more than half are forgotten at a time.

    Args:
        table: the table in force.
        now: ms of Redis' clock.
        count: ids in the newest generation.
        window: ms for which an id is remembered.
        limit: ids remembered at most, give or take a claim; 0 is none.
    """
    version = str(int(table.version or "0") + 1)
    if not table.generations:
        return Table(version, (Generation(1, FIRST_BUCKETS, now),))
    newest = table.generations[0]
    live = tuple(g for g in table.generations[1:] if g.ended + window > now)
    kept = _within(live, limit - count) if limit else live
    aged = now - newest.born >= window
    full = count >= newest.buckets * _FULL
    halved = limit > 0 and count >= max(1, limit // 2)
    if not (aged or full or halved) or len(kept) + 1 >= MAX_GENERATIONS:
        return None if kept == live else Table(version, (newest, *kept))
    buckets = _size(newest, count, full=full and not aged)
    if len(kept) + 2 == MAX_GENERATIONS:
        buckets = max(buckets, _LAST)
    ended = replace(newest, ended=now, count=count)
    return Table(version, (Generation(newest.number + 1, buckets, now), ended, *kept))


def cut_to(before: Table, after: Table, *, now: int, window: int) -> int | None:
    """For how many ms ids are remembered for sure, when `after` ended generations of `before` early; else None."""
    if all(g.ended + window <= now for g in before.without(after)):
        return None
    return now - after.generations[-1].born


def _within(generations: tuple[Generation, ...], room: int) -> tuple[Generation, ...]:
    """As many of the newest as hold fewer than `room` ids together."""
    kept = 0
    for number, generation in enumerate(generations):
        kept += generation.count
        if kept >= room:
            return generations[:number]
    return generations


def _size(newest: Generation, count: int, *, full: bool) -> int:
    if full:
        return min(MAX_BUCKETS, newest.buckets * _GROWTH)
    return min(MAX_BUCKETS, max(FIRST_BUCKETS, count // _TARGET))
