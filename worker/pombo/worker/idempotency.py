"""The idempotency store's arithmetic: where an id is remembered, and when a new generation begins.

An id is a 63-bit member of one small set of integers; which set (bucket) comes from further bits of its hash that
the member does not hold, so both together tell ids apart by about 63 + log2(buckets) bits. Sets stay in Redis'
packed form up to 512 members (8 bytes each); a generation is sized for 256 members a bucket, so that 384, where a
new one begins early, is still far from 512. A bucket takes 120 B besides (Valkey 9.1; Redis 7.0: 170 B), which a
generation with few ids has hardly anything to share out to: so it is no larger than its ids are sure to need.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

import orjson

from pombo.shared.errors import StoredVersionError

MAX_GENERATIONS = 5
FIRST_BUCKETS = 64
MAX_BUCKETS = 1 << 22
MAX_MEAN = 384
"""Ids a bucket with which a generation is full: of a million such buckets, 0.0002 hold more than 512 (Poisson)."""

_TARGET = 256
_BELIEVED = 4
"""Times as many ids as the last generation held are expected at most: the rate of some seconds lasts no day."""

_AT_ONCE = 4_000_000
"""Ids up to which any rate is believed: empty buckets for so many cost 2 MB, another generation time in every claim."""

_LAST = 1 << 18
"""Buckets at least of a generation that none can follow until an older one ends: room for 100 million ids."""

_CROWDED = 32
"""Ids a bucket with which none is missing: of four million, 5e-8 are (Poisson)."""

_EMPTY = blake2b(digest_size=12)
_DIGEST = Struct(">QI")


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of remembered ids: its number, how many buckets it has, when it began and ended (ms)."""

    number: int
    buckets: int
    born: int
    ended: int = 0
    count: int = 0
    """Ids in it, once it has ended."""
    window: int = 0
    """For how many ms its ids are remembered, as its buckets' time to live has it; 0 where an older pombo began it."""

    @property
    def crowded(self) -> int:
        """With how many ids in it every bucket exists, and has its time to live."""
        return self.buckets * _CROWDED


@dataclass(frozen=True, slots=True)
class Table:
    """The live generations, newest first, and the table's version ("" when nothing is stored yet)."""

    version: str = ""
    generations: tuple[Generation, ...] = ()

    def dump(self) -> bytes:
        """The JSON stored in Redis, with its own format version."""
        rows = [[g.number, g.buckets, g.born, g.ended] for g in self.generations]
        counts, windows = [g.count for g in self.generations], [g.window for g in self.generations]
        return orjson.dumps({"v": 1, "generations": rows, "counts": counts, "windows": windows})

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
        # Older ones do not say these, and leave out what they do not know.
        nothing = [0] * len(rows)
        told = zip(rows, found.get("counts") or nothing, found.get("windows") or nothing, strict=True)
        return cls(version.decode(), tuple(Generation(*[*row, count, window]) for row, count, window in told))

    def lifetime(self, window: int) -> int:
        """For how many ms a new bucket lives: twice the window, which another worker may have known longer first."""
        return 2 * max(window, self.generations[0].window)

    def without(self, later: "Table") -> tuple[Generation, ...]:
        """The generations that `later` no longer has."""
        kept = {generation.number for generation in later.generations}
        return tuple(generation for generation in self.generations if generation.number not in kept)


class Hashed(NamedTuple):
    """Hashed messageIds, in their order: members of 63 bits, and spreads of 32 others."""

    members: list[int]
    spreads: list[int]


def members(message_ids: Iterable[bytes]) -> Hashed:
    """Hash messageIds."""
    digests = []
    for message_id in message_ids:
        # A copy costs a third less than a hash made with its parameters.
        digest = _EMPTY.copy()
        digest.update(message_id)
        digests.append(digest.digest())
    pairs = [*_DIGEST.iter_unpack(b"".join(digests))]
    return Hashed([member >> 1 for member, _ in pairs], [spread for _, spread in pairs])


def next_table(table: Table, *, now: int, count: int, window: int, limit: int = 0) -> Table | None:
    """Decide whether a new generation begins, or the oldest ones end early; None keeps the table.

    One begins after a window, so that usually two are live; the others are for those that filled up early. With a
    limit one also begins at half of it, so that no more than half are forgotten at a time. A window that was made
    longer begins one too: buckets there are end too early for it.

    Args:
        table: the table in force.
        now: ms of Redis' clock.
        count: ids in the newest generation.
        window: ms for which an id is remembered.
        limit: ids remembered at most, give or take a claim; 0 is none.
    """
    version = str(int(table.version or "0") + 1)
    if not table.generations:
        return Table(version, (Generation(1, FIRST_BUCKETS, now, window=window),))
    newest = table.generations[0]
    live = tuple(g for g in table.generations[1:] if g.ended + window > now)
    kept = _within(live, limit - count) if limit else live
    aged = now - newest.born >= window
    full = count >= newest.buckets * MAX_MEAN
    halved = limit > 0 and count >= max(1, limit // 2)
    longer = 0 < newest.window < window
    if not (aged or full or halved or longer) or len(kept) + 1 >= MAX_GENERATIONS:
        return None if kept == live else Table(version, (newest, *kept))
    expected = count if aged or not full else _expected(newest, count, now=now, window=window, limit=limit)
    buckets = min(MAX_BUCKETS, max(FIRST_BUCKETS, expected // _TARGET))
    if len(kept) + 2 == MAX_GENERATIONS:
        buckets = max(buckets, _LAST)
    ended = replace(newest, ended=now, count=count)
    return Table(version, (Generation(newest.number + 1, buckets, now, window=window), ended, *kept))


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


def _expected(newest: Generation, count: int, *, now: int, window: int, limit: int) -> int:
    """Ids that the follower of a generation that filled up early will get in its window, at the same rate."""
    rated = count * window // max(1, now - newest.born)
    believed = min(rated, max(_AT_ONCE, _BELIEVED * count))
    return min(believed, max(count, limit // 2)) if limit else believed
