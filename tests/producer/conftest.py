"""What the tests of both clients begin with."""

from collections.abc import Iterator

import pytest
from redis import Redis

from producer.proxy import Proxy
from producer.rig import add_source


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    """A way to the server that can be cut."""
    with Proxy(redis_url) as made:
        yield made


@pytest.fixture
def redis(sync_redis: Redis) -> Redis:
    """A server with source `bot`."""
    add_source(sync_redis)
    return sync_redis
