"""The demo's course: start the world, let bots talk and faults strike, drain, audit, tell."""

import asyncio
import time
from contextlib import suppress

from rich.live import Live

from pombo.ops.demo import screen
from pombo.ops.demo.bots import BAD_IDS, Bots
from pombo.ops.demo.faults import Fault, due, refusal
from pombo.ops.demo.kills import Kills
from pombo.ops.demo.tally import Tally, compare
from pombo.ops.demo.world import SOURCES, WORKERS, World
from pombo.shared.logs import configure_logs
from pombo.shared.processes import on_stop_signals

UNATTENDED_S = 17.0
"""Seconds that the bots talk when no terminal is attached and none are given."""
FRAME_S = 0.25
LINE_S = 2.0
DRAIN_S = 60.0
_TICK_S = 0.1


def demo(seconds: float | None, rate: float) -> int:
    """Run the demo; 0 when the audit balances and nothing was lost, doubled or reordered, else 1."""
    configure_logs("error", "console")
    return asyncio.run(Demo(seconds, rate).run())


class Demo:
    """One run of the demo.

    1. The world starts: a server, a simulated Segment, two workers.
    2. Bots talk while faults strike, for some seconds or until Ctrl-C.
    3. The workers drain what is left; another Ctrl-C cuts that short.
    4. The audit, and the comparison of what the bots were told with what Segment got.
    """

    def __init__(self, seconds: float | None, rate: float) -> None:
        self._console = screen.console()
        self._attended = self._console.is_terminal
        self._seconds = seconds if seconds is not None or self._attended else UNATTENDED_S
        self._rate = rate
        self._tally = Tally()
        self._story = screen.Story()
        self._kills = Kills()
        self._meter = screen.Meter()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._world = World()
        self._began = 0.0

    async def run(self) -> int:
        """Run it, and say what happened."""
        on_stop_signals(self._end)
        self._console.print("Starting a server, a simulated Segment and two workers…", style="dim")
        async with self._world:
            self._world.plan([refusal(BAD_IDS)])
            self._began = time.monotonic()
            watch = asyncio.create_task(self._watch())
            faults = asyncio.create_task(self._strike())
            timer = asyncio.create_task(self._time())
            try:
                await Bots(SOURCES, self._world.settings, self._tally, self._rate).run(self._stop)
                await self._drain()
            finally:
                for task in (watch, faults, timer):
                    task.cancel()
                ended = await asyncio.gather(watch, faults, timer, return_exceptions=True)
            for failure in ended:
                if isinstance(failure, Exception):
                    raise failure
            return await self._conclude()

    def _end(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _second(self) -> float:
        return time.monotonic() - self._began

    async def _time(self) -> None:
        if self._seconds is not None:
            await asyncio.sleep(self._seconds)
            self._stop.set()

    def _tell(self, text: str) -> None:
        self._story.tell(self._second(), text)
        if not self._attended:
            self._console.print(f"{self._second():5.1f} s  >>> {text}", style="yellow")

    # -- faults --

    async def _strike(self) -> None:
        before = 0.0
        while not self._stop.is_set():
            now = self._second()
            for fault in due(before, now):
                await self._commit(fault)
            await self._note_takeovers()
            before = now
            await asyncio.sleep(_TICK_S)

    async def _commit(self, fault: Fault) -> None:
        self._tell(fault.text)
        if fault.rule is not None:
            self._world.plan([fault.rule, refusal(BAD_IDS)])
        elif fault.action == "kill":
            await self._kill()

    async def _kill(self) -> None:
        """Kill the worker that holds most."""
        pids = self._world.supervisor.pids
        workers = {worker.pid: worker for worker in (await self._world.overview()).workers}
        held = {name: workers[pid].partitions for name, pid in pids.items() if pid in workers}
        name = max(held, key=lambda one: held[one], default=WORKERS[0])
        victim = workers.get(pids.get(name))
        self._world.supervisor.kill(name)
        if victim is not None:
            self._kills.note(victim.id, time.monotonic())

    async def _note_takeovers(self) -> None:
        """Note when a killed worker's partitions have all found another owner."""
        if not self._kills.waiting:
            return
        for waited in self._kills.look(await self._world.owners(), time.monotonic()):
            self._tell(f"its partitions are served again, {waited:.1f} s after the kill")

    # -- figures --

    async def _watch(self) -> None:
        if not self._attended:
            while True:
                frame = await self._frame()
                self._console.print(screen.plain(frame))
                await asyncio.sleep(LINE_S)
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            while True:
                live.update(screen.live(await self._frame(), self._story))
                await asyncio.sleep(FRAME_S)

    async def _frame(self) -> screen.Frame:
        overview = await self._world.overview()
        delivered = sum(view.ledger.delivered for view in overview.sources.values())
        return screen.Frame(
            second=self._second(),
            ending=self._ending(),
            overview=overview,
            pids=self._world.supervisor.pids,
            requests=len(self._world.simulator.requests()),
            rate=self._meter.rate(self._second(), delivered),
        )

    def _ending(self) -> str:
        if self._stop.is_set():
            return "the bots are silent; draining"
        return "Ctrl-C ends it" if self._seconds is None else f"the bots talk for {self._seconds:.0f} s"

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while (await self._world.left() or self._kills.waiting) and not self._hurry.is_set():
                    await self._note_takeovers()
                    await asyncio.sleep(_TICK_S)

    async def _conclude(self) -> int:
        report = await self._world.audit()
        letters = await self._world.letters()
        dead = [letter.event["messageId"] for letter in letters]
        outcome = screen.Outcome(
            tally=self._tally,
            verdict=compare(self._tally.accepted, self._world.simulator.events(), dead),
            report=report,
            letters=letters,
            kills=self._kills,
        )
        self._console.print(screen.summary(outcome, self._story, words=self._world.last_words()))
        return 0 if outcome.well else 1
