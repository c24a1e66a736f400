"""A real server for every test that needs Redis: started once a session, flushed before each test."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from pombo.shared.connection import aconnect, connect
from pombo.shared.keys import Keys
from pombo.shared.secrets import Secrets
from support.programs import SECRET
from support.servers import unix

# How fast the machine is, is no property of what is tested.
settings.register_profile(
    "patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip
settings.load_profile("patient")


def pytest_configure() -> None:
    """Have children get the signals that tests send them, also where nohup, or a shell's &, has us ignore them.

    A signal that is ignored stays so in children; one that is handled, however, has its usual effect there.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of the session's server, without persistence, on a Unix socket in a folder of its own."""
    with unix() as server:
        yield server.url


@pytest.fixture
def redis_url(server_url: str) -> str:
    """URL of an empty server."""
    with connect(server_url) as client:
        client.flushall()
    return server_url


@pytest.fixture
def sync_redis(redis_url: str) -> Iterator[Redis]:
    """A blocking client of an empty server."""
    with connect(redis_url) as client:
        yield client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[AsyncRedis]:
    """An asyncio client of an empty server."""
    client = aconnect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def keys() -> Keys:
    """The key catalogue of the usual namespace."""
    return Keys()


@pytest.fixture(scope="session")
def secrets() -> Secrets:
    """One secret, always the same."""
    return Secrets([SECRET])
