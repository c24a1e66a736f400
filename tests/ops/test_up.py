"""`pombo up` as a real process, in a home of its own."""

import asyncio
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError

from pombo.ops.up import FLEET_PORT, GATEWAY_PORT, greeting
from pombo.producer import Accepted, Producer
from pombo.shared.connection import aconnect, connect, redis_url
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings
from support.programs import Program, end_all, processes_with, program, stripped_environment
from support.waiting import until

WRITE_KEY = "k" * 32

Start = Callable[..., AbstractContextManager[Program]]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home that nobody uses any more at the end."""
    yield tmp_path / "h"
    end_all(str(tmp_path / "h"))


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Start:
    """Start `pombo up` in the home."""

    def run(name: str = "up", **env: str) -> AbstractContextManager[Program]:
        given = {"POMBO_HOME": str(home), "POMBO_METRICS_PORT": "0", "POMBO_LOG_FORMAT": "json"} | env
        return program("up", folder=tmp_path / name, **given)

    return run


def settings(home: Path) -> Settings:
    return Settings.model_construct(home=home)


def client(home: Path) -> Redis:
    return connect(redis_url(settings(home)))


def fleet(home: Path) -> dict[bytes, bytes]:
    """What the workers say of themselves, by id; empty while the server is away."""
    with client(home) as redis, suppress(RedisError):
        stored = redis.hgetall(Keys().workers)
        assert isinstance(stored, dict)
        return stored
    return {}


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=10).status_code == 200
    return False


def works(home: Path) -> None:
    """Wait until a worker is in the fleet."""
    until(lambda: fleet(home), "worker in the fleet")


def worker_pids(home: Path) -> set[int]:
    return {pid for pid, words in processes_with(str(home)).items() if "pombo.ops.cli worker" in words}


def value(redis: Redis, key: str) -> object:
    with suppress(RedisError):
        return redis.get(key)
    return None


def server_pid(home: Path) -> int:
    """The server's pid; 0 while it does not answer."""
    with client(home) as redis, suppress(RedisError):
        return int(redis.info("server")["process_id"])
    return 0


def write_key(home: Path) -> str:
    """The write key of source `default`, by the secret of the home."""

    async def read() -> str:
        redis = aconnect(redis_url(settings(home)))
        try:
            secrets = Secrets([(home / "secret.key").read_text().strip()])
            return await Registry(redis, Keys(), secrets).write_key("default")
        finally:
            await redis.aclose()

    return asyncio.run(read())


def test_up_runs_everything_and_ends_with_it(home: Path, start: Start) -> None:
    """One command makes a home, a secret, a server, the default source and a worker; Ctrl-C ends all of it."""
    with start(POMBO_SEGMENT_WRITE_KEY=WRITE_KEY) as up:
        up.says("pombo is up on unix://")
        works(home)
        assert WRITE_KEY == write_key(home)
        assert 0o600 == (home / "secret.key").stat().st_mode & 0o777
        assert "sources   default" in up.err
        # Somebody else on this machine may have its port.
        if "gateway   off" not in up.err:
            until(lambda: answers(f"http://127.0.0.1:{GATEWAY_PORT}/readyz"), "answer of the gateway")
        up.send(signal.SIGINT)

        assert 0 == up.ends()
        assert WRITE_KEY not in up.err
    assert {} == processes_with(str(home))


def test_up_killed_leaves_nothing_in_the_way(home: Path, start: Start) -> None:
    """After kill -9 the worker ends by itself; the next `up` finds all data and delivers."""
    with start(POMBO_SEGMENT_WRITE_KEY=WRITE_KEY) as up:
        up.says("pombo is up")
        works(home)
        orphans, server = worker_pids(home), server_pid(home)
        with Producer(settings=settings(home)) as bot:
            assert isinstance(bot.track("u1", "Message Sent").result(30), Accepted)
        up.send(signal.SIGKILL)
        up.ends()
        with start("next") as following:
            following.says("pombo is up")
            until(lambda: not orphans & worker_pids(home), "end of the orphans")
            until(lambda: worker_pids(home), "new worker")

            assert "sources   default" in following.err
            assert server == server_pid(home)
            with client(home) as redis:
                assert b"1" == redis.hget(Keys().of("default").ledger, "accepted")
            following.send(signal.SIGINT)
            assert 0 == following.ends()
    assert {} == processes_with(str(home))


