"""Child processes that are kept running: what `up`, `demo` and `worker --processes` start.

A child's life: it is started in a session of its own, so that Ctrl-C reaches the supervisor alone; it is
started again, with backoff, whenever it ended by itself, unless with the exit code of wrong usage; at `stop`
it is asked to end, together with all others, and killed after its grace. When the supervisor is killed,
`pombo.shared.lifeline` ends it.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pombo.shared.clock import Clock, SystemClock
from pombo.shared.lifeline import GRACE_S, PARENT_FD
from pombo.shared.logs import get_logger

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 10.0
FINAL_CODE = 2
"""Exit code of wrong usage or configuration, which no restart heals."""
HEALTHY_AFTER_S = 60.0
"""Seconds a child must have lived for its earlier deaths to be forgotten."""

log = get_logger("pombo.processes")


@dataclass(frozen=True, kw_only=True)
class ChildSpec:
    """What to run, and how: `env` is set on top of this process's environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    grace_s: float = GRACE_S
    """Seconds between SIGTERM and SIGKILL."""
    restart: bool = True
    """Whether it is started again when it ended; `worker --drain` is not."""
    fds: Sequence[int] = ()
    """Descriptors of ours that it gets under the same numbers; ours stay open, so that its successor gets them too."""


def restart_delay(deaths: int) -> float:
    """Seconds to wait before starting a child again that died `deaths` (1, 2, …) times in a row."""
    return min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(deaths - 1, 16))


def deaths_in_row(before: int, lived_s: float) -> int:
    """The count of deaths after one more, of a child that lived for `lived_s` seconds."""
    return 1 if lived_s >= HEALTHY_AFTER_S else before + 1


def on_stop_signals(stop: Callable[[], object]) -> None:
    """Have the running loop call `stop` at SIGTERM, at Ctrl-C and, unless under nohup, at a closed terminal."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if name != signal.SIGHUP or signal.getsignal(name) != signal.SIG_IGN:
            loop.add_signal_handler(name, stop)


class _Child:
    """A child: its specification, its current process, and the task that keeps one running."""

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process) -> None:
        self.spec = spec
        self.process = process
        self.restarts = 0
        self.keeper: asyncio.Task[int]

    def signal(self, number: int) -> None:
        """Send the process a signal, if it lives."""
        _send(self.process, number)

    def kill_group(self) -> None:
        """Kill the process and whatever it started in its session."""
        # macOS forbids signals to a group that is dead but not yet reaped.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Start children, keep them running, and stop them together; an async context manager that stops at exit.

    Args:
        backoff: seconds to wait after the n-th death in a row.
        clock: measures lives and waits out the backoff.
    """

    def __init__(self, *, backoff: Callable[[int], float] = restart_delay, clock: Clock | None = None) -> None:
        self._backoff = backoff
        self._clock = clock or SystemClock()
        self._children: dict[str, _Child] = {}
        self._stopping = asyncio.Event()
        # A child holds the read end; nobody writes, and the write end closes with this process.
        self._read_end, self._write_end = os.pipe()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that run, by name."""
        living = {name: child.process for name, child in self._children.items()}
        return {name: process.pid for name, process in living.items() if process.returncode is None}

    @property
    def restarts(self) -> dict[str, int]:
        """How often each child was started again."""
        return {name: child.restarts for name, child in self._children.items()}

    async def start(self, spec: ChildSpec) -> None:
        """Start a child, and keep it running until `stop`, or until it ends with `FINAL_CODE`.

        Raises:
            OSError: its program cannot be run.
            ValueError: there is a child of that name.
            RuntimeError: the supervisor is stopping.
        """
        if spec.name in self._children:
            raise ValueError(f"there is a child named {spec.name!r} already")
        if self._stopping.is_set():
            raise RuntimeError(f"no new child {spec.name!r}: the supervisor is stopping")
        child = _Child(spec, await self._spawn(spec))
        self._children[spec.name] = child
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {spec.name}")

    async def wait(self) -> dict[str, int]:
        """Wait until every child has ended for good; exit codes by name, negative for a signal's number."""
        codes = await asyncio.gather(*(child.keeper for child in self._children.values()))
        return dict(zip(self._children, codes, strict=True))

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a child a signal; one that is dead already is left alone.

        Raises:
            KeyError: there is no child of that name.
        """
        self._children[name].signal(number)

    async def stop(self) -> None:
        """Ask all children to end at once, kill those that outlast their grace; return when all are gone."""
        self._stopping.set()
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        await asyncio.gather(*map(self._finish, self._children.values()))
        self._cut_lifeline()

    async def _keep(self, child: _Child) -> int:
        """Wait for a child's end, and start it again unless that is meant; its last exit code."""
        spec, deaths = child.spec, 0
        while True:
            born = self._clock.monotonic()
            code = await child.process.wait()
            child.kill_group()
            if self._stopping.is_set() or not spec.restart:
                return code
            if code == FINAL_CODE:
                log.error("child.misconfigured", child=spec.name, code=code, note="it is not started again")
                return code
            deaths = deaths_in_row(deaths, self._clock.monotonic() - born)
            log.warning("child.died", child=spec.name, pid=child.process.pid, code=code, deaths=deaths)
            if not await self._respawn(child, deaths):
                return code

    async def _respawn(self, child: _Child, deaths: int) -> bool:
        """Start the child's next process after the backoff; False when the supervisor stops before."""
        while not await self._stops_within(self._backoff(deaths)):
            try:
                child.process = await self._spawn(child.spec)
            except OSError as error:
                deaths += 1
                log.error("child.not_started", child=child.spec.name, error=str(error), deaths=deaths)
                continue
            child.restarts += 1
            return True
        return False

    async def _stops_within(self, seconds: float) -> bool:
        """Wait for `seconds`, or less if the supervisor stops; return whether it does."""
        waits = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return self._stopping.is_set()

    async def _spawn(self, spec: ChildSpec) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *spec.argv,
            env={**os.environ, **spec.env, PARENT_FD: str(self._read_end)},
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(self._read_end, *spec.fds),
            start_new_session=True,
        )
        log.info("child.started", child=spec.name, pid=process.pid)
        if self._stopping.is_set():
            # `stop` was called meanwhile and asked the others already.
            _send(process, signal.SIGTERM)
        return process

    async def _finish(self, child: _Child) -> None:
        """Wait for a child that was asked to end, and kill it after its grace."""
        _, late = await asyncio.wait({child.keeper}, timeout=child.spec.grace_s)
        if late:
            log.warning("child.killed", child=child.spec.name, pid=child.process.pid, after_s=child.spec.grace_s)
            child.kill_group()
            await child.keeper

    def _cut_lifeline(self) -> None:
        if self._write_end >= 0:
            os.close(self._read_end)
            os.close(self._write_end)
        self._read_end = self._write_end = -1


def _send(process: asyncio.subprocess.Process, number: int) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
