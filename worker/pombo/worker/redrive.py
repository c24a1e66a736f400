"""The redrive of one source's dead letters, in steps that may be cut off anywhere."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.shared.connection import transient
from pombo.shared.deadletters import DeadLetter, Filter, Page, pages, read, redrive_page
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.sources import Source

LONGEST_WAIT_S = 5.0
"""Between two looks whether Redis is back."""

log = get_logger("pombo.worker.redrive")

COUNTS: Final = ("moved", "skipped", "unreadable")
"""Events put back, letters that hold no single event to put back, letters of an unknown version."""


class Checkpoint(Protocol):
    """What a redrive wants of its job: a place for JSON that outlives it."""

    meta: dict[str, Any]

    def save_meta(self) -> None:
        """Store `meta`."""


class Redrive:
    """One redrive, over all its runs.

    Its life, as kept in the job's meta:

    1. `end`: the last letter there was when it began. Those that die later are left for the next job.
    2. `pending`, stored before letters of a page are moved: the last of them, how many they are, and what the
       meta will be then.
    3. `next`, stored after: where to read on; and the counts.

    A run that finds `pending` follows one that was cut off between 2 and 3. It counts those of them that are
    gone as moved, so that a limit holds whatever happens.
    """

    def __init__(
        self, redis: Redis, keys: Keys, source: str, wanted: Filter, *,
        limit: int | None = None, job: Checkpoint | None = None, wait_s: float = 0.1,
    ) -> None:  # fmt: skip
        self._redis = redis
        self._keys = keys
        # Reading settings takes no secret, so a throwaway one will do.
        self._registry = Registry(redis, keys, Secrets([new_secret()]))
        self._source = source
        self._wanted = wanted
        self._limit = limit
        self._job = job
        self._wait_s = wait_s
        fresh = {**dict.fromkeys(COUNTS, 0), "next": "-", "pending": None, "end": None}
        self._meta: dict[str, Any] = fresh | (job.meta if job else {})

    async def run(self) -> dict[str, int]:
        """Move what is wanted, and return the counts; passing trouble is waited out.

        Raises:
            UnknownSourceError: there is no such source.
            RedisError: what does not pass by itself.
        """
        wait = self._wait_s
        while True:
            try:
                return await self._run()
            except (RedisError, OSError) as error:
                if not transient(error):
                    raise
                log.warning("redrive.waits", source=self._source, error=f"{type(error).__name__}: {error}")
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT_S, wait * 2)

    async def _run(self) -> dict[str, int]:
        source = await self._registry.get(self._source)
        if self._meta["end"] is None:
            found: Any = await self._redis.xrevrange(self._keys.of(source.name).dead, count=1)
            self._note(end=found[0][0].decode() if found else "0-0")
        await self._settle(source)
        async for page in self._pages(source):
            await self._move(source, page)
        return {name: self._meta[name] for name in COUNTS}

    async def _settle(self, source: Source) -> None:
        """Count what the last run moved without having noted it."""
        pending = self._meta["pending"]
        if pending is None:
            return
        left, last = 0, _key(pending["last"])
        async for letter in read(self._redis, self._keys, source.name, self._wanted, start=self._meta["next"]):
            if _key(letter.stream_id) > last:
                break
            left += _movable(source, letter)
        moved = self._meta["moved"] + pending["letters"] - left
        self._note(moved=moved, pending=None, **({} if left else pending["then"]))

    async def _pages(self, source: Source) -> AsyncIterator[Page]:
        found = pages(self._redis, self._keys, source.name, self._wanted, start=self._meta["next"])
        async for page in found:
            if self._left() == 0:
                return
            yield page
            if _key(page.next) >= _key(self._meta["end"]):
                return

    async def _move(self, source: Source, page: Page) -> None:
        end, left = _key(self._meta["end"]), self._left()
        letters = [letter for letter in page.letters if _key(letter.stream_id) <= end]
        movable = [letter for letter in letters if _movable(source, letter)][:left]
        if movable and len(movable) == left:
            end = _key(movable[-1].stream_id)
        considered = [letter for letter in letters if _key(letter.stream_id) <= end]
        then = {
            "next": page.next,
            "skipped": self._meta["skipped"] + sum(not _movable(source, letter) for letter in considered),
            "unreadable": self._meta["unreadable"] + sum(_key(one) <= end for one in page.unreadable),
        }
        if movable:
            self._note(pending={"last": movable[-1].stream_id, "letters": len(movable), "then": then})
        moved = await redrive_page(self._redis, self._keys, source, movable)
        self._note(moved=self._meta["moved"] + moved, pending=None, **then)

    def _left(self) -> int | None:
        return None if self._limit is None else max(0, self._limit - self._meta["moved"])

    def _note(self, **changes: Any) -> None:
        self._meta |= changes
        if self._job is not None:
            self._job.meta = self._meta
            self._job.save_meta()


def _movable(source: Source, letter: DeadLetter) -> bool:
    return letter.redrivable and 0 <= letter.header.partition < source.partitions


def _key(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.removeprefix("(").partition("-")
    return int(milliseconds), int(sequence)
