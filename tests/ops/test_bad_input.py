"""Bad input to real processes: one line that says what and what to do, and nothing lost."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx
import orjson
import pytest
from redis import Redis

from pombo.shared import batches
from pombo.shared.keys import Keys
from pombo.shared.secrets import new_secret
from support.programs import SECRET, Program, program, stripped_environment
from support.waiting import DEADLINE_S, until

WRITE_KEY = "k" * 32

Pombo = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pombo(redis_url: str, tmp_path: Path) -> Pombo:
    """Run `pombo` to its end, with `env` on top of a sound environment."""
    inherited = stripped_environment()
    sound = {
        "POMBO_REDIS_URL": redis_url,
        "POMBO_SECRET_KEY": SECRET,
        "POMBO_METRICS_PORT": "0",
        "POMBO_HOME": str(tmp_path / "home"),
        "POMBO_LOG_FORMAT": "json",
    }

    def run(*words: str, stdin: str = "", **env: str | None) -> "subprocess.CompletedProcess[str]":
        given = {name: value for name, value in {**sound, **env}.items() if value is not None}
        return subprocess.run(
            [sys.executable, "-m", "pombo.ops.cli", *words],
            input=stdin, env={**inherited, **given}, cwd=tmp_path,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    """The URL of a real simulator."""

    def address(running: Program) -> str:
        found = re.search(r"http://\S+", running.out if running.out.endswith("\n") else "")
        return found[0] if found else ""

    with program("simulator", "--port", "0", folder=tmp_path / "simulator") as running:
        yield until(lambda: address(running), "simulator")


@pytest.fixture
def bot(pombo: Pombo, simulator: str) -> str:
    """The name of a source that delivers to the simulator."""
    words = ("sources", "add", "bot", "--write-key", "-", "--partitions", "2", "--rate", "0", "--endpoint", simulator)
    assert pombo(*words, stdin=WRITE_KEY).returncode == 0
    return "bot"


def said(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a command that failed."""
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("pombo: ")
    return line


def put(
    redis: Redis, source: str, partition: int, message_id: str, *, spoil: Callable[[bytes], bytes] = bytes
) -> bytes:
    """Append a record batch of one event, as a producer counts it but with a spoiled payload; the payload."""
    of = Keys().of(source)
    batch = batches.encode([b'{"messageId":"%s","type":"track","userId":"u","event":"E"}' % message_id.encode()])
    payload = spoil(batch.payload)
    redis.xadd(of.stream(partition), {"n": 1, "r": batch.raw, "b": payload})
    for field, by in (("accepted", 1), ("accepted:track", 1), ("queued", 1), ("queued_bytes", len(payload))):
        redis.hincrby(of.ledger, field, by)
    return payload


def arrived(simulator: str) -> list[str]:
    with urlopen(f"{simulator}/_sim/events?key={WRITE_KEY}") as answer:
        return [row["message_id"] for row in orjson.loads(answer.read())]


