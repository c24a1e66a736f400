import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest
from redis import Redis

from ops.cli.commands import DEADLINE_S, WRITE_KEY, Cli, events, said
from pombo.ops.cli.crew import crew, outcome
from pombo.shared.errors import ConfigurationError

OTHER_SECRET = "pbs_another-secret-that-knows-nothing-of-the-first"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_drain_delivers_everything(program: Cli, pombo: Cli, place: Path, simulator: str, processes: int) -> None:
    """`worker --drain`, alone or in company, ends with 0 when Segment has every event, and the audit agrees."""
    pombo("sources", "add", "bot", "--write-key", WRITE_KEY, "--endpoint", simulator, "--rate", "0")
    pombo("send", "--source", "bot", stdin=events(*(f"m{n}" for n in range(300))))
    drained = program("worker", "--drain", "--no-jobs", "--processes", str(processes))
    assert (0, "") == (drained.code, drained.out)
    with urlopen(f"{simulator}/_sim/events?key={WRITE_KEY}") as answer:
        arrived = orjson.loads(answer.read())
    assert [f"m{n}" for n in range(300)] == [row["message_id"] for row in arrived]
    audit = pombo("audit", "--json").json
    assert (True, 300) == (audit["balanced"], audit["sources"]["bot"]["delivered"])


@pytest.mark.parametrize("processes", [1, 2])
def test_a_drain_names_what_cannot_be_delivered(
    program: Cli, pombo: Cli, bot: str, simulator: str, processes: int
) -> None:
    """With a source that is paused the others are delivered, its events are named, and the exit code is 1."""
    pombo("sources", "add", "other", "--write-key", "o" * 32, "--endpoint", simulator, "--rate", "0")
    pombo("sources", "pause", bot)
    for source in (bot, "other"):
        pombo("send", "--source", source, stdin=events("m1"))
    drained = program("worker", "--drain", "--no-jobs", "--processes", str(processes))
    assert drained.code == 1
    assert "bot: 1 events, paused" in drained.err
    assert pombo("audit", "--json").json["sources"]["other"]["delivered"] == 1


def test_a_worker_needs_the_secret_key(pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a secret no worker starts, alone or in company."""
    monkeypatch.delenv("POMBO_SECRET_KEY")
    for words in ([], ["--processes", "2"]):
        answer = pombo("worker", *words)
        assert answer.code == 2
        assert "POMBO_SECRET_KEY is not set" in said(answer)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_wrong_secret_key_starts_no_worker(program: Cli, bot: str, processes: int) -> None:
    """A secret that opens no source's key is one line and exit code 2, before any process is started."""
    answer = program("worker", "--processes", str(processes), POMBO_SECRET_KEY=OTHER_SECRET)
    assert answer.code == 2
    assert said(answer).startswith("the write key of source 'bot' cannot be decrypted with POMBO_SECRET_KEY")


def test_a_crew_whose_workers_refuse_ends() -> None:
    """When every worker refused its configuration the crew did too; a drain that fell short is exit code 1."""
    with pytest.raises(ConfigurationError, match="no process can run"):
        outcome({"worker 1": 2, "worker 2": 2}, drain=False)
    assert [0, 1, 0] == [
        outcome({"worker 1": 0, "worker 2": 0}, drain=True),
        outcome({"worker 1": 0, "worker 2": 1}, drain=True),
        outcome({"worker 1": 2, "worker 2": -15}, drain=False),
    ]


def test_a_redis_that_refuses_writes(program: Cli, pombo: Cli, bot: str, sync_redis: Redis) -> None:
    """A drain ends with 1 and says what is wrong; a worker says that it waits for it."""
    sync_redis.config_set("min-replicas-to-write", 1)
    try:
        drains = [program("worker", "--drain", "--processes", number) for number in ("1", "2")]
        argv = [sys.executable, "-m", "pombo.ops.cli", "worker", "--no-jobs"]
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as worker:
            assert worker.stderr is not None
            waits = worker.stderr.readline()
            worker.terminate()
            worker.communicate(timeout=DEADLINE_S)
    finally:
        sync_redis.config_set("min-replicas-to-write", 0)
    assert [1, 1] == [answer.code for answer in drains]
    assert all("refuses writes: too few replicas follow it" in said(answer) for answer in drains)
    assert "refuses writes: too few replicas follow it; bring them back; waiting for it\n" in waits


def test_a_crew_shares_the_machine(tmp_path: Path) -> None:
    """No process serves metrics by itself, the first alone does jobs, and drains are not started again."""
    specs = crew(tmp_path, 3, drain=False, jobs=True)
    assert ["worker 1", "worker 2", "worker 3"] == [spec.name for spec in specs]
    assert ["1", "2", "3"] == [spec.env["POMBO_CREW_MEMBER"] for spec in specs]
    assert {"0"} == {spec.env["POMBO_METRICS_PORT"] for spec in specs}
    assert [False, True, True] == ["--no-jobs" in spec.argv for spec in specs]
    assert all(spec.restart for spec in specs)
    quiet = crew(None, 2, drain=True, jobs=False)
    assert {"POMBO_CREW_MEMBER", "POMBO_METRICS_PORT"} == {name for spec in quiet for name in spec.env}
    assert all("--no-jobs" in spec.argv and "--drain" in spec.argv and not spec.restart for spec in quiet)


def test_a_simulator_without_its_plan(pombo: Cli, place: Path) -> None:
    """A plan that is none, or a port that is taken, is told in one line."""
    (place / "plan.json").write_text('[{"x": 1}]')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answers = [
            pombo("simulator", "--port", "0", "--plan", "absent.json"),
            pombo("simulator", "--port", "0", "--plan", "plan.json"),
            pombo("simulator", "--port", str(port)),
        ]
    assert [2, 2, 2] == [answer.code for answer in answers]
    assert "absent.json cannot be read" in said(answers[0])
    assert "plan rule 1" in said(answers[1])
    assert f"port {port} on 127.0.0.1 is in use" in said(answers[2])
