"""The sources' settings, each read anew after some seconds."""

from functools import partial
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.gateway.lookups import Lookups
from pombo.shared.clock import Clock
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.sources import Source

FRESH_S = 5.0
"""Seconds for which settings are taken as they were read."""


class Catalogue:
    """Know sources by name; while the registry cannot be read, as they were."""

    def __init__(self, redis: Redis, keys: Keys, registry: Registry, clock: Clock) -> None:
        self._redis = redis
        self._keys = keys
        self._registry = registry
        self._clock = clock
        self._sources: dict[str, tuple[Source, float]] = {}
        self._id_keys: dict[str, bytes] = {}
        """By incarnation."""
        self._reads = Lookups[Source | None]()
        self._id_key_reads = Lookups[bytes]()

    async def get(self, name: str) -> Source | None:
        """A source's settings; None if there is no such source.

        Raises:
            RedisError, OSError: it is not known yet, and cannot be read.
            StoredVersionError: it is stored in a form that this pombo does not know.
        """
        known, read_at = self._sources.get(name, (None, 0.0))
        if known is not None and self._clock.monotonic() - read_at < FRESH_S:
            return known
        try:
            return await self._reads.find(name, partial(self._read, name))
        except (RedisError, OSError):
            if known is None:
                raise
            return known

    def forget(self, name: str) -> None:
        """Read a source anew at the next look."""
        self._sources.pop(name, None)

    async def id_key(self, source: Source) -> bytes:
        """The key of a source's hashed ids, read once in its life.

        Raises:
            RedisError, OSError: it cannot be read.
            ConfigurationError: it was encrypted with another secret, or Redis lost it.
            UnknownSourceError: the source is not there any more.
        """
        found = self._id_keys.get(source.incarnation)
        if found is None:
            read = partial(self._registry.id_key, source.name)
            found = self._id_keys[source.incarnation] = await self._id_key_reads.find(source.incarnation, read)
        return found

    async def _read(self, name: str) -> Source | None:
        stored: Any = await self._redis.hget(self._keys.sources, name)
        if stored is None:
            self._sources.pop(name, None)
            return None
        source = Source.load(name, stored)
        self._sources[name] = source, self._clock.monotonic()
        return source