def logged(done: "subprocess.CompletedProcess[str]", event: str) -> list[dict[str, Any]]:
    """Log lines of one kind."""
    lines = [orjson.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def test_a_corrupt_batch_is_dead_as_it_is(pombo: Pombo, bot: str, simulator: str, sync_redis: Redis) -> None:
    """A batch that cannot be read becomes a dead letter, byte for byte; what is around it arrives."""
    put(sync_redis, bot, 0, "before")
    payload = put(sync_redis, bot, 0, "broken", spoil=lambda sound: sound[:6] + b"\xff\xff" + sound[8:])
    put(sync_redis, bot, 0, "after")

    drained = pombo("worker", "--drain", "--no-jobs")

    assert 0 == drained.returncode, drained.stderr
    assert ["before", "after"] == arrived(simulator)
    assert 1 == len(logged(drained, "batch.corrupt"))
    letters: Any = sync_redis.xrange(Keys().of(bot).dead)
    ((_, letter),) = letters
    assert payload == letter[b"b"]
    (told,) = orjson.loads(pombo("dead", "list", "--json").stdout)
    assert ("corrupt", 1) == (told["reason"], told["events"])
    audit = orjson.loads(pombo("audit", "--json").stdout)["sources"][bot]
    assert (True, [], 2, 1) == (audit["balanced"], audit["problems"], audit["delivered"], audit["dead"])


def test_a_batch_of_a_newer_pombo_is_left_alone(pombo: Pombo, bot: str, simulator: str, sync_redis: Redis) -> None:
    """A batch of an unknown version stays with all behind it; log, drain and audit name it, other partitions flow."""
    put(sync_redis, bot, 0, "before")
    newer = put(sync_redis, bot, 0, "newer", spoil=lambda sound: bytes((batches.VERSION + 1,)) + sound[1:])
    put(sync_redis, bot, 0, "behind")
    put(sync_redis, bot, 1, "beside")

    drained = pombo("worker", "--drain", "--no-jobs")

    assert 1 == drained.returncode
    known = batches.VERSION
    told = f"not drained: bot: 2 events, record batch has version {known + 1}, this pombo knows {known}; upgrade"
    assert told in drained.stderr
    assert [0] == [line["partition"] for line in logged(drained, "partition.blocked")]
    assert {"before", "beside"} == set(arrived(simulator))
    left: Any = sync_redis.xrange(Keys().of(bot).stream(0))
    assert [2, newer] == [len(left), left[0][1][b"b"]]
    audit = pombo("audit")
    assert 0 == audit.returncode
    assert "unknown version: left alone; upgrade" in audit.stdout


@pytest.mark.parametrize("words", [("worker",), ("worker", "--drain")])
def test_a_worker_with_another_secret(pombo: Pombo, bot: str, words: tuple[str, ...]) -> None:
    """A worker whose secret opens no write key ends at once with what to restore."""
    done = pombo(*words, POMBO_SECRET_KEY=new_secret())
    assert 2 == done.returncode
    assert "write key of source 'bot' cannot be decrypted with POMBO_SECRET_KEY" in said(done)
    assert "restore the old secret" in said(done)


def test_a_metrics_port_in_use(pombo: Pombo, bot: str, simulator: str, sync_redis: Redis) -> None:
    """A worker whose port is taken warns with the setting to change, and delivers."""
    put(sync_redis, bot, 0, "m1")
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        drained = pombo("worker", "--drain", "--no-jobs", POMBO_METRICS_PORT=str(port))
    assert 0 == drained.returncode
    (warning,) = logged(drained, "metrics.off")
    assert (port, "set POMBO_METRICS_PORT to a free port, or 0") == (warning["port"], warning["remedy"])
    assert ["m1"] == arrived(simulator)


@pytest.mark.parametrize("words", [("up",), ("worker",), ("simulator", "--port", "0", "--plan", "none.json")])
def test_nothing_starts_on_a_wrong_word(pombo: Pombo, words: tuple[str, ...]) -> None:
    """What would run until stopped ends at once when a setting or a word is none."""
    done = pombo(*words, POMBO_METRICS_PORT="abc")
    assert 2 == done.returncode
    assert ("none.json" if "--plan" in words else "POMBO_METRICS_PORT: ") in said(done)


def test_a_home_that_is_a_file(pombo: Pombo, tmp_path: Path) -> None:
    """`up` names a home that it cannot use."""
    (tmp_path / "file").write_text("")
    done = pombo("up", POMBO_HOME=str(tmp_path / "file"), POMBO_REDIS_URL=None, POMBO_SECRET_KEY=None)
    assert 2 == done.returncode
    assert f"POMBO_HOME {tmp_path}/file cannot be used" in said(done)


def test_a_plan_over_http(simulator: str, tmp_path: Path) -> None:
    """A plan with an unknown key is refused by name, and the one in force stays."""
    httpx.put(f"{simulator}/_sim/plan", content='[{"when": {}, "answer": {"status": 429}}]').raise_for_status()
    refused = httpx.put(f"{simulator}/_sim/plan", content='[{"when": {"user": "u"}, "answer": {"status": 400}}]')
    assert 400 == refused.status_code
    assert 'plan rule 1: unknown key "user" in when; allowed: ' in refused.json()["error"]
    assert [429] == [rule["answer"]["status"] for rule in httpx.get(f"{simulator}/_sim/plan").json()["rules"]]
