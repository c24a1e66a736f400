"""`pombo worker --processes N` as real processes."""

import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import orjson
import pytest
from redis import Redis

from ops.cli.commands import WRITE_KEY, Cli, events
from pombo.ops.cli.crew import metrics_folder
from pombo.shared.keys import Keys
from support.programs import SECRET, Program, end_all, program
from support.servers import free_port
from support.waiting import until

Start = Callable[..., AbstractContextManager[Program]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start a crew of two, which must leave no temporary files."""
    (tmp_path / "temporary").mkdir()
    given = {
        "POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0",
        "TMPDIR": str(tmp_path / "temporary"), "POMBO_HOME": str(tmp_path / "home"),
    }  # fmt: skip

    def run(*words: str, **env: str) -> AbstractContextManager[Program]:
        return program("worker", "--processes", "2", *words, folder=tmp_path, **{**given, **env})

    yield run
    end_all(str(tmp_path / "temporary"))
    assert [] == list((tmp_path / "temporary").iterdir())


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    return free_port()


def pids(redis: Redis) -> set[int]:
    """The processes that are in the fleet."""
    stored = redis.hvals(Keys().workers)
    assert isinstance(stored, list)
    return {orjson.loads(text)["pid"] for text in stored}


def scrape(port: int) -> str:
    """What `/metrics` says; nothing while nobody serves it."""
    with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text
    return ""


def delivered(port: int) -> int:
    """Events of all requests, as `/metrics` counts them."""
    found = re.search(r'pombo_request_events_sum\{source="bot"\} (\S+)', scrape(port))
    return int(float(found[1])) if found else 0


def test_a_crew_has_one_metrics_page(pombo: Cli, sync_redis: Redis, simulator: str, start: Start, port: int) -> None:
    """The counts of both processes are one, go on when one is killed, and all ends at once and well."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", simulator, "--rate", "0")
    with start("--no-jobs", POMBO_METRICS_PORT=str(port)) as running:
        until(lambda: len(pids(sync_redis)) == 2, "crew of two")
        assert pombo("send", "--source", "bot", stdin=events(*(f"a{n}" for n in range(50)))).code == 0
        until(lambda: delivered(port) == 50, "50 events counted")
        before = pids(sync_redis)
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        assert delivered(port) == 50
        until(lambda: len(pids(sync_redis) - before) == 2, "two others")
        assert pombo("send", "--source", "bot", stdin=events(*(f"b{n}" for n in range(50)))).code == 0
        until(lambda: delivered(port) == 100, "100 events counted")
        (build,) = [line for line in scrape(port).splitlines() if line.startswith("pombo_build_info{")]
        assert build.endswith(" 1.0")
        running.send(signal.SIGTERM)

        assert running.ends() == 0
    assert "" == scrape(port)
    assert set() == pids(sync_redis) - before


def test_a_metrics_port_in_use_stops_no_crew(sync_redis: Redis, start: Start, port: int) -> None:
    """The crew works without its metrics, and says what to do, once."""
    with socket.create_server(("0.0.0.0", port)), start("--no-jobs", POMBO_METRICS_PORT=str(port)) as running:
        until(lambda: len(pids(sync_redis)) == 2, "crew of two")
        assert 1 == running.err.count("set POMBO_METRICS_PORT to a free port, or 0")


def test_a_draining_crew_says_once_what_is_left(pombo: Cli, bot: str, start: Start) -> None:
    """What cannot be delivered is named by one process, and the exit code is 1."""
    pombo("sources", "pause", bot)
    pombo("send", "--source", bot, stdin=events("m1"))
    with start("--drain", "--no-jobs") as running:
        assert running.ends() == 1
        assert 1 == running.err.count("not drained: bot: 1 events, paused")


def test_without_a_temporary_folder_there_are_no_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where no folder can be made the crew works without metrics, and a warning says what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with ExitStack() as stack:
        assert metrics_folder(stack) is None
    assert "set TMPDIR to a folder that can be written" in caplog.text
