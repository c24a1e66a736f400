"""Table maker: the tables of dead letters that a page asks for and that are not there, made while pages go on.

Where an older pombo left a million letters, or Redis lost a part, the table that finds them has to be made: half a
minute and more, for which no page may hang. So a small one is made at once, and another one beside, with as long a
pause after each step as the step took: whoever asks for a page meanwhile has it. Until then pages go by the stream.
"""

import asyncio
from contextlib import suppress
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.shared.clock import Clock
from pombo.shared.deadletters import make_now, rebuilt
from pombo.shared.keys import SourceKeys
from pombo.shared.logs import get_logger

AT_ONCE: Final = 2000
"""Letters whose table is made while a page waits: a tenth of a second."""
AGAIN_S: Final = 10.0
"""Seconds until it is tried again where it could not be made: somebody else is at it, or Redis is full."""

log = get_logger("pombo.console")


class TableMaker:
    """Make tables, one after the other; a `Make` of `pombo.shared.deadletters`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turn = asyncio.Lock()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, float] = {}

    async def __call__(self, redis: Redis, of: SourceKeys, source: str, letters: int) -> None:
        """Make a source's table now if it is small, else begin to."""
        if letters <= AT_ONCE:
            await make_now(redis, of, source, letters)
        elif source not in self._under_way and self._clock.monotonic() - self._tried.get(source, -AGAIN_S) >= AGAIN_S:
            task = self._under_way[source] = asyncio.create_task(self._make(redis, of, source))
            task.add_done_callback(lambda _: self._ended(source))

    async def _make(self, redis: Redis, of: SourceKeys, source: str) -> None:
        try:
            async with self._turn:
                begun = self._clock.monotonic()
                made = await rebuilt(redis, of, source, _Pace(self._clock))
                if made:
                    log.info("letters.table_made", source=source, seconds=round(self._clock.monotonic() - begun, 1))
        except (RedisError, OSError) as error:
            log.warning("letters.table_not_made", source=source, error=str(error), note="tried again when asked for")

    def _ended(self, source: str) -> None:
        del self._under_way[source]
        self._tried[source] = self._clock.monotonic()

    async def close(self) -> None:
        """Leave what is under way; its draft goes by itself."""
        for task in [*self._under_way.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


class _Pace:
    """After each step, a pause as long as the step."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    async def __call__(self, read: int) -> None:
        await self._clock.sleep(self._clock.monotonic() - self._since)
        self._since = self._clock.monotonic()
