from datetime import UTC, datetime

from pombo.worker.metrics import Metrics
from pombo.worker.parts import Room
from pombo.worker.pulse import Pulse
from pombo.worker.vitals import resident_bytes


class Late:
    """A clock whose sleeps take half a second too long."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds + 0.5


async def test_a_late_loop_is_seen() -> None:
    """Each sleep tells how late the loop was, what the process holds, and the CPU that it has used by then."""
    metrics, room = Metrics(), Room(limit=1000)
    pulse = Pulse(metrics, room, Late())
    room.used = 70
    await pulse.sleep(1)
    of = metrics.registry.get_sample_value
    assert (1, 0.5) == (of("pombo_loop_lag_seconds_count"), of("pombo_loop_lag_seconds_sum"))
    assert (70, 1000) == (of("pombo_worker_buffer_bytes"), of("pombo_worker_buffer_limit_bytes"))
    assert (of("pombo_worker_cpu_seconds_total") or 0) > 0
    assert (of("pombo_worker_resident_bytes") or 0) > 10 << 20


def test_memory_is_the_systems_figure() -> None:
    """What this process holds is more than Python's start and less than this machine has."""
    assert 10 << 20 < resident_bytes() < 1 << 40
