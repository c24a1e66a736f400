"""Who acts in a simulated world: workers, bots with and without a spool, and the operator."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError

from chaos.errand import UnsentError
from chaos.segment import SimSegment
from chaos.wire import SimRedis, SimTransport, name_of
from chaos.world import World
from pombo.producer.buffer import Buffer, Offer, Pending
from pombo.producer.drain import Drain
from pombo.producer.intake import Intake
from pombo.producer.metrics import default_metrics
from pombo.producer.options import Options
from pombo.producer.outbox import Outbox
from pombo.producer.receipts import Receipt
from pombo.producer.rejections import Rejections
from pombo.producer.spool import Spool
from pombo.producer.steps import WEATHER, Ask, Disk, Flow, NotSentError, Sleep, Step, advance
from pombo.shared.errors import SpoolError
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.worker.delivery import Tools
from pombo.worker.fleet import BeatGuard
from pombo.worker.metrics import Metrics
from pombo.worker.pool import Pool

SECRETS = Secrets(["pbs_a-secret-for-simulations-and-nothing-else"])
WRITE_KEY = "k" * 32
SOURCE = "bot"
"""The one source that there is."""
PATIENT = 1e9
"""Seconds that one waits for a disk: until it is done."""
_METRICS = Metrics()
"""Of all workers: nobody reads it here, and to make one takes a millisecond."""


class Worker:
    """A worker process: the real pool, with its beats, leases, lanes and deliveries."""

    def __init__(self, world: World, name: str, segment: SimSegment) -> None:
        self.process = world.process(name)
        self._stop = asyncio.Event()
        process = self.process
        redis = SimRedis(process)
        guard = BeatGuard(process.clock)
        tools = Tools(SimTransport(process, segment), process.clock, process.rng, _METRICS, guard)
        self.pool = Pool(redis, Keys(), Registry(redis, Keys(), SECRETS), tools, guard)
        self._room = tools.room
        process.identity = self.pool.fleet.id
        self.task = process.start(self.pool.run(self._stop))

    def stop(self) -> None:
        """SIGTERM."""
        self.process.world.note(self.process.name, "SIGTERM")
        self.process.loop.call_soon(self._stop.set)

    @property
    def gone(self) -> bool:
        """Whether the process has ended, by itself or not."""
        return not self.process.lives or self.task.done()

    @property
    def owing(self) -> int:
        """Bytes that it counts as held in memory, and does not hold."""
        holdings = [holding for lane in self.pool.lanes.values() for holding in lane.holdings.values()]
        held = [entry.raw for holding in holdings for entry in holding.ahead]
        held += [entry.raw for holding in holdings if holding.part is not None for entry in holding.part.entries]
        return self._room.used - sum(held)


@dataclass(eq=False)
class Offered:
    """One event that a bot offered, and what it was told."""

    message_id: str
    user: str
    body: bytes
    at: float
    receipt: Receipt | None
    told_at: float | None = None

    @property
    def outcome(self) -> str:
        """The receipt's word: `accepted`, `spooled`, a reason, or `unheard`."""
        found = None if self.receipt is None else self.receipt.outcome
        return "unheard" if found is None else getattr(found, "reason", type(found).__name__.lower())


@dataclass(eq=False)
class Bot:
    """A bot process: the real cores of the producer and of the spool's drainer, driven on the world's time."""

    world: World
    name: str
    budget_s: float = 1.0
    folder: Path | None = None
    """Of the spool, if it has one."""
    padding: int = 0
    """Bytes that each of its events has besides the usual."""
    offered: list[Offered] = field(default_factory=list)

    def __post_init__(self) -> None:
        process = self.process = self.world.process(self.name)
        self._token, self._wanted = asyncio.Event(), asyncio.Event()
        options = Options(SOURCE, self.budget_s)
        rejections = Rejections(SOURCE, None, default_metrics(), process.clock)
        self._intake = Intake(options, rejections, process.clock, disabled=False)
        self._buffer = Buffer(options, process.clock, self._token.set)
        self._spool = self._shelf()
        self._outbox = Outbox(
            options, self._buffer, keys=Keys(), clock=process.clock, metrics=default_metrics(), rejections=rejections,
            where=lambda: "the world's Redis", spool=self._spool,
        )  # fmt: skip
        self.task = process.start(self._drive(self._outbox.run(), self._token))

    def _shelf(self) -> Spool | None:
        if self.folder is None:
            return None
        self.folder.mkdir(exist_ok=True)
        process = self.process
        spool = Spool(self.folder / "spool.sqlite3", now=lambda: process.clock.now().timestamp())
        spool.on_put = self._wanted.set
        process.on_death.append(spool.unlock)
        process.start(self._drain(spool))
        return spool

    def track(self, message_id: str, user: str) -> Offered:
        """Offer an event, now."""
        event: dict[str, Any] = {"type": "track", "event": "Message Sent", "userId": user, "messageId": message_id}
        # For record batches to take out, and to put back where it was.
        event["anonymousId"] = str(UUID(bytes=random.Random(message_id).randbytes(16)))
        if self.padding:
            event["properties"] = {"text": random.Random(message_id).randbytes(self.padding // 2).hex()}
        admitted = self._intake.admit(event, None, True)
        assert isinstance(admitted, Pending), admitted.outcome
        self.world.note(self.name, f"offers {message_id} of {user}")
        one = Offered(message_id, user, admitted.body, self.world.now, admitted)
        admitted.watch(lambda: setattr(one, "told_at", self.world.now))
        self.offered.append(one)
        offer = self._buffer.offer(admitted)
        if offer is not Offer.TAKEN:
            self._intake.turn_away(admitted, offer)
        return one

    def close(self) -> None:
        """Take nothing more, and end when all is settled."""
        self.process.loop.call_soon(self._buffer.close)

    def empty(self) -> bool:
        """Whether its spool holds nothing."""
        return self._spool is None or not self._spool.waiting()

    # -- the driver -----------------------------------------------------------------------------------------------

    async def _drive(self, flow: Flow[None], token: asyncio.Event) -> None:
        step = advance(flow)
        while step is not None:
            step = advance(flow, *await self._do(step, token))

    async def _do(self, step: Step, token: asyncio.Event) -> tuple[Any, Exception | None]:
        if isinstance(step, Sleep):
            await _waited(token, step.seconds)
            token.clear()
            return None, None
        try:
            return await (self._on_disk(step) if isinstance(step, Disk) else self._ask(step)), None
        except (*WEATHER, SpoolError) as error:
            return None, error

    async def _ask(self, ask: Ask) -> Any:
        world, command = self.world, ask.command
        try:
            return await self.process.step(
                "redis", name_of(command), lambda: world.server.run(world.now, command), ask.timeout_s
            )
        except UnsentError as error:
            raise NotSentError from error

    async def _on_disk(self, step: Disk) -> Any:
        try:
            return await self.process.step("disk", getattr(step.call, "__qualname__", "work"), step.call, PATIENT)
        except RedisError as error:  # The blows of the weather are those of a network.
            raise SpoolError(f"the disk failed: {error}") from error

    async def _drain(self, spool: Spool) -> None:
        drain = Drain(spool, keys=Keys(), clock=self.process.clock)
        idle = asyncio.Event()
        while True:
            await self._drive(drain.run(), idle)
            await self._wanted.wait()
            self._wanted.clear()


async def _waited(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
