"""What the kernel knows of a process and its children: CPU and memory, as others see them. Linux only."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """At a moment (monotonic, s): events delivered so far, CPU seconds used, bytes of resident memory."""

    at: float
    delivered: int
    cpu: float
    rss: int


def tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split():
            yield from tree(int(child))


def cpu_s(pid: int) -> float:
    """CPU seconds that one process used, all threads, by the nanosecond clock that POSIX gives every process."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def rss_bytes(pid: int) -> int:
    """Bytes of memory that one process holds; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
    return 0


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its living descendants."""
    return sum(map(cpu_s, tree(pid)))


def watch(process: "Popen[Any]", delivered: Callable[[], int], total: int, *, every_s: float = 0.02) -> list[Sample]:
    """Sample a worker until it has delivered `total`, or ended."""
    samples: list[Sample] = []
    while process.poll() is None:
        pids = list(tree(process.pid))
        samples.append(Sample(time.monotonic(), delivered(), sum(map(cpu_s, pids)), sum(map(rss_bytes, pids))))
        if samples[-1].delivered >= total:
            break
        time.sleep(every_s)
    return samples


def between(samples: Sequence[Sample], total: int, *, low: float = 0.1, high: float = 0.95) -> list[Sample]:
    """The steady part of a delivery: by default from a tenth of its events to nineteen twentieths.

    Raises:
        ValueError: the samples are too few.
    """
    steady = [one for one in samples if low * total <= one.delivered <= high * total]
    if len(steady) < 2 or steady[0].delivered == steady[-1].delivered:
        raise ValueError(f"{len(samples)} samples do not show a steady delivery of {total} events")
    return steady


def cpu_us_per_event(steady: Sequence[Sample]) -> float:
    """Microseconds of CPU for each event between the first and the last sample."""
    first, last = steady[0], steady[-1]
    return (last.cpu - first.cpu) / (last.delivered - first.delivered) * 1e6


def rate(steady: Sequence[Sample]) -> float:
    """Events a second between the first and the last sample."""
    first, last = steady[0], steady[-1]
    return (last.delivered - first.delivered) / (last.at - first.at)


def growth(steady: Sequence[Sample]) -> int:
    """Bytes by which memory rose above its first value, at its peak."""
    return max(one.rss for one in steady) - steady[0].rss
