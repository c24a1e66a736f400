"""A world for worker tests: a real server, the simulator as Segment, pools as workers, all in one event loop."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from pombo.ops.simulator import Simulator
from pombo.shared import batches
from pombo.shared.audit import audit
from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import DeadLetter, read
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.scripts import script
from pombo.shared.sources import Source
from pombo.worker.delivery import Tools
from pombo.worker.direct import DirectTransport
from pombo.worker.fleet import BeatGuard
from pombo.worker.membership import Pace
from pombo.worker.metrics import Metrics
from pombo.worker.pool import Pool

WRITE_KEY = "k" * 32
DEADLINE_S = 30.0


PACE = Pace(beat=0.05, fence=0.4, missing=0.3, takeover=0.6, forget=5)


class NoJitter(random.Random):
    """Every backoff is zero, so that no test waits for one."""

    def uniform(self, a: float, b: float) -> float:
        """The lower bound."""
        return a


def body(message_id: str, user: str = "u1", **properties: Any) -> bytes:
    """A serialised event as a producer makes it."""
    return orjson.dumps({
        "messageId": message_id, "type": "track", "userId": user, "event": "Message Sent", "properties": properties,
        "timestamp": "2026-01-01T00:00:00.000Z",
    })  # fmt: skip


@dataclass
class Worker:
    """A pool that runs as a task."""

    pool: Pool
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def kill(self) -> None:
        """End as kill -9 would: nothing is handed back, nothing is settled."""
        self.stop.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        for lane in self.pool.lanes.values():
            lane.abandon()
            await lane.finished()

    async def finish(self) -> None:
        """Stop gracefully."""
        self.stop.set()
        await self.task


@dataclass
class World:
    """Everything a worker test touches."""

    redis: Redis
    url: str
    keys: Keys
    registry: Registry
    sim: Simulator
    workers: list[Worker] = field(default_factory=list)
    sequence: int = 0
    clients: list[Redis] = field(default_factory=list)

    async def add(self, name: str = "bot", write_key: str = WRITE_KEY, **options: Any) -> Source:
        """Add a source whose endpoint is the simulator, without rate limit unless given."""
        options = {"rate": 0, "partitions": 4, "endpoint": self.sim.url, **options}
        return (await self.registry.add(name, write_key, **options)).source

    async def append(self, source: Source, partition: int, bodies: Sequence[bytes], *, batch: int = 100) -> None:
        """Enqueue serialised events into one partition, in record batches of `batch`."""
        of = self.keys.of(source.name)
        self.sequence += 1
        made = [batches.encode(bodies[at : at + batch]) for at in range(0, len(bodies), batch)]
        keys = [of.ledger, of.session("test"), *([of.stream(partition)] * len(made))]
        args: list[Any] = [source.incarnation, self.sequence, 0, 3600, self.keys.wake, f"track={len(bodies)}"]
        for one in made:
            args += [f"{source.name}/{partition}", one.events, one.raw, one.payload]
        reply = await script("append").acall(self.redis, keys, args)
        assert reply[0] == b"ok", reply
        await script("announce").acall(self.redis, [self.keys.active], [f"{source.name}/{partition}"])

    def start(self, **tools: Any) -> Worker:
        """Start a worker."""
        clock = tools.get("clock") or SystemClock()
        guard = BeatGuard(clock, PACE)
        given: dict[str, Any] = {
            "transport": DirectTransport(),
            "clock": clock,
            "rng": NoJitter(),
            "metrics": Metrics(),
        }
        made = Tools(**{**given, "guard": guard, **tools})
        client = aconnect(self.url)
        self.clients.append(client)
        registry = Registry(client, self.keys, self.registry._secrets)
        pool = Pool(client, self.keys, registry, made, guard)
        stop = asyncio.Event()
        worker = Worker(pool, stop, asyncio.create_task(pool.run(stop)))
        self.workers.append(worker)
        return worker

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition()` (or what it awaits to) is true; fails after a generous deadline."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                value = condition()
                value = await value if asyncio.iscoroutine(value) else value
                if value:
                    return value
                for worker in self.workers:
                    if worker.task.done() and not worker.stop.is_set():
                        worker.task.result()
                        raise AssertionError(f"a worker ended while waiting for {what}")
                await asyncio.sleep(0.01)

    async def ledger(self, name: str = "bot") -> dict[str, int]:
        """The source's counters."""
        stored = cast("dict[bytes, bytes]", await self.redis.hgetall(self.keys.of(name).ledger))
        return Counter({k.decode(): int(v) for k, v in stored.items() if k != b"incarnation"})

    async def settled(self, name: str = "bot") -> bool:
        """Whether nothing of the source is waiting or in flight."""
        ledger = await self.ledger(name)
        return ledger["queued"] == 0 and ledger["in_flight"] == 0

    async def drained(self, name: str = "bot") -> None:
        """Wait until the source is empty."""
        await self.until(lambda: self.settled(name), f"{name} to drain")

    def kept(self, key: str = WRITE_KEY) -> list[str]:
        """MessageIds that Segment kept, in order of arrival."""
        return [row["message_id"] for row in self.sim.events(key=key) if row["fate"] == "kept"]

    async def letters(self, name: str = "bot") -> list[DeadLetter]:
        """The source's dead letters."""
        return [letter async for letter in read(self.redis, self.keys, name)]

    async def assert_balanced(self) -> None:
        """The ledger agrees with a recount, for every source."""
        report = await audit(self.redis, self.keys, await self.registry.snapshot())
        assert report.balanced, report.describe()
