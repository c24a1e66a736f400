"""The stage on which scenarios play: one source, Segment, workers, bots, and an operator whom no weather reaches."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redis.exceptions import RedisError

from chaos.actors import SECRETS, WRITE_KEY, Bot, Worker
from chaos.segment import SimSegment
from chaos.virtualserver import VirtualServer
from chaos.watch import Watch
from chaos.weather import Weather
from chaos.wire import SimRedis
from chaos.world import StuckError, World, made_world
from pombo.shared.deadletters import ALL
from pombo.shared.errors import UnknownSourceError
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source
from pombo.worker.jobs.frame import Desk
from pombo.worker.jobs.redrives import Redrive

LIMIT_S = 900.0
"""Virtual seconds after which a scenario that has not ended is stuck."""
DRAINED_S = 400.0
"""Virtual seconds within which everything arrives once the faults have stopped: a parked source is probed every 300."""
AFTERMATH_S = 1.0
"""Virtual seconds for which whoever was stopped is watched once it has gone on."""
RESTART_S = 1.0
"""Virtual seconds after which a process that was killed is started again."""
HIRED = 60
"""Workers that may be needed in a scenario, with those that replace others."""
T = TypeVar("T")
Line = tuple[float, str, str]
"""When (s after the bot's start), messageId, user."""


@dataclass(eq=False)
class Stage:
    """What a scenario works with. Everything here runs in the operator's process."""

    world: World
    folder: Path
    segment: SimSegment = field(default_factory=SimSegment)
    workers: list[Worker] = field(default_factory=list)
    bots: list[Bot] = field(default_factory=list)
    wanted: int = 0
    """Workers that are kept alive."""

    def __post_init__(self) -> None:
        self.operator = self.world.process("operator", shielded=True)
        self.redis = SimRedis(self.operator)
        self.registry = Registry(self.redis, Keys(), SECRETS)
        self.watch: Watch
        self._plays: list[asyncio.Task[None]] = []
        self._number = self._jobs = 0
        self._forgetting = asyncio.Lock()

    # -- setting up -----------------------------------------------------------------------------------------------

    async def open(self, *, partitions: int = 2, rate: float = 0, **options: Any) -> Source:
        """Add the source, and begin to watch it."""
        self._options = {"partitions": partitions, "rate": rate, **options}
        self.watch = Watch(self.world, self.segment, await self._add(self._options))
        return self.watch.source

    async def _add(self, options: dict[str, Any]) -> Source:
        added = await self.registry.add("bot", WRITE_KEY, endpoint="http://segment.test", **options)
        return added.source

    def staff(self, count: int) -> list[Worker]:
        """Start workers, and from now on replace those that die."""
        if not self.wanted:
            self.operator.start(self._supervise())
        self.wanted += count
        return [self._hire() for _ in range(count)]

    def _hire(self) -> Worker:
        self._number += 1
        if self._number > HIRED:
            raise StuckError(f"{HIRED} workers have died")
        worker = Worker(self.world, f"worker-{self._number}", self.segment)
        self.workers.append(worker)
        return worker

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(RESTART_S)
            for _ in range(self.wanted - sum(not worker.gone for worker in self.workers)):
                self._hire()

    def bot(self, name: str, lines: Iterable[Line], *, spool: str = "", budget_s: float = 1.0, padding: int = 0) -> Bot:
        """Start a bot that offers these events; killed with a spool, it is started again to drain that."""
        folder = self.folder / spool if spool else None
        bot = Bot(self.world, name, budget_s=budget_s, folder=folder, padding=padding)
        self.bots.append(bot)
        self._plays.append(bot.process.start(_play(bot, list(lines))))
        return bot

    async def spoil(self, partition: int) -> None:
        """Have a batch of two events appended that nobody can read."""
        source, of, keys = self.watch.source, Keys().of("bot"), Keys()
        where = [of.ledger, of.session("spoiler"), of.stream(partition), of.losses]
        head: list[Argument] = [source.incarnation, 1, 0, 60, keys.wake]
        batch: list[Argument] = ["track=2", f"bot/{partition}", 2, 50, b"\x01\x01garbage"]
        self.watch.spoilt += 2
        await script("append").acall(self.redis, where, [*head, *batch])

    def redrive(self) -> "asyncio.Task[None]":
        """Have a job put all dead letters back; killed, it is run again with what it had noted."""
        self.watch.redriven |= self.watch.stored.dead().keys()
        return self.operator.start(self._redrive(_Job()))

    async def _redrive(self, job: "_Job") -> None:
        while True:
            self._jobs += 1
            process = self.world.process(f"job-{self._jobs}")
            desk = Desk(redis=SimRedis(process), keys=Keys(), job=job, clock=process.clock)
            run = process.start(Redrive(desk, "bot", ALL).run())
            await self.until(lambda p=process, r=run: r.done() or not p.lives, "end of the redrive")  # type: ignore[misc]
            if process.lives and not isinstance(run.exception(), UnknownSourceError):
                run.result()
                return

    # -- what Redis loses -----------------------------------------------------------------------------------------

    async def fail_over(self, behind_s: float) -> None:
        """Have Redis come back, its scripts gone, in the state of `behind_s` seconds before."""
        async with self._forgetting:
            held = self.world.server.snapshot()
            await asyncio.sleep(behind_s)
            self.watch.forget(lambda: self.world.server.restore(held))
            self.world.server.known.clear()

    async def flush(self, again_s: float) -> None:
        """Have Redis lose everything; after so many seconds the operator adds the source anew."""
        async with self._forgetting:
            self.watch.forget(lambda: self.world.server.restore({}))
            await asyncio.sleep(again_s)
            self.watch.source = await self.insist(lambda: self._add(self._options))

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Have the operator try until Redis does it, which may be full, or have forgotten the source, at the moment."""
        while True:
            try:
                return await call()
            except (RedisError, UnknownSourceError):
                await asyncio.sleep(0.2)

    # -- waiting --------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool], what: str, limit_s: float = DRAINED_S) -> None:
        """Wait until something is so.

        Raises:
            StuckError: it is not, within so many virtual seconds.
        """
        ends = self.world.now + limit_s
        while not condition():
            if self.world.now > ends:
                raise StuckError(f"no {what} within {limit_s:g} s: {self.ledger()}")
            await asyncio.sleep(0.1)

    async def clock(self, at: float) -> None:
        """Wait until so many virtual seconds since the world's beginning."""
        await asyncio.sleep(max(0.0, at - self.world.now))

    async def played(self) -> None:
        """Wait until every bot that lives has offered all it has to offer."""
        await self.until(self._have_played, "end of the bots' plays")

    def _have_played(self) -> bool:
        return all(task.done() or not bot.process.lives for task, bot in zip(self._plays, self.bots, strict=False))

    async def settled(self) -> None:
        """Close the bots, have everything arrive, and nothing left anywhere, and whoever was stopped go on once more.

        Else a zombie would come too late for anybody to see what it does with the leases that it had.
        """
        await self.played()
        for bot in self.bots:
            if bot.process.lives:
                bot.close()
        await self.until(lambda: all(bot.task.done() or not bot.process.lives for bot in self.bots), "closed bots")
        await self.until(self._drained, "empty queue and spools")
        if any(one.frozen_until > self.world.now for one in self.world.processes):
            await self.until(self._gone_on, "processes that go on")
            await self.until(self._drained, "empty queue and spools")

    def _gone_on(self) -> bool:
        """Whether all that were stopped have gone on for a while."""
        frozen = [one for one in self.world.processes if one.lives and one.frozen_until]
        return all(one.frozen_until + AFTERMATH_S <= self.world.now for one in frozen)

    def _drained(self) -> bool:
        """Whether nothing is queued, in flight, or in a spool; a spool that a killed bot left gets another one."""
        for bot in [bot for bot in self.bots if not bot.process.lives and bot.folder is not None]:
            if not any(other.name == f"{bot.name}-again" for other in self.bots):
                self.bots.append(Bot(self.world, f"{bot.name}-again", folder=bot.folder))
        return self.empty() and all(bot.empty() for bot in self.bots if bot.process.lives)

    def empty(self) -> bool:
        """Whether nothing is queued or in flight."""
        ledger = self.ledger()
        return not ledger.get("queued") and not ledger.get("in_flight")

    def ledger(self) -> dict[str, int]:
        """The source's counters."""
        rows = self.world.server.raw("HGETALL", Keys().of("bot").ledger)
        found = dict(zip(rows[::2], rows[1::2], strict=True))
        return {name.decode(): int(value) for name, value in found.items() if name != b"incarnation"}


@dataclass
class _Job:
    """Where a job notes how far it is."""

    meta: dict[str, Any] = field(default_factory=dict)

    def save_meta(self) -> None:
        """Nothing: it outlives every process here."""


async def _play(bot: Bot, lines: list[Line]) -> None:
    begun = bot.world.now
    for at, message_id, user in lines:
        await asyncio.sleep(max(0.0, begun + at - bot.world.now))
        bot.track(message_id, user)


@contextmanager
def staged(server: VirtualServer, weather: Weather, seed: object, folder: Path) -> Iterator[Stage]:
    """A stage in a world of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with made_world(server, weather, seed) as world:
        yield Stage(world, folder)
