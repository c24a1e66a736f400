"""Who lives: workers whose beat moved lately, on the observer's own clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the fleet notices: all in seconds."""

    beat: float = 1.0
    """Between two beats of a worker."""
    fence: float = 6.0
    """Silence after which a worker itself sends nothing more: less than `takeover`, so that it stops first."""
    missing: float = 3.0
    """Silence after which a worker is given no partitions: some beats, so that one late beat moves nothing."""
    takeover: float = 8.0
    """Silence after which a worker counts as dead and its leases are taken over."""
    forget: float = 60.0
    """Silence after which a dead worker is forgotten altogether."""


PACE = Pace()


def silence(at: float, now: float) -> float:
    """Seconds that a worker has certainly been silent.

    Args:
        at: the second in which its beat moved last, as Redis noted it. Seconds are whole, so two say nothing.
        now: Redis' clock in seconds.
    """
    return now - at - 2.0


@dataclass(slots=True)
class _Sighting:
    beat: int
    moved: float


@dataclass(slots=True)
class Membership:
    """Remember when each worker's beat last moved; times are the observer's monotonic seconds."""

    pace: Pace = PACE
    _seen: dict[str, _Sighting] = field(default_factory=dict)
    _absent: dict[str, float] = field(default_factory=dict)

    def observe(self, beats: Mapping[str, int], now: float, silences: Mapping[str, float] | None = None) -> None:
        """Take in the beats read at `now`.

        Args:
            beats: each worker's counter.
            now: monotonic seconds.
            silences: seconds that workers seem to have been silent, by Redis' clock: for those never seen before.
                Believed only so far that the takeover still needs a silence of our own seeing.
        """
        most = self.pace.takeover - self.pace.missing
        for gone in self._seen.keys() - beats.keys():
            del self._seen[gone]
        for back in self._absent.keys() & beats.keys():
            del self._absent[back]
        for worker, beat in beats.items():
            sighting = self._seen.get(worker)
            if sighting is None:
                told = (silences or {}).get(worker, 0.0)
                self._seen[worker] = _Sighting(beat, now - min(max(told, 0.0), most))
            elif sighting.beat != beat:
                self._seen[worker] = _Sighting(beat, now)

    def excuse(self, now: float) -> None:
        """Start all silences anew: nobody could beat while Redis was away, so nobody is dead for it."""
        for sighting in self._seen.values():
            sighting.moved = now
        self._absent = dict.fromkeys(self._absent, now)

    def live(self, now: float) -> set[str]:
        """The workers that may be given partitions: their beat moved lately."""
        return {worker for worker, s in self._seen.items() if now - s.moved < self.pace.missing}

    def silent(self, now: float) -> set[str]:
        """The workers to forget."""
        return {worker for worker, s in self._seen.items() if now - s.moved >= self.pace.forget}

    def dead(self, worker: str, now: float) -> bool:
        """Whether leases of `worker` may be taken over: silent, or not in the fleet, for the takeover time."""
        sighting = self._seen.get(worker)
        since = self._absent.setdefault(worker, now) if sighting is None else sighting.moved
        return now - since >= self.pace.takeover
