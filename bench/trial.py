"""What every measured process shares: its events, its clocks, and one line of JSON as its result.

Standard library only: the SDK's trial runs in an environment that holds nothing of pombo.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

SOURCE = "bench"
PARTITIONS = 8

Event = dict[str, Any]
Result = dict[str, float]
T = TypeVar("T")
Call = Callable[[], T]
"""One call of what is measured."""


def main(trials: Mapping[str, Callable[..., Result]]) -> None:
    """Run the trial that the first argument names, with the second (JSON) as its arguments, and print its result."""
    name, given = sys.argv[1:]
    result = trials[name](**json.loads(given))
    sys.stdout.write(json.dumps(result) + "\n")


def read(path: str, count: int) -> list[Event]:
    """The first `count` events of a file; from its start again where it is shorter."""
    lines = Path(path).read_bytes().splitlines()
    return [json.loads(line) for line in islice(cycle(lines), count)]


def ready(path: str, count: int) -> list[bytes]:
    """`count` events as serialised bytes of the size that Segment gets, for what measures no serialising."""
    stamp = {"context": {"library": {"name": "pombo", "version": "0"}}, "timestamp": "2026-01-01T00:00:00.000Z"}
    return [
        json.dumps({"messageId": str(uuid4()), **event, **stamp}, separators=(",", ":"), ensure_ascii=False).encode()
        for event in read(path, count)
    ]


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


def timed(calls: Sequence[Call[object]], *, pace_s: float = 0.0) -> list[int]:
    """Make the calls one after the other, or one each `pace_s` seconds; nanoseconds that each took its caller."""
    return list(_timed(at_pace(calls, pace_s) if pace_s else calls))


def _timed(calls: Iterable[Call[object]]) -> Iterator[int]:
    clock = time.perf_counter_ns
    for call in calls:
        begun = clock()
        call()
        yield clock() - begun


def at_pace(some: Iterable[T], pace_s: float) -> Iterator[T]:
    """Yield one each `pace_s` seconds; who was late catches up."""
    begun = time.monotonic()
    for number, one in enumerate(some):
        wait = begun + number * pace_s - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        yield one


def caller_times(spent: Sequence[int]) -> Result:
    """Median and 99th percentile of what the calls took, in microseconds."""
    ordered = sorted(spent)
    return {f"call_p{share}_us": ordered[len(ordered) * share // 100] / 1000 for share in (50, 99)}
