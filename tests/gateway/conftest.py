"""A gateway in this process, on a real socket, over a real server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.rig import WRITE_KEY, Keyed, Running, running
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support.programs import SECRET

Start = Callable[..., Any]


@pytest.fixture
async def bot(redis: Redis, secrets: Secrets) -> Keyed:
    """Source `bot`, with both of its keys."""
    added = await Registry(redis, Keys(), secrets).add("bot", WRITE_KEY)
    return Keyed("bot", added.intake_key, WRITE_KEY)


@pytest.fixture
async def other(redis: Redis, secrets: Secrets) -> Keyed:
    """Source `other`."""
    write_key = "o" * 32
    added = await Registry(redis, Keys(), secrets).add("other", write_key)
    return Keyed("other", added.intake_key, write_key)


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[Start]:
    """Start a gateway; settings are given by their names."""
    async with AsyncExitStack() as stack:

        async def begin(**options: Any) -> Running:
            usual: dict[str, Any] = {"redis_url": redis_url, "secret_key": SECRET}
            return await stack.enter_async_context(running(**(usual | options)))

        yield begin


@pytest.fixture
async def gateway(bot: Keyed, start: Start) -> Running:
    """A gateway with the usual settings and source `bot`."""
    made: Running = await start()
    return made
