"""`pombo worker --drain`: work until nothing is left, or only what cannot be delivered now."""

import asyncio
from typing import Any, NamedTuple

from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.audit import RECORD_VERSION
from pombo.shared.connection import transient
from pombo.shared.errors import CorruptBatchError, PomboError, StoredVersionError
from pombo.shared.flow import Flow, read_flow
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.shared.sources import Source

POLL_S = 0.5
LONGEST_HOLD_S = 60.0
"""A hold that ends sooner is waited for: it is how Segment asks for patience."""


class Rest(NamedTuple):
    """What is left of a source: how many events, and why they cannot be delivered; "" when they can."""

    source: str
    events: int
    why: str


class Drain:
    """Watch all sources until each is empty or cannot be delivered; `rest` says what is left of them."""

    def __init__(self, redis: Redis, keys: Keys, registry: Registry, *, poll_s: float = POLL_S) -> None:
        self._redis = redis
        self._keys = keys
        self._registry = registry
        self._poll_s = poll_s
        self._counts: dict[str, list[Any]] = {}
        self.done = False
        self.rest: list[Rest] = []

    @property
    def problems(self) -> list[str]:
        """What could not be delivered, a line a source."""
        return [f"{rest.source}: {rest.events} events, {rest.why}" for rest in self.rest if rest.why]

    async def watch(self, stop: asyncio.Event) -> None:
        """Set `stop` when there is nothing more to do; trouble that passes is waited out."""
        while not await self._settled():  # noqa: ASYNC110 - nobody publishes that a ledger moved
            await asyncio.sleep(self._poll_s)
        self.done = True
        stop.set()

    async def _settled(self) -> bool:
        try:
            self.rest = await self._left()
        except Exception as error:
            if not transient(error):
                raise
            return False
        return all(rest.why for rest in self.rest)

    async def _left(self) -> list[Rest]:
        """The sources that have events."""
        snapshot = await self._registry.snapshot()
        known = {name: await self._rest(name, source) for name, source in snapshot.sources.items()}
        unknown = {name: await self._rest(name, None) for name in snapshot.unreadable}
        return [rest for rest in (known | unknown).values() if rest.events]

    async def _rest(self, name: str, source: Source | None) -> Rest:
        counts = await self._count(name)
        events = int(counts[0] or 0) + int(counts[1] or 0)
        why = await self._why(name, source, counts) if events else ""
        self._counts[name] = counts
        return Rest(name, events, why)

    async def _count(self, name: str) -> list[Any]:
        """Counters that move whenever events do."""
        found: list[Any] = await self._redis.hmget(
            self._keys.of(name).ledger, ["queued", "in_flight", "delivered", "deduplicated"]
        )
        return found

    async def _why(self, name: str, source: Source | None, counts: list[Any]) -> str:
        if source is None:
            return "stored in a form that this pombo cannot read: upgrade pombo here"
        try:
            await self._registry.write_key(name)
        except PomboError as error:
            return str(error)
        keys = self._keys.of(name)
        why = obstacle(await read_flow(self._redis, keys))
        # Batches are looked into only where nothing has moved since the last look, nor does meanwhile.
        if why or self._counts.get(name) != counts:
            return why
        why = await self._blocked(source, keys)
        return why if counts == await self._count(name) else ""

    async def _blocked(self, source: Source, keys: SourceKeys) -> str:
        """Why every partition with events is blocked; "" when one is not."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for number in range(source.partitions):
                pipe.xrange(keys.stream(number), count=1)
                pipe.hget(keys.record(number), "v")
            found: list[Any] = await pipe.execute()
        whys = [_unreadable(head[0][1], v) for head, v in zip(found[::2], found[1::2], strict=True) if head]
        return next(iter(whys), "") if all(whys) else ""


def obstacle(flow: Flow) -> str:
    """Why a source's events cannot be delivered now; "" when they can."""
    if flow.parked is not None:
        return f"parked: {flow.parked}"
    if flow.paused:
        return "paused: `pombo sources resume` ends it"
    wait = ((flow.hold_until or 0) - flow.now) / 1000
    return f"held for {wait:.0f} s more" if wait > LONGEST_HOLD_S else ""


def _unreadable(fields: dict[bytes, bytes], record_version: bytes | None) -> str:
    """Why a partition's first entry is left alone by every worker; "" when it is not."""
    if record_version not in {None, RECORD_VERSION.encode()}:
        return f"an in-flight record has version {(record_version or b'').decode()}: upgrade pombo here"
    try:
        batches.decode(fields.get(b"b", b""), int(fields.get(b"n", 0)), int(fields.get(b"r", 0)))
    except StoredVersionError as error:
        return str(error)
    except CorruptBatchError as error:
        # Without a record it is about to become a dead letter.
        return f"an entry in flight cannot be read: {error}" if record_version else ""
    return ""
