"""A world of simulated processes: one clock, one network, one server, and whatever weather it is given.

Nothing in it happens by itself or in parallel: the world runs the process that has something due, then lets the next
message arrive, then jumps to the next timer. So a world of the same seed is the same world again, step by step.
"""

import asyncio
import heapq
import logging
import os
import random
import secrets
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from chaos.errand import Effect, Errand
from chaos.simloop import SimLoop
from chaos.virtualserver import VirtualServer
from chaos.weather import Step, Weather
from pombo.shared.clock import Clock
from support.virtualscript import EPOCH

_NEVER: Final = float("inf")
_RUNAWAY: Final = 200_000
"""Steps after which a world is taken for one that goes round in circles."""


class StuckError(Exception):
    """The world cannot go on, or does not come to its end."""


class Process:
    """One process: a loop, clocks, and steps to the outside that the weather decides about."""

    def __init__(self, world: "World", name: str, *, shielded: bool) -> None:
        self.name = name
        self.shielded = shielded
        """Whether no weather reaches it."""
        self.world = world
        self.loop = SimLoop(lambda: world.now)
        self.clock = SimClock(self)
        self.rng = random.Random(f"{world.seed}/{name}")
        self.lives = True
        self.frozen_until = 0.0
        self.identity = ""
        """Of a worker, as its leases have it."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.cut: set[str] = set()
        """What it cannot reach: `redis`, `segment`."""
        self.on_death: list[Callable[[], None]] = []

    def start(self, main: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Have it run something."""
        task = self.loop.create_task(main)
        self.tasks.append(task)
        return task

    @property
    def runs(self) -> bool:
        """Whether it was not killed, and has not ended by itself."""
        return self.lives and not all(task.done() for task in self.tasks)

    def kill(self) -> None:
        """Kill it with -9."""
        if self.lives:
            self.lives = False
            self.world.note(self.name, "killed -9")
            for call in self.on_death:
                call()

    def freeze(self, seconds: float) -> None:
        """Stop it, as SIGSTOP does, and have it go on later, when it is not stopped for longer already."""
        self.world.note(self.name, f"frozen for {seconds:g} s")
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    def next_at(self) -> float:
        """When it has something to do."""
        at = self.loop.next_at() if self.lives else None
        return _NEVER if at is None else max(at, self.frozen_until)

    async def step(
        self, kind: str, name: str, effect: Callable[[], Any], patience_s: float, *, note: str = "",
        command: Sequence[Any] = (),
    ) -> Any:  # fmt: skip
        """Have `effect` happen out there and bring back what it returns or raises; `command` is for who watches.

        Raises:
            ConnectionError: not sent, with `sent` False, or the answer lost.
            TimeoutError: no answer within `patience_s`.
        """
        return await Errand(self, kind, name, effect, patience_s).run(note, command)


class SimClock(Clock):
    """One process's clocks."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return self._process.world.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World:
    """One run. `samples` are called after every effect."""

    def __init__(self, server: VirtualServer, weather: Weather, seed: object) -> None:
        self.server = server
        self.weather = weather
        self.seed = seed
        self.now = 0.0
        self.rng = random.Random(f"{seed}/world")
        self.processes: list[Process] = []
        self.steps = 0
        self.trace: list[list[Any]] = []
        self.samples: list[Callable[[Effect], None]] = []
        self.refusing = False
        """Redis refuses connections."""
        self.stalled = False
        """Redis answers nobody, though connections stay."""
        self.overtaken: dict[str, Callable[[], None]] = {}
        """How to go on for processes that are stopped until somebody takes their lease."""
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    # -- processes ------------------------------------------------------------------------------------------------

    def process(self, name: str, *, shielded: bool = False) -> Process:
        """Begin a process; one that is shielded lives outside of all weather."""
        made = Process(self, name, shielded=shielded)
        self.processes.append(made)
        return made

    def next_step(self, process: Process, kind: str, name: str) -> Step:
        """Number a step."""
        self.steps += 1
        if self.steps > _RUNAWAY:
            raise StuckError(f"{self.steps} steps, and no end")
        return Step(self.steps, process.name, kind, name)

    def stalls(self, process: Process, kind: str) -> bool:
        """Whether what is on its way waits."""
        away = kind == "redis" and (self.stalled or self.refusing) and not process.shielded
        return away or kind in process.cut

    def happened(self, effect: Effect) -> None:
        """Have everybody look who looks."""
        for sample in self.samples:
            sample(effect)

    def thaw(self, name: str) -> None:
        """Have a process go on that is stopped until somebody takes its lease, if it still is."""
        go_on = self.overtaken.pop(name, None)
        if go_on is not None:
            go_on()

    # -- time -----------------------------------------------------------------------------------------------------

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something in so many seconds."""
        self._count += 1
        heapq.heappush(self._events, (self.now + seconds, self._count, call))

    def run(self, main: "asyncio.Task[Any]", limit_s: float) -> Any:
        """Go on until a task is done; return its result.

        Raises:
            StuckError: it is not done after `limit_s` virtual seconds, or nothing can happen any more.
        """
        while not main.done():
            process = min(self.processes, key=Process.next_at)
            process_at, event_at = process.next_at(), self._events[0][0] if self._events else _NEVER
            at = min(process_at, event_at)
            if at > limit_s:
                raise StuckError("nothing can happen any more" if at == _NEVER else f"not done after {limit_s:g} s")
            self.now = max(self.now, at)
            if process_at <= event_at:
                process.loop.run_due()
            else:
                heapq.heappop(self._events)[2]()
        return main.result()

    # -- what is told ---------------------------------------------------------------------------------------------

    def note(self, who: str, what: str, more: str = "") -> list[Any]:
        """Write a line of the trace; what comes of it may be added to the line."""
        line: list[Any] = [self.now, who, what, more]
        self.trace.append(line)
        return line


class _Diary(logging.Handler):
    """What the product logs, in the trace."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.WARNING)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.msg if isinstance(record.msg, str) else str(record.msg)
        detail = str(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        self._world.note("log", text % record.args if record.args else text, detail)


@contextmanager
def made_world(server: VirtualServer, weather: Weather, seed: object) -> Iterator[World]:
    """A world on an empty server. While it lasts, all that differs from run to run in this Python is the world's."""
    server.reset()
    world = World(server, weather, seed)
    source, diary, logger = random.Random(f"{seed}/tokens"), _Diary(world), logging.getLogger("pombo")
    with ExitStack() as stack:
        stack.callback(_bury, world)
        for owner, name, made in (
            (secrets, "token_hex", lambda nbytes=None: source.randbytes(nbytes or 32).hex()),
            (os, "getpid", lambda: 1),
            (socket, "gethostname", lambda: "host"),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, made)
        stack.callback(logger.setLevel, logger.level)
        stack.callback(setattr, logger, "propagate", logger.propagate)
        stack.callback(logger.removeHandler, diary)
        logger.addHandler(diary)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        yield world


def _bury(world: World) -> None:
    """Let every task of the world end, where nobody sees it."""
    for process in world.processes:
        process.lives = False
        asyncio._set_running_loop(process.loop)
        try:
            for task in asyncio.all_tasks(process.loop):
                task.cancel()
        finally:
            asyncio._set_running_loop(None)
        for _ in range(20):
            process.loop.run_due()
