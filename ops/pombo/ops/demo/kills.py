"""Workers killed with -9, and how long their partitions waited for another."""

from collections.abc import Set
from dataclasses import dataclass, field


@dataclass(slots=True)
class Kills:
    """Remember who was killed when; times are monotonic seconds."""

    waiting: dict[str, float] = field(default_factory=dict)
    """Killed workers whose partitions have not all found another owner, and when they were killed."""
    took: list[float] = field(default_factory=list)
    """Seconds that the partitions of the others waited."""

    def note(self, worker: str, now: float) -> None:
        """A worker was killed."""
        self.waiting[worker] = now

    def look(self, owners: Set[str], now: float) -> list[float]:
        """Take in who holds partitions; the waits that have ended."""
        ended = [worker for worker in self.waiting if worker not in owners]
        waits = [now - self.waiting.pop(worker) for worker in ended]
        self.took += waits
        return waits

    def describe(self) -> str:
        """What happened, as a sentence."""
        number = len(self.took) + len(self.waiting)
        if not number:
            return "No worker was killed."
        if self.waiting:
            return f"{number} killed with -9, and not all partitions found another worker."
        if number == 1:
            return f"A worker was killed with -9; others served its partitions {self.took[0]:.1f} s later."
        return (
            f"{number} times a worker was killed with -9; others served its partitions "
            f"{max(self.took):.1f} s later at most."
        )
