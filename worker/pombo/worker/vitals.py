"""Vitals: what a worker tells of itself at each beat, for those who look at the fleet."""

import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Vitals:
    """A worker at one moment."""

    partitions: int = 0
    """That it holds."""
    in_flight: int = 0
    """Events that it claimed and has not settled."""
    memory: int = 0
    """Bytes that its process has resident; 0: unknown."""
    takeovers: int = 0
    """Leases taken over from workers that fell silent, since it started."""

    def describe(self) -> dict[str, int]:
        """The vitals as a part of the worker's description."""
        return asdict(self)


def resident_bytes() -> int:
    """Bytes of memory that this process has resident; where the system does not tell, the most that it ever had."""
    try:
        return int(_STATM.read_bytes().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
