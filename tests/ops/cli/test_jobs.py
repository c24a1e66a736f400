import pytest
from redis import Redis

from ops.cli.commands import Cli, bury, said
from pombo.worker.jobs import queue
from support.jobs import do_jobs


@pytest.fixture
def job(pombo: Cli, bot: str, sync_redis: Redis) -> str:
    """The id of a redrive that waits."""
    bury(sync_redis, bot, "m1")
    (made,) = pombo("dead", "redrive", "--source", bot, "--no-wait", "--json").json["jobs"]
    return str(made["id"])


def test_no_jobs(pombo: Cli) -> None:
    """Without jobs it says so, and the JSON is an empty list."""
    assert (0, "There are no jobs.\n", "") == pombo("jobs", "list")
    assert pombo("jobs", "list", "--json").json == []


def test_list(pombo: Cli, job: str) -> None:
    """A job that waits is listed, with a word on who would do it."""
    (row,) = pombo("jobs", "list", "--json").json
    assert (job, "queued", "redrive dead letters of bot") == (row["id"], row["status"], row["description"])
    text = pombo("jobs", "list").out
    assert job in text
    assert "No worker does jobs now" in text


def test_show(pombo: Cli, job: str) -> None:
    """A job's progress is shown to people, and as JSON."""
    progress = pombo("jobs", "show", job, "--json").json["progress"]
    assert (0, 0) == (progress["moved"], progress["skipped"])
    assert "moved        0" in pombo("jobs", "show", job).out


def test_a_job_that_failed_says_why(pombo: Cli, job: str, sync_redis: Redis) -> None:
    """The last line of what it raised is in list and show."""
    pombo("sources", "remove", "bot", "--discard", "--yes")
    assert do_jobs(sync_redis) == 1
    shown = pombo("jobs", "show", job, "--json").json
    assert shown["status"] == "failed"
    assert "no source is called 'bot'" in shown["error"]


def test_cancel(pombo: Cli, job: str, sync_redis: Redis) -> None:
    """A job that waits leaves the queue; a second time there is nothing to do."""
    assert pombo("jobs", "cancel", job).out == f"job {job} cancelled\n"
    assert queue(sync_redis).count == 0
    again = pombo("jobs", "cancel", job)
    assert again.code == 1
    assert "is canceled already" in said(again)


@pytest.mark.parametrize("verb", ["show", "cancel"])
@pytest.mark.parametrize("job_id", ["nothing", "a:b", " "])
def test_an_unknown_job(pombo: Cli, verb: str, job_id: str) -> None:
    """An id that is none is wrong usage."""
    answer = pombo("jobs", verb, job_id)
    assert answer.code == 2
    assert "no job has the id" in said(answer)
