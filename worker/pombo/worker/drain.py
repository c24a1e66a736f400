"""`pombo worker --drain`: work until nothing is left, or only what cannot be delivered now."""

import asyncio

from redis.asyncio import Redis

from pombo.shared.connection import transient
from pombo.shared.flow import Flow, read_flow
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry

POLL_S = 0.5
LONGEST_HOLD_S = 60.0
"""A hold that ends sooner is waited for: it is how Segment asks for patience."""


class Drain:
    """Watch all sources until each is empty or cannot be delivered; `problems` says what cannot."""

    def __init__(self, redis: Redis, keys: Keys, registry: Registry) -> None:
        self._redis = redis
        self._keys = keys
        self._registry = registry
        self.empty = False
        self.problems: list[str] = []

    async def watch(self, stop: asyncio.Event) -> None:
        """Set `stop` when there is nothing more to do."""
        while not await self._settled():
            await asyncio.sleep(POLL_S)
        stop.set()

    async def _settled(self) -> bool:
        try:
            left = await self._left()
        except Exception as error:
            if not transient(error):
                raise
            return False
        self.empty = not left
        self.problems = [f"{name}: {count} events, {why}" for name, count, why in left if why]
        return len(self.problems) == len(left)

    async def _left(self) -> list[tuple[str, int, str]]:
        """Sources with events: name, how many, and why they cannot be delivered ("" when they can)."""
        found = []
        for source in await self._registry.list():
            keys = self._keys.of(source.name)
            counts = await self._redis.hmget(keys.ledger, ["queued", "in_flight"])
            count = sum(int(value or 0) for value in counts)
            if count:
                found.append((source.name, count, obstacle(await read_flow(self._redis, keys))))
        return found


def obstacle(flow: Flow) -> str:
    """Why a source's events cannot be delivered now; "" when they can."""
    if flow.parked is not None:
        return f"parked: {flow.parked}"
    if flow.paused:
        return "paused: `pombo sources resume` ends it"
    wait = ((flow.hold_until or 0) - flow.now) / 1000
    return f"held for {wait:.0f} s more" if wait > LONGEST_HOLD_S else ""
