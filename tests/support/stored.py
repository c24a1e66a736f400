"""One source in a real Redis, and workers' stores of it that can repeat what they did."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.audit import audit_source
from pombo.shared.clock import Clock, SystemClock
from pombo.shared.deadletters import LetterHeader
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source
from pombo.worker.link import Link
from pombo.worker.metrics import Metrics
from pombo.worker.parts import Chunk, Part, chunks
from pombo.worker.store import Letter, SourceStore
from support.stopped import StoppedRedis

LEASE = "w1:token"
Call = tuple[str, Sequence[str], Sequence[Argument]]


def event(message_id: str) -> bytes:
    """A serialised event that is little more than its id."""
    return b'{"messageId":"%s","type":"track"}' % message_id.encode()


class RecordingLink(Link):
    """A link that remembers the scripts it ran, so that they can be run again."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, SystemClock(), Metrics())
        self.calls: list[Call] = []

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        self.calls.append((name, list(keys), list(args)))
        return await super().script(name, keys, args)


@dataclass
class ShiftedClock(SystemClock):
    """The machine's clocks, but for a monotonic one that stands still, as Redis' does, until it is put ahead."""

    ahead_s: float = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.ahead_s


@dataclass
class StoredSource:
    """A source without registry: its ledger is there, its partitions 0 and 1 are leased to `LEASE`.

    Redis' clock stands still from `set_up` on, and so do those of the stores.
    """

    redis: Redis
    source: Source = field(default_factory=lambda: Source(name="bot", incarnation="i", rate=0, partitions=3))
    keys: Keys = field(default_factory=Keys)
    sequence: int = 0
    calls: list[Call] = field(default_factory=list)

    @property
    def of(self) -> SourceKeys:
        return self.keys.of(self.source.name)

    async def set_up(self) -> "StoredSource":
        self.redis = await StoppedRedis.of(self.redis)
        await self.redis.hset(self.of.ledger, "incarnation", self.source.incarnation)
        for partition in (0, 1):
            await self.redis.set(self.of.lease(partition), LEASE)
        return self

    def store(self, source: Source | None = None, *, clock: Clock | None = None) -> SourceStore:
        """A worker's store, as a new process would make it."""
        link = RecordingLink(self.redis)
        link.calls = self.calls
        return SourceStore(link, self.keys, source or self.source, clock or ShiftedClock())

    async def append(self, partition: int, *entries: Sequence[str]) -> None:
        """Enqueue messageIds, a record batch for each sequence of them."""
        self.sequence += 1
        made = [batches.encode([event(one) for one in ids]) for ids in entries]
        keys = [self.of.ledger, self.of.session("t"), *([self.of.stream(partition)] * len(made))]
        args: list[Argument] = [
            self.source.incarnation,
            self.sequence,
            0,
            3600,
            self.keys.wake,
            f"track={sum(map(len, entries))}",
        ]
        for batch in made:
            args += [f"{self.source.name}/{partition}", batch.events, batch.raw, batch.payload]
        await self._run("append", keys, args)

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        self.calls.append((name, keys, args))
        return await script(name).acall(self.redis, keys, args)

    async def repeat(self, call: Call | None = None) -> Any:
        """Run a script again with the same arguments: the last one, unless another is given."""
        name, keys, args = call or self.calls[-1]
        return await script(name).acall(self.redis, keys, args)

    async def part(self, store: SourceStore, partition: int = 0, *, lease: str = LEASE, count: int = 1000) -> Part:
        """What a worker would claim next of a partition, with a record id of its own."""
        ((*raw,),) = await store.read([(partition, "", count)])
        self.sequence += 1
        return Part(partition, lease, f"record{self.sequence}", [entry.decode() for entry in raw])

    async def claimed(self, store: SourceStore, *partitions: int, count: int = 1000) -> list[Part]:
        """Claim the first entries of partitions for one request."""
        parts = [await self.part(store, partition, count=count) for partition in partitions]
        claim = await store.claim(parts)
        assert ["claimed"] * len(parts) == claim.states, claim
        return parts

    async def dump(self, *without: str) -> dict[str, Any]:
        """Everything in Redis, by key, except for fields of hashes that are named."""
        redis: Any = self.redis
        found: dict[str, Any] = {}
        for key in sorted(await redis.keys("*")):
            kind = await redis.type(key)
            if kind == b"hash":
                stored = await redis.hgetall(key)
                found[key.decode()] = {k.decode(): v for k, v in stored.items() if k.decode() not in without}
            elif kind == b"stream":
                found[key.decode()] = await redis.xrange(key)
            elif kind == b"set":
                found[key.decode()] = await redis.smembers(key)
            elif kind == b"zset":
                found[key.decode()] = await redis.zrange(key, 0, -1, withscores=True)
            else:
                found[key.decode()] = await redis.get(key)
        return found

    async def record(self, partition: int) -> dict[str, str]:
        """A partition's in-flight record."""
        redis: Any = self.redis
        return {k.decode(): v.decode() for k, v in (await redis.hgetall(self.of.record(partition))).items()}

    async def entries(self, key: str) -> list[tuple[str, dict[bytes, bytes]]]:
        """A stream's entries."""
        redis: Any = self.redis
        return [(entry.decode(), fields) for entry, fields in await redis.xrange(key)]

    async def ledger(self, *counters: str) -> tuple[int, ...]:
        """Some of the ledger's counters."""
        return tuple(int(value or 0) for value in await self.redis.hmget(self.of.ledger, list(counters)))

    async def assert_balanced(self) -> None:
        """The ledger agrees with a recount of the stored data."""
        report = await audit_source(self.redis, self.keys, self.source)
        assert () == report.problems

    async def now_ms(self) -> int:
        """Redis' clock."""
        return await redis_now(self.redis)


def whole(*parts: Part) -> Chunk:
    """All unfinished events of parts as one chunk."""
    (chunk,) = chunks(parts, 0)
    return chunk


def letter(part: Part, index: int, reason: str = "poison") -> Letter:
    """A dead letter of one event."""
    return Letter(part, index, reason, LetterHeader(reason=reason, partition=part.partition).dump())
