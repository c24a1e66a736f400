"""Many runs, on all CPUs, and what they came to."""

import atexit
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain, count, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from chaos.explore import STORM, Outcome, points, run
from chaos.scenarios import SCENARIOS
from chaos.virtualserver import VirtualServer, virtual_server
from support.results import FOLDER, record

AT_ONCE = 10
"""Runs that are handed to a process at a time."""
SHOWN = 5
"""Runs that went wrong of which all is told."""


@dataclass
class Tally:
    """What runs came to, summed up."""

    figures: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    blows: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take one in."""
        self.figures += outcome.figures
        self.duplicates += outcome.duplicates
        self.blows += outcome.blows
        if outcome.problems:
            self.failed.append(outcome)

    def __str__(self) -> str:
        f = self.figures
        again = ", ".join(f"{number} {cause}" for cause, number in sorted(self.duplicates.items())) or "nothing"
        return (
            f"{f['runs']:,} runs, {f['steps']:,} steps, {sum(self.blows.values()):,} blows, {f['kills']:,} kills, "
            f"{f['events']:,} events, {f['requests']:,} requests, {f['recounts']:,} recounts; sent again: {again}; "
            f"{len(self.failed)} went wrong"
        )


def whole(schedules: int, *, seed: int, crew: int, first: bool = False) -> int:
    """Every blow at every step of every scenario, and random schedules; returns the exit code.

    With `first` the random ones, which meet more kinds of trouble in less time, begin, and the first run that goes
    wrong is the last one.
    """
    with _server() as (server, folder), _Crew(crew) as workers:
        storms = (f"{STORM}:{seed + number}" for number in range(schedules))
        calm = [f"{scenario}:calm" for scenario in SCENARIOS]
        if first:
            struck_all = (name for scenario in SCENARIOS for name in points(server, scenario, folder))
            tally = _told("until the first", _until_first(workers.play(chain(calm, storms, struck_all))))
            return _verdict(tally.failed)
        every = [*calm, *(name for scenario in SCENARIOS for name in points(server, scenario, folder))]
        struck = _told("every step, every blow", workers.play(every))
        drawn = _told("random schedules", workers.play(storms))
    for fault, tally in (("every blow at every step", struck), ("random schedules", drawn)):
        _record(fault, tally)
    return _verdict([*struck.failed, *drawn.failed])


def _until_first(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    for outcome in outcomes:
        yield outcome
        if outcome.problems:
            return


def long(seconds: float, *, seed: int, crew: int) -> int:
    """Random schedules for so many seconds; returns the exit code."""
    ends = time.monotonic() + seconds

    def names() -> Iterator[str]:
        for number in count(seed):
            if time.monotonic() > ends:
                return
            yield f"{STORM}:{number}"

    with _Crew(crew) as workers:
        tally = _told(f"random schedules from {seed} on", workers.play(names()))
    _record("random schedules for hours", tally)
    return _verdict(tally.failed)


def replay(names: Iterable[str]) -> int:
    """Play runs again, and print what happened; returns the exit code."""
    failed = []
    with _server() as (server, folder):
        for name in names:
            outcome = run(server, name, folder, traced=True)
            sys.stdout.write("\n".join(readable(outcome)) + "\n")
            failed += [outcome] if outcome.problems else []
    return 1 if failed else 0


def readable(outcome: Outcome) -> Iterator[str]:
    """The trace of a run for people: when, who, what, and what came of it."""
    for at, who, what, *more in outcome.trace:
        yield f"{at:10.4f}  {who:<12} {what}  {'  '.join(str(word) for word in more if word)}"
    yield f"{outcome.name}: " + ("; ".join(outcome.problems) or "all is well")


# -- many at once -----------------------------------------------------------------------------------------------------


class _Crew:
    """Processes with a server each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = ProcessPoolExecutor(size, mp_context=get_context("spawn"), initializer=_begin)

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def play(self, names: Iterable[str]) -> Iterator[Outcome]:
        """Play runs, and hand out what they came to as they end."""
        left = iter(names)
        under_way: set[Future[list[Outcome]]] = set()
        while True:
            while len(under_way) < 2 * self._size and (some := list(islice(left, AT_ONCE))):
                under_way.add(self._pool.submit(_play, some))
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


_mine: list[tuple[VirtualServer, Path]] = []


def _begin() -> None:
    stack = ExitStack()
    atexit.register(stack.close)
    _mine.append(stack.enter_context(_server()))


def _play(names: list[str]) -> list[Outcome]:
    server, folder = _mine[0]
    return [run(server, name, folder) for name in names]


@contextmanager
def _server() -> Iterator[tuple[VirtualServer, Path]]:
    # In memory where there is a disk of it: a spool's fsync costs nothing there, and no run is about the disk's own.
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="pombo-chaos-", dir=memory if os.access(memory, os.W_OK) else None)
    try:
        with virtual_server() as server:
            yield server, Path(folder) / "run"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- what is told -----------------------------------------------------------------------------------------------------


def _told(what: str, outcomes: Iterable[Outcome]) -> Tally:
    tally, begun = Tally(), time.monotonic()
    for outcome in outcomes:
        tally.add(outcome)
        if outcome.problems and len(tally.failed) <= SHOWN:
            _tell(outcome)
    sys.stdout.write(f"{what}: {tally} ({time.monotonic() - begun:.0f} s)\n")
    return tally


def _tell(outcome: Outcome) -> None:
    folder = FOLDER / "failed"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{outcome.name.replace(':', '-')}.trace"
    path.write_text("\n".join(readable(outcome)) + "\n", "utf-8")
    lines = "".join(f"    {problem}\n" for problem in outcome.problems[:SHOWN])
    sys.stdout.write(f"{outcome.name} went wrong:\n{lines}    again: make chaos RUN={outcome.name}   trace: {path}\n")


def _record(fault: str, tally: Tally) -> None:
    figures: dict[str, Any] = dict(tally.figures)
    record("Simulation", fault, str(tally), **figures, went_wrong=len(tally.failed))


def _verdict(failed: list[Outcome]) -> int:
    if failed:
        names = " ".join(outcome.name for outcome in failed[:20])
        sys.stdout.write(f"{len(failed)} runs went wrong: {names}\n")
    return 1 if failed else 0
