"""A fleet of one source on virtual time: real lanes and scripts, a Segment that does as it is told, and a bot."""

import asyncio
import gzip
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from redis.client import Redis

from pombo.shared import batches
from pombo.shared.connection import connect
from pombo.shared.flow import Flow
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from pombo.worker.answers import Answer
from pombo.worker.delivery import Tools
from pombo.worker.lane import Lane
from pombo.worker.limit import limit_of
from pombo.worker.metrics import Metrics
from pombo.worker.store import SourceStore
from pombo.worker.transport import Request
from support.stored import event
from support.virtual import Ether, VirtualClock, VirtualLink, run_virtually

TIMEOUT_S = 15.0
_MESSAGE_ID = re.compile(rb'"messageId":"([^"]*)"')
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Sent:
    """A request: when it came (virtual s), its events, and the status that it met; None without an answer."""

    at: float
    events: int
    status: int | None


@dataclass
class VirtualSegment:
    """Segment as the fleet meets it.

    `limit` is its own limit in events per second of the clock (0: none), answered 429 with `Retry-After: 1`; `takes_s`
    how long it takes over an answer; `status` what it answers, None when it hangs.
    """

    limit: float = 0
    takes_s: float = 0.05
    status: int | None = 200
    refused: str = ""
    """A messageId whose requests fail with 500, whatever else."""
    rejected: str = ""
    """A messageId whose requests are answered 400."""
    refuses: float = 0
    """The share of requests, drawn by lot, that is answered 429."""
    sent: list[Sent] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """MessageIds of accepted requests, in order of arrival."""
    _window: int = -1
    _count: float = 0
    _lots: random.Random = field(default_factory=lambda: random.Random(1))

    async def post(self, request: Request) -> Answer:
        clock = asyncio.get_running_loop()
        body, at = gzip.decompress(request.body), clock.time()
        events = body.count(b'"messageId"')
        status = self._judge(body, events, at)
        takes = TIMEOUT_S if status is None else self.takes_s
        await asyncio.sleep(min(takes, TIMEOUT_S))
        if takes >= TIMEOUT_S:
            status = None
        self.sent.append(Sent(at, events, status))
        self.kept += [found.decode() for found in _MESSAGE_ID.findall(body)] if status == 200 else []
        if status is None:
            return Answer(None, failure="ReadTimeout", unknown=True, late=True)
        return Answer(status, {"retry-after": "1"} if status == 429 else {})

    def _judge(self, body: bytes, events: int, at: float) -> int | None:
        if self.status != 200:
            return self.status
        if self.refused and self.refused.encode() in body:
            return 500
        if self.rejected and self.rejected.encode() in body:
            return 400
        if self._lots.random() < self.refuses:
            return 429
        if self.limit:
            if int(at) != self._window:
                self._window, self._count = int(at), 0
            if self._count and self._count + events > self.limit:
                return 429
            self._count += events
        return 200

    async def close(self) -> None:
        pass

    def requests(self, start: float, end: float) -> list[Sent]:
        """What came in a span of virtual time."""
        return [one for one in self.sent if start <= one.at < end]

    def delivered(self, start: float, end: float) -> int:
        """Events of accepted requests of a span of virtual time."""
        return sum(one.events for one in self.requests(start, end) if one.status == 200)


class _Guard:
    def fresh(self) -> bool:
        return True

    async def confirmed(self) -> None:
        pass


