"""The reporter: brings what a worker noted of its sources to Redis, where the console reads it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final
from zlib import crc32

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.shared.clock import Clock
from pombo.shared.history import SAMPLE_S, sample
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.tail import tell
from pombo.worker.lane import Lane
from pombo.worker.signals import Signals

Duty = Callable[[], Awaitable[object]]

log = get_logger("pombo.worker.reporter")

_EVERY_S: Final = 0.5
"""How long an event waits at most until it is told to who watches."""
_PATIENCE_S: Final = 2.0
"""For one command; what Redis does not take in that time is not told."""


class Reporter:
    """Take samples of lanes that are astir, and tell what the taps gathered; drop what Redis does not take.

    1. Each source has its second of ten, the same in all workers. In it, a lane that did something since its last
       sample, or holds something, is sampled; and once more when it has come to rest.
    2. Twice a second the taps are emptied.

    Nothing else of the worker waits for it.

    Args:
        redis: a client.
        keys: the key catalogue.
        signals: what the lanes note.
        clock: of this worker.
        seconds: Redis' time, in whole seconds, as far as known.
    """

    def __init__(self, redis: Redis, keys: Keys, signals: Signals, clock: Clock, seconds: Callable[[], int]) -> None:
        self._redis = redis
        self._keys = keys
        self._signals = signals
        self._clock = clock
        self._seconds = seconds
        self._second = 0
        self._restless: set[str] = set()

    async def run(self, lanes: Mapping[str, Lane]) -> None:
        """Report until cancelled."""
        while True:
            await self._clock.sleep(_EVERY_S)
            try:
                await self.report(lanes)
            except (RedisError, OSError) as error:
                log.debug("report.dropped", error=f"{type(error).__name__}: {error}")
            except Exception:
                log.exception("reporter.crashed")

    async def report(self, lanes: Mapping[str, Lane]) -> None:
        """Bring to Redis what is due.

        Raises what the client raised first, once all was tried: each source may be on another node of a cluster.
        """
        troubles: list[RedisError | OSError] = []
        samples: list[Duty] = [partial(self._sample, lane) for lane in self._due(lanes)]
        for duty in self._telling(lanes) + samples:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await duty()
            except (RedisError, OSError) as error:
                troubles.append(error)
        if troubles:
            raise troubles[0]

    def _telling(self, lanes: Mapping[str, Lane]) -> list[Duty]:
        """What empties the taps; a watch that is over is forgotten."""
        now, duties = self._clock.monotonic(), list[Duty]()
        for source, tap in list(self._signals.taps.items()):
            if tap.until < now:
                del self._signals.taps[source]
            elif (lane := lanes.get(source)) is not None and (seen := tap.take()):
                duties.append(partial(tell, self._redis, self._keys, lane.source, seen))
        return duties

    def _due(self, lanes: Mapping[str, Lane]) -> list[Lane]:
        """The lanes whose second has come since the last look, if there is something to tell of them."""
        begun, self._second = self._second, self._seconds()
        passed = {second % SAMPLE_S for second in range(max(begun, self._second - SAMPLE_S) + 1, self._second + 1)}
        if not passed:
            return []
        self._signals.keep(lanes.keys())
        self._restless &= lanes.keys()
        return [lane for name, lane in lanes.items() if crc32(name.encode()) % SAMPLE_S in passed and self._stirs(lane)]

    def _stirs(self, lane: Lane) -> bool:
        """Whether there is something to tell: what it did, what it holds, or that it holds nothing any more."""
        name, was_astir = lane.source.name, lane.source.name in self._restless
        (self._restless.add if lane.astir else self._restless.discard)(name)
        return lane.astir or was_astir or not self._signals.of(name).empty

    async def _sample(self, lane: Lane) -> None:
        counts = self._signals.take(lane.source.name)
        await sample(self._redis, self._keys, lane.source, counts.tallies, done=counts.done)
