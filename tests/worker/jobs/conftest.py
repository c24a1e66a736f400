"""What tests of jobs share: a source, dead letters of it, and a job of RQ's that dies on time."""

import pytest
from redis.asyncio import Redis

from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets


@pytest.fixture
def registry(redis: Redis, keys: Keys, secrets: Secrets) -> Registry:
    return Registry(redis, keys, secrets)


@pytest.fixture
async def of(registry: Registry, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, which has 2 partitions."""
    await registry.add("bot", "k" * 32, partitions=2)
    return keys.of("bot")
