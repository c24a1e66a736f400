"""Redis of every shape, each started once a session, and a world on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from ops.cli.conftest import place, pombo, program, simulator
from pombo.ops.simulator import Simulator
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.servers import SHAPES, Park, Shape
from support.world import World

__all__ = ["place", "pombo", "program", "simulator"]


@pytest.fixture(scope="session")
def park() -> Iterator[Park]:
    with Park() as made:
        yield made


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest, park: Park) -> Shape:
    """A Redis of each shape in turn, empty."""
    made: Shape = park.get(request.param)
    return made


@pytest.fixture
def redis_url(shape: Shape) -> str:
    """What the fixtures of all tests are made from."""
    return shape.url


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
