"""Whether the gateway gets on, and whether it can take events now."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.gateway.answers import Answer
from pombo.gateway.exchange import Exchange
from pombo.gateway.producers import Producers
from pombo.gateway.room import Room
from pombo.shared.clock import Clock
from pombo.shared.keys import Keys

TIMEOUT_S = 1.0
FRESH_S = 1.0
"""Seconds for which a look at Redis holds: whoever asks more often asks no Redis."""


class Health:
    """Answer `/healthz` and `/readyz`."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        producers: Producers,
        room: Room,
        clock: Clock,
        *,
        spool: bool,
        stopping: Callable[[], bool],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._producers = producers
        self._room = room
        self._clock = clock
        self._spool = spool
        self._stopping = stopping
        self._looked_at = -FRESH_S
        self._trouble: str | None = None

    async def alive(self, exchange: Exchange) -> Answer:
        """200 while events come to their outcome; 503 when those of a source do not, which a restart may heal."""
        stuck = self._producers.stuck
        return _answer(not stuck, stuck=stuck, bytes_in_hand=self._room.used, reading=self._room.reading)

    async def ready(self, exchange: Exchange) -> Answer:
        """200 while events can be made durable: Redis answers, or there is a spool."""
        if self._stopping():
            return _answer(False, problem="it is stopping")
        trouble = await self._look()
        return _answer(trouble is None or self._spool, redis=trouble or "ok", spool=self._spool)

    async def _look(self) -> str | None:
        now = self._clock.monotonic()
        if now - self._looked_at >= FRESH_S:
            self._looked_at = now
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._redis.get(self._keys.version)
                self._trouble = None
            except (RedisError, OSError) as error:
                self._trouble = type(error).__name__
        return self._trouble


def _answer(well: bool, **told: Any) -> Answer:
    return Answer(200 if well else 503, orjson.dumps({"ok": well, **told}))
