"""Jobs: the list, one job in words, cancelling, and what comes by itself."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from ops.console.letterbox import KEYS, add, dead, deeds, letter, post, put
from ops.console.rig import OPERATOR, VIEWER, Running, console
from pombo.ops.console.jobwords import Mark, checkpoint, counts
from pombo.ops.console.upcoming import Due, recovery_due, retention_due
from pombo.ops.jobboard import JobView
from pombo.shared.clock import moment
from pombo.shared.deadletters import ALL, Filter
from pombo.worker.jobs import enqueue_discard, enqueue_import, enqueue_redrive
from pombo.worker.jobs.outages import SETTLED_MS, Outage
from support.jobs import do_jobs
from support.waiting import until

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What jobs find that are done here, or in a process of their own."""
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)
    monkeypatch.setenv("POMBO_EXPORT_DIR", str(tmp_path))
    monkeypatch.setenv("POMBO_LOG_LEVEL", "error")


def test_no_jobs_and_nobody_to_do_them(ana: httpx.Client) -> None:
    """The page says both, with the command to type."""
    page = ana.get("/jobs").text
    assert "No jobs" in page
    assert "No worker does jobs now. Start one: " in page
    assert 'data-copy="pombo worker"' in page


def test_a_job_from_the_queue_to_its_end(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """It waits, with its kind, source and who wanted it; when it is done, it says what it did."""
    add(redis_url, "bot")
    put(redis_url, letter("m1"), letter("m2", "invalid"))
    job = enqueue_redrive(sync_redis, "bot", ALL, by="nightly", total=2, rate=50)
    for page in (ana.get("/jobs").text, ana.get(f"/jobs/{job.id}").text):
        assert [] == [words for words in ("Redrive", "bot", "nightly", "0 of 2", "waiting") if words not in page]
    do_jobs(sync_redis)
    page = ana.get(f"/jobs/{job.id}").text
    for words in ("1 dead letter redriven; 1 skipped", "events put back into the queue", "at most 50 a second"):
        assert words in page
    assert "Cancel…" not in page
    page = ana.get("/jobs").text
    assert [] == [words for words in ("finished", "operator") if words not in page]


def test_a_job_that_failed_says_why(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """The error is text, whatever is in it."""
    add(redis_url, "bot")
    job = enqueue_import(sync_redis, "bot", SCRIPT)
    do_jobs(sync_redis)
    for path in ("/jobs", f"/jobs/{job.id}"):
        page = ana.get(path).text
        assert SCRIPT not in page
        assert "&lt;script&gt;" in page
        assert "is no name of a file in the folder of exports" in page


def test_jobs_are_cancelled_before_they_begin(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Nothing is done; a second time there is nothing to cancel."""
    add(redis_url, "bot")
    put(redis_url, letter())
    job = enqueue_discard(sync_redis, "bot", ALL)
    assert "Cancel…" in ana.get(f"/jobs/{job.id}").text
    answer = post(ana, f"/jobs/{job.id}/cancel")
    assert "cancelled before it" in ana.get(answer.headers["location"]).text
    do_jobs(sync_redis)
    assert (1, [("ana", "jobs.cancel", job.id)]) == (dead(sync_redis), deeds(sync_redis))
    answer = post(ana, f"/jobs/{job.id}/cancel")
    assert "canceled already; nothing was changed" in ana.get(answer.headers["location"]).text
    assert [("ana", "jobs.cancel", job.id)] == deeds(sync_redis)


def test_a_running_job_is_cancelled(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """It stops between two steps: what it did stays, the rest too."""
    add(redis_url, "bot")
    put(redis_url, *(letter(f"m{number}") for number in range(30)))
    job = enqueue_redrive(sync_redis, "bot", ALL, rate=2, total=30)
    with subprocess.Popen([sys.executable, "-m", "pombo.worker.jobs"], stdin=subprocess.DEVNULL) as process:
        try:
            until(lambda: "running" in ana.get(f"/jobs/{job.id}/live").text, "running job")
            until(lambda: 30 > dead(sync_redis), "progress")
            assert "No worker does jobs" not in ana.get("/jobs").text
            assert "is being stopped" in ana.get(post(ana, f"/jobs/{job.id}/cancel").headers["location"]).text
            until(lambda: "cancelled; " in ana.get(f"/jobs/{job.id}/live").text.casefold(), "end of the job")
        finally:
            process.send_signal(signal.SIGKILL)
    assert 0 < dead(sync_redis) < 30


@pytest.mark.parametrize("path", ["/jobs/none", "/jobs/none/live", f"/jobs/{SCRIPT}"])
def test_jobs_that_never_were_are_not_found(ana: httpx.Client, path: str) -> None:
    """With words, and escaped."""
    answer = ana.get(path)
    assert (404, False) == (answer.status_code, SCRIPT in answer.text)
    assert 404 == post(ana, "/jobs/none/cancel").status_code


def test_viewers_see_jobs_and_cancel_none(redis_url: str, sync_redis: Redis, guarded: Running) -> None:
    """The page has no button, and the act is refused; so is an operator's without the session's token."""
    add(redis_url, "bot")
    job = enqueue_discard(sync_redis, "bot", ALL)
    with guarded.client(VIEWER) as vic, guarded.client(OPERATOR) as ana:
        page = vic.get(f"/jobs/{job.id}").text
        assert ("Discard of bot" in page, "Cancel…" in page) == (True, False)
        assert 403 == post(vic, f"/jobs/{job.id}/cancel").status_code
        assert 403 == ana.post(f"/jobs/{job.id}/cancel").status_code
    assert "queued" == Job.fetch(job.id, sync_redis, JSONSerializer).get_status()


def test_many_jobs_are_paged(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Those that ended, thirty at a time; a place that is none is explained."""
    add(redis_url, "bot")
    for _ in range(35):
        enqueue_discard(sync_redis, "bot", ALL)
    do_jobs(sync_redis)
    page = ana.get("/jobs").text
    assert 30 == page.count('<tr data-key="')
    following = page.partition('rel="next"')[0].rpartition('href="')[2].partition('"')[0]
    assert 5 == ana.get(following).text.count('<tr data-key="')
    assert 404 == ana.get("/jobs?before=lunch").status_code


def test_whom_a_job_is_about_is_on_no_page(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Its words say that it is about one user, and not who that is."""
    add(redis_url, "bot")
    job = enqueue_discard(sync_redis, "bot", Filter(user="maria@example.com"))
    for path in ("/jobs", f"/jobs/{job.id}"):
        page = ana.get(path).text
        assert ("one user" in page, "maria" in page) == (True, False)


def test_jobs_away_are_told_with_what_to_do(redis_url: str) -> None:
    """While their Redis does not answer, the list says so, and acts say that nothing happened."""
    add(redis_url, "bot")
    put(redis_url, letter())
    gone = "redis://127.0.0.1:1/0"
    with console(redis_url, console_token=OPERATOR, jobs_redis_url=gone) as running, running.client(OPERATOR) as ana:
        page = ana.get("/jobs")
        assert 200 == page.status_code
        assert "Jobs cannot be reached: no Redis answers at redis://127.0.0.1:1/0" in page.text
        assert "POMBO_JOBS_REDIS_URL" in page.text
        for answer in (ana.get("/jobs/x"), post(ana, "/dead/-/act", {"action": "discard", "all": "1"})):
            assert 503 == answer.status_code
            assert "Jobs cannot be reached" in answer.text


def test_what_comes_by_itself_is_told(redis_url: str, sync_redis: Redis, ana: httpx.Client) -> None:
    """Retention and automatic redrives of the sources that have them."""
    add(redis_url, "plain")
    add(redis_url, "kept", retention_s=86_400.0)
    add(redis_url, "well", redrive_after_outage=True)
    put(redis_url, letter(), source="kept")
    outage = Outage(began=1, broken=2, well_since=None)
    sync_redis.hset(KEYS.schedule, "outage:well", outage.dump())
    page = ana.get("/jobs").text.partition('aria-label="Scheduled"')[2]
    assert "the oldest is exported and discarded then" in page
    assert "an outage goes on" in page
    assert "plain" not in page


def test_when_retention_is_due() -> None:
    """A span after the oldest letter's death, or at once when that is over, or not at all."""
    day = timedelta(days=1)
    assert NOW + day == retention_due("bot", 86_400, NOW, NOW).at
    assert "due" in retention_due("bot", 86_400, NOW - 2 * day, NOW).words
    assert Due("retention", "bot", None, "kept for 24.0 h; there are none") == retention_due("bot", 86_400, None, NOW)


def test_when_an_automatic_redrive_is_due() -> None:
    """A minute after the source is well again."""
    assert recovery_due("bot", None).words.startswith("no outage now")
    assert recovery_due("bot", Outage(1, 2)).at is None
    at = recovery_due("bot", Outage(1, 2, 60_000)).at
    assert at is not None
    assert (60_000 + SETTLED_MS) / 1000 == at.timestamp()


def view(**meta: Any) -> JobView:
    return JobView("x", "started", "", meta=meta)


def test_a_checkpoint_is_words() -> None:
    """Where a job would go on, without ids of letters or what only a program reads."""
    running = view(
        throttle=2.5, phase="removing", next="(1000-3", end="61000-0", bytes=2_000_000, pending={"ids": ["1-0", "1-1"]},
    )  # fmt: skip
    asked = [Mark("Rate asked for", "at most 2.5 a second"), Mark("Written", "2.0 MB")]
    assert [
        *asked, Mark("Phase", "discarding what the file holds"), Mark("Goes on behind", "what died", moment(1000)),
        Mark("Goes up to", "what died", moment(61_000)), Mark("Under way", "a step of 2 letters"),
    ] == checkpoint(running)  # fmt: skip
    assert asked == checkpoint(replace(running, status="finished"))
    assert [] == checkpoint(view(next="-", end="0-0", pending=None))


def test_counts_that_are_nothing_are_left_out() -> None:
    """The others have words, in a fixed order."""
    found = counts({"moved": 3, "skipped": 0, "older": 2, "done": 3})
    assert [("moved", 3), ("older", 2)] == [(one.name, one.value) for one in found]