def test_a_killed_server_comes_back(home: Path, start: Start) -> None:
    """A server killed with -9 is started again with all that it had; nobody else has to be."""
    with start() as up:
        up.says("pombo is up")
        works(home)
        workers, server = worker_pids(home), server_pid(home)
        with client(home) as redis:
            redis.set("kept", "yes")
        os.kill(server, signal.SIGKILL)
        until(lambda: server_pid(home) not in {0, server}, "new server")

        # It may still be reading what it had.
        with client(home) as redis:
            until(lambda: value(redis, "kept"), "answer of the new server")
            assert b"yes" == redis.get("kept")
        assert workers == worker_pids(home)


def test_a_second_up_says_who_is_there(home: Path, start: Start) -> None:
    """Two on one home: the second one names the first and ends with 2; the first goes on."""
    with start() as up:
        up.says("pombo is up")
        with start("second") as second:
            assert 2 == second.ends()
            assert f"pombo: POMBO_HOME {home} is in use by the pombo with pid {up.pid}; stop that first, or set " in (
                second.err
            )
            assert 1 == second.err.count("\n")
        assert up.lives


def test_a_worker_that_refuses_its_configuration_ends_all(home: Path, start: Start) -> None:
    """When the secret no longer opens any key the worker is not started again, and `up` ends with 2."""
    with start(POMBO_SEGMENT_WRITE_KEY=WRITE_KEY) as up:
        up.says("pombo is up")
        works(home)
        (worker,) = worker_pids(home)

        async def seal() -> None:
            redis = aconnect(redis_url(settings(home)))
            stranger = Registry(redis, Keys(), Secrets([new_secret()]))
            await stranger.rotate_key("default", WRITE_KEY, force=True)
            await redis.aclose()

        asyncio.run(seal())
        os.kill(worker, signal.SIGKILL)

        assert 2 == up.ends()
    assert "pombo: the write key of source 'default' cannot be decrypted" in up.err
    assert "pombo: the worker cannot run with this configuration" in up.err.splitlines()[-1]
    # The killed worker's jobs end by themselves.
    until(lambda: not processes_with(str(home)), "end of all")


def test_the_greeting_is_the_first_thing_to_read(home: Path, start: Start) -> None:
    """What was logged on the way comes behind it, as a file or a supervisor wants it."""
    with start() as up:
        up.says("embedded_server.started")
        assert up.err.startswith("pombo is up on unix://")


def test_a_terminal_shows_the_greeting_and_what_goes_wrong(home: Path) -> None:
    """No line a process and request, unless somebody asks for them; Ctrl-C ends it."""
    ours, its = pty.openpty()
    environment = stripped_environment() | {"POMBO_HOME": str(home), "POMBO_METRICS_PORT": "0"}
    command = [sys.executable, "-m", "pombo.ops.cli", "up"]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment, cwd=home.parent) as up:
        os.close(its)
        shown = b""
        while b"stop      Ctrl-C" not in shown:
            shown += os.read(ours, 65536)
        works(home)
        up.send_signal(signal.SIGINT)
        with suppress(OSError):  # A terminal that nobody holds any more ends with an error.
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
    told = shown.decode()
    assert (0, True) == (up.returncode, told.startswith("pombo is up on unix://"))
    assert "POMBO_LOG_LEVEL=info has a line for each request" in told
    assert "started" not in told


def test_a_port_in_use_stops_nothing(home: Path, start: Start) -> None:
    """Without its port the console and the fleet's metrics are off, and the greeting says so; all else works."""
    with ExitStack() as stack:
        # Where somebody else has the port, it is in use all the same.
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", FLEET_PORT)))
        up = stack.enter_context(start())
        up.says(f"fleet off, port {FLEET_PORT} is in use")
        works(home)
        assert up.lives


