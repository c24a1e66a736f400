"""Metrics of a crew: its processes count in files of one folder, and their supervisor shows the sums.

This is prometheus-client's multiprocess mode, with one difference: files bear a process' place in the crew, not
its pid. Who is started again goes on counting in the files of its predecessor, so that counters never fall and a
crew whose processes die often does not fill the disk.
"""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

MEMBER: Final = "POMBO_CREW_MEMBER"
"""Environment variable that gives a process its place in the crew: 1, 2, …"""
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that names the folder; prometheus-client's own."""
_TRIES: Final = 5


def crew_environment(folder: Path | None, member: int) -> dict[str, str]:
    """What a process of a crew needs to count in `folder`, if there is one, and to serve nothing by itself."""
    return {**({FOLDER: str(folder)} if folder else {}), MEMBER: str(member), "POMBO_METRICS_PORT": "0"}


def join_crew() -> int:
    """Have this process' metrics, made from now on, count in the crew's folder; its place, 1 when it is alone.

    Processes that this one starts are no members.
    """
    member = os.environ.pop(MEMBER, "")
    if not member.isdigit():
        return 1
    if os.environ.get(FOLDER):
        values.ValueClass = values.MultiProcessValue(lambda: member)  # type: ignore[no-untyped-call]
    return int(member)


def crew_registry(folder: Path) -> CollectorRegistry:
    """A registry that shows the sums over the crew's processes, those that died included."""
    registry = CollectorRegistry()
    registry.register(CrewCollector(folder))
    return registry


class CrewCollector(Collector):
    """Read the folder anew at each scrape."""

    def __init__(self, folder: Path) -> None:
        self._files = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The sums of this moment."""
        for _ in range(_TRIES - 1):
            try:
                return self._collected()
            except struct.error:
                # A process has just made its file, and not yet given it its size.
                continue
        return self._collected()

    def _collected(self) -> list[Metric]:
        return list(self._files.collect())  # type: ignore[no-untyped-call]
