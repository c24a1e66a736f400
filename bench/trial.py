"""What every measured process shares: its events, its clocks, and one line of JSON as its result.

Standard library only: the SDK's trial runs in an environment that holds nothing of pombo.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SOURCE = "bench"
PARTITIONS = 8

Event = dict[str, Any]
Result = dict[str, float]
Call = Callable[[], object]


def main(trials: Mapping[str, Callable[..., Result]]) -> None:
    """Run the trial that the first argument names, with the second (JSON) as its arguments, and print its result."""
    name, given = sys.argv[1:]
    result = trials[name](**json.loads(given))
    sys.stdout.write(json.dumps(result) + "\n")


def read(path: str, count: int) -> list[Event]:
    """The first `count` events of a file; from its start again where it is shorter."""
    lines = Path(path).read_bytes().splitlines()
    return [json.loads(line) for line in islice(cycle(lines), count)]


class Meter:
    """Seconds since it was made, on the wall and of this process's CPU (all threads)."""

    def __init__(self) -> None:
        self._cpu = _cpu()
        self._begun = time.perf_counter()

    @property
    def wall(self) -> float:
        """Wall seconds."""
        return time.perf_counter() - self._begun

    @property
    def cpu(self) -> float:
        """CPU seconds, user and system."""
        return _cpu() - self._cpu


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed(calls: Sequence[Call]) -> list[int]:
    """Make the calls one after the other; nanoseconds that each took its caller."""
    return list(_timed(calls))


def _timed(calls: Sequence[Call]) -> Iterator[int]:
    clock = time.perf_counter_ns
    for call in calls:
        begun = clock()
        call()
        yield clock() - begun


def caller_times(spent: Sequence[int]) -> Result:
    """Median and 99th percentile of what the calls took, in microseconds."""
    ordered = sorted(spent)
    return {f"call_p{share}_us": ordered[len(ordered) * share // 100] / 1000 for share in (50, 99)}


def peak_rss() -> int:
    """Bytes of this process's memory at their peak."""
    status = Path("/proc/self/status")
    if status.exists():  # The kernel's other account, ru_maxrss, begins with the parent's peak.
        (line,) = (line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
