"""The demo's course: start the world, let bots talk and faults strike, drain, audit, tell."""

import asyncio
import signal
import time
from contextlib import suppress

from rich.live import Live

from pombo.ops.demo import screen
from pombo.ops.demo.bots import BAD_IDS, Bots
from pombo.ops.demo.faults import Fault, due, refusal
from pombo.ops.demo.tally import Tally, compare
from pombo.ops.demo.world import SOURCES, WORKERS, World
from pombo.shared.logs import configure_logs

UNATTENDED_S = 17.0
"""Seconds that the bots talk when no terminal is attached and none are given."""
FRAME_S = 0.25
LINE_S = 2.0
DRAIN_S = 60.0


def demo(seconds: float | None, rate: float) -> int:
    """Run the demo; 0 when the audit balances and nothing was lost, doubled or reordered, else 1."""
    configure_logs("error", "console")
    return asyncio.run(Demo(seconds, rate).run())


class Demo:
    """One run of the demo."""

    def __init__(self, seconds: float | None, rate: float) -> None:
        self._console = screen.console()
        self._attended = self._console.is_terminal
        self._seconds = seconds if seconds is not None or self._attended else UNATTENDED_S
        self._rate = rate
        self._tally = Tally()
        self._story = screen.Story()
        self._stop = asyncio.Event()
        self._began = 0.0
        self._killed: dict[str, float] = {}
        self._replaced: list[float] = []

    async def run(self) -> int:
        """Run it, and say what happened."""
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, self._stop.set)
        self._console.print("starting a server, a simulated Segment and two workers…", style="dim")
        async with World() as world:
            self._world = world
            world.plan([refusals()])
            self._began = time.monotonic()
            bots = Bots(SOURCES, world.settings, self._tally, self._rate)
            watch = asyncio.create_task(self._watch())
            faults = asyncio.create_task(self._strike())
            timer = asyncio.create_task(self._time())
            await bots.run(self._stop)
            await self._drain()
            for task in (watch, faults, timer):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            return await self._conclude()

    def _second(self) -> float:
        return time.monotonic() - self._began

    async def _time(self) -> None:
        if self._seconds is not None:
            await asyncio.sleep(self._seconds)
            self._stop.set()

    # -- faults ---------------------------------------------------------------------------------------------------

    async def _strike(self) -> None:
        before = 0.0
        while not self._stop.is_set():
            now = self._second()
            for fault in due(before, now):
                await self._commit(fault)
            before = now
            await asyncio.sleep(0.1)

    async def _commit(self, fault: Fault) -> None:
        self._story.tell(self._second(), fault.text)
        if not self._attended:
            self._console.print(f"{self._second():5.1f} s  >>> {fault.text}", style="yellow")
        if fault.rule is not None:
            self._world.plan([fault.rule, refusals()])
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
            self._killed[victim.id] = time.monotonic()

    async def _note_takeovers(self) -> None:
        """Note when a killed worker's partitions have all found another owner."""
        for worker, killed in list(self._killed.items()):
            leases = await self._leases()
            if not any(lease.startswith(f"{worker}:") for lease in leases):
                took = time.monotonic() - killed
                del self._killed[worker]
                self._replaced.append(took)
                self._story.tell(
                    self._second(), f"its partitions are served again, {took:.1f} s after the kill"
                )

    async def _leases(self) -> list[str]:
        redis, keys = self._world.redis, self._world.keys
        names = [keys.of(name).lease(number) for name in SOURCES for number in range(4)]
        return [(lease or b"").decode() for lease in [await redis.get(name) for name in names]]

    # -- figures --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        if not self._attended:
            while True:
                await self._note_takeovers()
                overview = await self._world.overview()
                self._console.print(
                    screen.plain(self._second(), overview, len(self._world.simulator.requests()))
                )
                await asyncio.sleep(LINE_S)
        with Live(console=self._console, refresh_per_second=8, transient=True) as live:
            while True:
                await self._note_takeovers()
                overview = await self._world.overview()
                requests = len(self._world.simulator.requests())
                live.update(screen.live(self._second(), overview, requests, self._story, self._ending()))
                await asyncio.sleep(FRAME_S)

    def _ending(self) -> str:
        if self._stop.is_set():
            return "the bots are silent; draining"
        return "Ctrl-C ends it" if self._seconds is None else f"the bots talk for {self._seconds:.0f} s"

    async def _drain(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while await self._world.left() or self._killed:
                    await asyncio.sleep(0.1)

    async def _conclude(self) -> int:
        report = await self._world.audit()
        letters = await self._world.letters()
        dead = [letter.event["messageId"] for letter in letters]
        verdict = compare(self._tally.accepted, self._world.simulator.events(), dead)
        self._console.print(
            screen.summary(self._tally, verdict, report, letters, self._story, takeovers=self._takeovers())
        )
        return 0 if report.balanced and verdict.well else 1

    def _takeovers(self) -> str:
        if not self._replaced:
            return "no worker was killed"
        return f"{len(self._replaced)} worker killed with -9; its partitions were served again after {max(self._replaced):.1f} s"


def refusals() -> dict[str, object]:
    """Segment refuses the bots' broken events."""
    return refusal(BAD_IDS)