def test_without_the_consoles_extra_there_are_metrics_alone(home: Path, start: Start, tmp_path: Path) -> None:
    """An install that lacks a package of it says which, and still shows the fleet's metrics where it would be."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['jinja2'] = None\n")
    with start(PYTHONPATH=str(tmp_path)) as up:
        up.says("  console   off, jinja2 is not installed (pombo[console])")
        works(home)
        if "fleet off" not in up.err:
            assert "pombo_workers 1.0" in httpx.get(f"http://127.0.0.1:{FLEET_PORT}/metrics", timeout=10).text
        assert up.lives


def test_another_default_key_is_told(home: Path, start: Start, redis_url: str) -> None:
    """With a Redis of one's own there is no server; a write key that source `default` does not have changes nothing."""
    env = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": new_secret()}
    with start(**env, POMBO_SEGMENT_WRITE_KEY=WRITE_KEY) as up:
        up.says("pombo is up")
    with start("next", **env, POMBO_SEGMENT_WRITE_KEY="o" * 32) as following:
        following.says("pombo is up")

        assert "`pombo sources rotate-key default` does" in following.err
        assert "o" * 32 not in following.err
    assert not (home / "data").exists()


@pytest.mark.parametrize(
    ("env", "expected", "code"),
    [
        ({"POMBO_SECRET_KEY": ""}, "pombo: POMBO_SECRET_KEY is not set, and with POMBO_REDIS_URL it must be", 2),
        ({"POMBO_SECRET_KEY": new_secret()}, "pombo: the write key of source 'default' cannot be decrypted", 2),
        ({"POMBO_REDIS_URL": "unix:///nowhere/s"}, "pombo: no Redis answers at unix:///nowhere/s", 1),
        ({"POMBO_REDIS_URL": "http://nowhere"}, "pombo: POMBO_REDIS_URL 'http://nowhere' has no scheme", 2),
    ],
)
def test_what_cannot_work_is_one_line(
    start: Start, redis_url: str, keys: Keys, *, env: dict[str, str], expected: str, code: int
) -> None:
    """A secret or a Redis that cannot be used ends `up` with one line that says what to do."""

    async def add() -> None:
        redis = aconnect(redis_url)
        await Registry(redis, keys, Secrets([new_secret()])).add("default", WRITE_KEY)
        await redis.aclose()

    asyncio.run(add())
    given = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": new_secret()} | env
    with start(**{name: value for name, value in given.items() if value}) as up:
        assert code == up.ends()
        (line,) = up.err.splitlines()
    assert line.startswith(expected)


def test_greeting_says_how_to_go_on(home: Path) -> None:
    """Another home and disabled producers are told, and passwords are not."""
    served = {"gateway": "http://127.0.0.1:8080", "console": "http://127.0.0.1:8081", "fleet": "fleet 127.0.0.1:8081"}
    off = {"gateway": "off, why", "console": "off, why not", "fleet": "fleet off"}
    usual = greeting(Settings.model_construct(), [], **served)
    other = greeting(Settings.model_construct(home=home, disabled=True), ["bot"], **off)
    remote = greeting(Settings.model_construct(redis_url="redis://me:pw@host/0"), [], **served)

    assert "  sources   none yet: pombo sources add NAME --write-key -" in usual
    assert f"  metrics   worker :9108, fleet 127.0.0.1:{FLEET_PORT}" in usual
    assert "  metrics   worker :9108, fleet off" in other
    assert "  gateway   http://127.0.0.1:8080" in usual
    assert "  gateway   off, why" in other
    assert "  console   http://127.0.0.1:8081" in usual
    assert "  console   off, why not" in other
    assert f"  home      {home}; other commands need the same POMBO_HOME" in other
    assert "  note      POMBO_DISABLED=1: producers validate and discard" in other
    assert "pombo is up on redis://me:***@host/0" == remote[0]
