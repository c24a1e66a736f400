from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from ops.cli.commands import Cli, bury, said
from pombo.shared.keys import Keys
from pombo.worker.jobs import queue
from support.jobs import do_jobs


@pytest.fixture
def letters(pombo: Cli, bot: str, sync_redis: Redis) -> list[str]:
    """Three dead letters of `bot`."""
    return [
        bury(sync_redis, bot, f"m{number}", reason) for number, reason in enumerate(("poison", "expired", "poison"))
    ]


def left(redis: Redis) -> int:
    return int(redis.xlen(Keys().of("bot").dead))


def done(pombo: Cli, job: dict[str, Any]) -> Any:
    return pombo("jobs", "show", job["id"], "--json").json


def test_discard(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """The job does what the command would, at a rate."""
    answer = pombo("dead", "discard", "--reason", "poison", "--job", "--rate", "100", "--yes", "--json")
    (job,) = answer.json["jobs"]
    assert (0, "discard", 2, 100) == (answer.code, job["kind"], job["total"], job["progress"].get("throttle", 100))
    assert "no worker does jobs now" in answer.err
    assert "by command line" in job["by"]
    do_jobs(sync_redis)
    assert "2 dead letters discarded" == done(pombo, job)["sentence"]
    assert 1 == left(sync_redis)


def test_discard_asks(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """Without an answer nothing is put on the queue; a dry run says what it would be."""
    assert pombo("dead", "discard", "--job", stdin="n\n").code == 1
    assert "would delete 3 dead letters of bot\n" == pombo("dead", "discard", "--job", "--dry-run").out
    assert 0 == queue(sync_redis).count


def test_export_and_discard_and_import(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """A file in the worker's folder, of which what it holds is discarded, and put back by its name."""
    answer = pombo("dead", "export", "--job", "--discard", "--limit", "2", "--yes", "--json")
    (job,) = answer.json["jobs"]
    do_jobs(sync_redis)
    shown = done(pombo, job)
    path = Path(shown["result"]["path"])
    assert (2, 2, 1) == (len(path.read_bytes().splitlines()), shown["result"]["removed"], left(sync_redis))
    assert shown["sentence"].endswith(", and 2 of them discarded")

    (job,) = pombo("dead", "import", path.name, "--job", "--source", "bot", "--json").json["jobs"]
    do_jobs(sync_redis)
    assert f"2 dead letters put back from {path.name}" == done(pombo, job)["sentence"]
    assert 3 == left(sync_redis)


def test_a_worker_may_be_waited_for(pombo: Cli, letters: list[str], sync_redis: Redis) -> None:
    """What is said then is what became of the job."""
    assert pombo("dead", "export", "--job").out.startswith("job ")
    do_jobs(sync_redis)
    assert "3 dead letters exported to" in pombo("jobs", "list").out.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("export",), "give a FILE, or --job"),
        (("export", "f", "--job"), "give a FILE, or --job"),
        (("export", "f", "--discard"), "go with --job"),
        (("import", "f", "--rate", "5"), "go with --job"),
        (("import", "f", "--job"), "wants a --source"),
        (("import", "f", "--job", "--source", "nobody"), "no source is called 'nobody'"),
    ],
)
def test_what_does_not_go_together(pombo: Cli, bot: str, words: tuple[str, ...], told: str) -> None:
    """Wrong usage is told as such."""
    answer = pombo("dead", *words)
    assert answer.code == 2
    assert told in said(answer)


@pytest.mark.parametrize("words", [("discard", "--job", "--yes"), ("export", "--job")])
def test_nothing_matches(pombo: Cli, bot: str, sync_redis: Redis, words: tuple[str, ...]) -> None:
    """There is no job then, and the exit code says so."""
    answer = pombo("dead", *words)
    assert (1, "no dead letter matches\n") == (answer.code, answer.out)
    assert 0 == queue(sync_redis).count
