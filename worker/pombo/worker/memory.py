"""A source's remembered messageIds, as its worker sees them: the live generations, and the buckets to look in."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from pombo.shared.keys import SourceKeys
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument
from pombo.worker.idempotency import Generation, Table, cut_to, next_table
from pombo.worker.link import Link

log = get_logger("pombo.worker.memory")

_BUCKETS_AT_ONCE = 1000


class Memory:
    """Keep the table of live generations, and begin a new one when it is due.

    Args:
        link: the line to Redis.
        keys: of the source; the hash `ids` holds the table.
        now: asks Redis' clock (ms).
    """

    def __init__(self, link: Link, keys: SourceKeys, now: Callable[[], Awaitable[int]]) -> None:
        self._link = link
        self._now = now
        self._keys = keys
        self.key = keys.ids
        self.table = Table()
        self.count = 0
        """Ids in the newest generation."""

    async def live(self, window_s: float, limit: int = 0) -> Table:
        """The table to hash for, where `limit` ids at most (0: any) are remembered for `window_s` seconds."""
        while True:
            if not self.table.version:
                self._load(await self._link.run("ids", self._stored))
            # Before ids are added, not after: a generation that is due would take them into buckets about to end.
            await self.rotate(window_s, limit)
            if self.table.version:  # Meanwhile another delivery may have found it `outdated`.
                return self.table

    async def _stored(self) -> Any:
        return await self._link.redis.hmget(self.key, ["version", "table", "count"])

    async def rotate(self, window_s: float, limit: int = 0) -> None:
        """Begin a new generation if one is due, and free what the last ones held."""
        before, now, window = self.table, await self._now(), int(window_s * 1000)
        wanted = next_table(before, now=now, count=self.count, window=window, limit=limit)
        if wanted is None:
            return
        left = cut_to(before, wanted, now=now, window=window)
        begins = wanted.generations[:1] != before.generations[:1]
        args: list[Argument] = [before.version, wanted.version, wanted.dump(), int(begins), _seconds(left)]
        self._load(await self._link.script("rotate_ids", [self.key, self._keys.flow], args))
        if self.table != wanted:
            return
        if left is not None:
            log.warning("ids.forgotten_early", key=self.key, remembered_s=left // 1000, window_s=window_s, limit=limit)
        for generation in before.without(wanted):
            await self._free(generation)

    async def _free(self, generation: Generation) -> None:
        """Delete a generation's buckets, which Redis would keep for up to a window more; nobody adds to them now."""
        for first in range(0, generation.buckets, _BUCKETS_AT_ONCE):
            last = min(first + _BUCKETS_AT_ONCE, generation.buckets)
            names = [self._keys.bucket(generation.number, bucket) for bucket in range(first, last)]
            await self._link.run("free", partial(self._link.redis.unlink, *names))

    def _load(self, stored: Sequence[bytes | None]) -> None:
        self.table, self.count = Table.load(stored[0], stored[1]), int(stored[2] or 0)

    def note(self, table: Table, count: int) -> None:
        """Take in how many ids a claim found in the newest generation of `table`; 0 is not known.

        Of claims side by side one may be answered when another has begun a new generation: it is not that one's count.
        """
        if count and table is self.table:
            self.count = count

    def outdated(self) -> None:
        """Read the table again next time: somebody began a new generation."""
        self.table = Table()

    def buckets(self, spreads: Sequence[int]) -> list[str]:
        """Where ids of these spreads may be remembered: one bucket an id in the newest generation, then in the next."""
        names: list[str] = []
        for generation in self.table.generations:
            prefix, buckets = self._keys.buckets(generation.number), generation.buckets
            names += [f"{prefix}{spread % buckets}" for spread in spreads]
        return names


def _seconds(milliseconds: int | None) -> str:
    return "" if milliseconds is None else str(milliseconds // 1000)
