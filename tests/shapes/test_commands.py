"""The command line and a worker's process, on a Redis of every shape."""

import orjson
import pytest

from ops.cli.commands import WRITE_KEY, Cli, events, said
from support.programs import SECRET
from support.programs import program as started
from support.servers import Shape


def test_commands(pombo: Cli, program: Cli, simulator: str, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is added, events are sent and delivered, and all can be looked at."""
    monkeypatch.setenv("POMBO_JOBS_REDIS_URL", shape.jobs_url)
    told = ("--write-key", "-", "--endpoint", simulator)
    assert 0 == pombo("sources", "add", "bot", *told, stdin=WRITE_KEY).code
    assert 0 == pombo("send", "-", "--source", "bot", stdin=events(*(f"m{number}" for number in range(20)))).code
    status = pombo("status", "--json").json
    assert 20 == status["sources"]["bot"]["queued_events"]
    assert 0 < status["redis"]["used_memory"]
    assert 0 == program("worker", "--drain", "--no-jobs").code
    audit = pombo("audit", "--json").json
    assert (True, 20) == (audit["balanced"], audit["sources"]["bot"]["delivered"])
    assert [] == pombo("dead", "list", "--json").json
    assert [] == pombo("jobs", "list", "--json").json
    assert 0 == pombo("sources", "remove", "bot", "--yes").code


@pytest.mark.parametrize("shape", ["cluster"], indirect=True)
def test_a_cluster_without_jobs(pombo: Cli, shape: Shape, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a Redis for the jobs a worker says that they are off and works; commands for jobs are refused."""
    refused = pombo("jobs", "list")
    assert 2 == refused.code
    assert said(refused).startswith("jobs are off: ")
    assert said(refused).endswith("set POMBO_JOBS_REDIS_URL to a Redis that is no cluster")
    env = {"POMBO_REDIS_URL": shape.url, "POMBO_SECRET_KEY": SECRET, "POMBO_METRICS_PORT": "0"}
    with started("worker", folder=tmp_path_factory.mktemp("worker"), POMBO_LOG_FORMAT="json", **env) as worker:
        worker.says("worker.started")
        (line,) = [line for line in worker.err.splitlines() if "jobs" in line]
        assert ("jobs.off", "warning") == tuple(orjson.loads(line)[key] for key in ("event", "level"))
        worker.process.terminate()
        assert 0 == worker.ends()


@pytest.mark.parametrize("shape", ["tcp"], indirect=True)
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://127.0.0.1:1/main", "no sentinel knows the primary of 'main': 127.0.0.1:1: "),
        ("redis+cluster://127.0.0.1:1", "no node of the cluster answers: 127.0.0.1:1: "),
    ],
)
def test_nobody_answers(pombo: Cli, url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command says in one line who does not answer, and that Redis is away."""
    monkeypatch.setenv("POMBO_REDIS_URL", url)
    answer = pombo("status")
    assert 1 == answer.code
    assert said(answer).startswith(f"no Redis answers at {url} ({words}")
