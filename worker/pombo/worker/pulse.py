"""A worker process' pulse, observed at each beat: how late its loop is, its memory and its CPU."""

import time

from pombo.shared.clock import Clock
from pombo.worker.metrics import Metrics
from pombo.worker.parts import Room
from pombo.worker.vitals import resident_bytes


class Pulse:
    """Wait between beats, and note what that tells of the process."""

    def __init__(self, metrics: Metrics, room: Room, clock: Clock) -> None:
        self._metrics = metrics
        self._room = room
        self._clock = clock
        self._cpu = 0.0
        self._note()

    async def sleep(self, seconds: float) -> None:
        """Sleep, and observe by how much longer it took: so late is everything that this loop does."""
        begun = self._clock.monotonic()
        await self._clock.sleep(seconds)
        self._metrics.loop_lag_seconds.observe(max(0.0, self._clock.monotonic() - begun - seconds))
        self._note()

    def _note(self) -> None:
        cpu = time.process_time()
        self._metrics.cpu_seconds.inc(cpu - self._cpu)
        self._cpu = cpu
        self._metrics.buffer_bytes.set(self._room.used)
        self._metrics.buffer_limit_bytes.set(self._room.limit)
        self._metrics.resident_bytes.set(resident_bytes())
