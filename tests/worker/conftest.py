"""What workers' tests share: a world, and a source."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from pombo.ops.simulator import Simulator
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.world import World


@pytest.fixture
async def world(redis: Redis, redis_url: str, keys: Keys, secrets: Secrets) -> AsyncIterator[World]:
    async with Simulator(port=0) as sim:
        made = World(redis, redis_url, keys, Registry(redis, keys, secrets), sim)
        yield made
        for worker in made.workers:
            worker.stop.set()
        await asyncio.gather(*(worker.task for worker in made.workers), return_exceptions=True)
        for worker in made.workers:
            await worker.pool._tools.transport.close()
        for client in made.clients:
            await client.aclose()


@pytest.fixture
async def bot(redis: Redis, keys: Keys, secrets: Secrets) -> str:
    """A source with 2 partitions."""
    await Registry(redis, keys, secrets).add("bot", "k" * 32, partitions=2)
    return "bot"