class VirtualFleet:
    """Workers of one source, each with its share of the partitions, until the context ends."""

    def __init__(
        self, redis: Redis, segment: VirtualSegment, *, workers: int = 1, rate: float = 1000, partitions: int = 8,
        max_age_s: float = 86_400,
    ) -> None:  # fmt: skip
        self.redis, self.segment = redis, segment
        self.source = Source(name="bot", incarnation="i", rate=rate, partitions=partitions, max_age_s=max_age_s)
        self.keys = Keys()
        self.of = self.keys.of("bot")
        self.ether = Ether()
        self.link = VirtualLink(redis, self.ether)
        self._workers = workers
        self._sequence = 0
        self._made = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.lanes: list[Lane] = []

    async def __aenter__(self) -> "VirtualFleet":
        self.redis.hset(self.of.ledger, "incarnation", "i")
        for number in range(self._workers):
            tools = Tools(self.segment, VirtualClock(), random.Random(number), Metrics(), _Guard())
            store = SourceStore(self.link, self.keys, self.source, VirtualClock())
            store.limit = limit_of(self.source, None)
            self.lanes.append(Lane(self.source, "k" * 32, 1, store, tools))
        for partition in range(self.source.partitions):
            lane = self.lanes[partition % self._workers]
            lease = f"w{partition % self._workers}:t{partition}"
            await lane.store.change_leases([(partition, "", lease)])
            lane.add(partition, lease)
        self.ether.listeners.append(self._hear)
        self._tasks = [asyncio.create_task(lane.run()) for lane in self.lanes]
        return self

    async def __aexit__(self, *_: object) -> None:
        for lane in self.lanes:
            lane.stop()
            lane.abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lane in self.lanes:
            await lane.finished()

    def _hear(self, message: str) -> None:
        _, slash, partition = message.rpartition("/")
        for lane in self.lanes:
            if slash:
                lane.wake(int(partition))
            else:
                lane.flow_changed()

    async def append(self, counts: Sequence[int]) -> None:
        """Enqueue so many events into each partition, from the first on."""
        made = []
        for partition, count in enumerate(counts):
            for start in range(0, count, batches.MAX_EVENTS):
                ids = range(self._made + start, self._made + min(count, start + batches.MAX_EVENTS))
                made.append((partition, batches.encode([event(f"m{number}") for number in ids])))
            self._made += count
        await self._append(made)

    async def append_one(self, partition: int, message_id: str) -> None:
        """Enqueue one event of a name."""
        await self._append([(partition, batches.encode([event(message_id)]))])

    async def _append(self, made: Sequence[tuple[int, batches.RecordBatch]]) -> None:
        self._sequence += 1
        count = sum(batch.events for _, batch in made)
        keys = [self.of.ledger, self.of.session("t"), *(self.of.stream(partition) for partition, _ in made)]
        args: list[str | bytes | int | float] = ["i", self._sequence, 0, 3600, self.keys.wake, f"track={count}"]
        for partition, batch in made:
            args += [f"bot/{partition}", batch.events, batch.raw, batch.payload]
        await self.link.script("append", keys, args)

    def offer(self, rate: float) -> None:
        """Have a bot enqueue `rate` events a second from now on, into all partitions alike."""
        self._tasks.append(asyncio.create_task(self._offer(rate)))

    async def _offer(self, rate: float) -> None:
        begun, offered, partitions = asyncio.get_running_loop().time(), 0, self.source.partitions
        while True:
            due = int((asyncio.get_running_loop().time() - begun + TICK_S) * rate) - offered
            offered += due
            await self.append([due // partitions + (n < due % partitions) for n in range(partitions)])
            await asyncio.sleep(TICK_S)

    async def flow(self) -> Flow:
        """The source's flow now."""
        stored = cast("dict[bytes, bytes]", self.redis.hgetall(self.of.flow))
        seconds, micro = self.link.time()
        return Flow.parse(stored, seconds * 1000 + micro // 1000)

    async def ledger(self, counter: str) -> int:
        """One of the ledger's counters."""
        return (await self.counters(counter))[0]

    async def counters(self, *names: str) -> list[int]:
        """Some of the ledger's counters, at one moment."""
        stored = cast("list[bytes | None]", self.redis.hmget(self.of.ledger, list(names)))
        return [int(value or 0) for value in stored]


def simulate(
    url: str,
    script: Callable[[VirtualFleet, VirtualSegment], Awaitable[None]],
    segment: VirtualSegment | None = None,
    **fleet: Any,
) -> VirtualSegment:
    """Run a script of weather, and see that the ledger adds up to it; returns the Segment that met the fleet."""
    segment = segment or VirtualSegment()

    async def main() -> None:
        with connect(url) as redis:
            async with VirtualFleet(redis, segment, **fleet) as made:
                await script(made, segment)
                accepted, *became = await made.counters("accepted", "delivered", "dead", "queued", "in_flight")
        assert accepted == sum(became)

    run_virtually(main())
    return segment
