"""The job board, beside jobs that RQ really stores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from pombo.ops.jobboard import JobView, cancel, find_job, list_jobs, read_jobs
from pombo.shared.deadletters import Filter
from pombo.shared.errors import ConfigurationError, JobError, UnknownJobError
from pombo.worker.jobs import RESULT_TTL_S, enqueue_discard, enqueue_export, enqueue_redrive, queue


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)


def ended(redis: Redis, number: int, *, second: int | None = None) -> str:
    """A job that ended, the higher `number` the later; its id."""
    job = enqueue_redrive(redis, "bot", Filter(), namespace="pombo")
    queue(redis).remove(job)
    job.set_status(JobStatus.FINISHED)
    registry = queue(redis).finished_job_registry
    redis.zadd(registry.key, {job.id: RESULT_TTL_S + (number if second is None else second)})
    return job.id


def view(status: str = "started", **meta: Any) -> JobView:
    told = {"kind": "redrive", "source": "bot", "done": 0, "total": None, "moved": 0, **meta}
    return JobView("id", status, "redrive dead letters of bot", meta=told)


def test_a_job_that_waits(sync_redis: Redis) -> None:
    """What was asked for, by whom, and how much it may be."""
    job = enqueue_redrive(sync_redis, "bot", Filter(reason="poison", user="u1"), by="marta", total=7)
    shown = find_job(sync_redis, job.id)

    assert ("redrive", "bot", "marta", 0, 7, None) == (
        shown.kind, shown.source, shown.by, shown.done, shown.total, shown.eta_s,
    )  # fmt: skip
    assert "redrive dead letters of bot (reason poison, one user)" == shown.description
    assert "waits for a worker" == shown.sentence


def test_a_job_that_runs_tells_its_pace() -> None:
    """Speed, and how long the rest takes at it; neither once it is over."""
    running = view(done=600, moved=600, total=1000, speed=200.0)
    assert (200.0, 2.0) == (running.rate, running.eta_s)
    assert "600 dead letters redriven so far" == running.sentence
    assert (None, None) == (view("finished", done=600, speed=200.0).rate, view(done=600, speed=200.0).eta_s)


def test_more_than_was_expected_is_no_more_than_all() -> None:
    """Letters that came meanwhile make the total grow, never a progress beyond it."""
    assert 12 == view(done=12, total=10).total


@pytest.mark.parametrize(
    ("job", "sentence"),
    [
        (view("finished", sentence="2 dead letters redriven"), "2 dead letters redriven"),
        (view("canceled"), "cancelled before it did anything"),
        (view("stopped", done=2, moved=2), "cancelled; 2 dead letters redriven, which stays so"),
        (view("stopped", done=2, moved=2, pending={}), "cancelled; 2 dead letters redriven, which stays so"),
        (
            view("stopped", done=2, moved=2, pending={"ids": ["1-1"]}),
            "cancelled; at least 2 dead letters redriven, which stays so",
        ),
        (view("gone"), "no longer stored"),
        (
            view("queued", waits="no room", waits_since="2026-01-02T03:04:05.678Z", done=2, moved=2),
            "2 dead letters redriven so far; it waits since 2026-01-02 03:04:05 UTC: no room; meanwhile other jobs go "
            "first",
        ),
        (view("queued", done=2, moved=2), "2 dead letters redriven so far; it waits for a worker"),
        (replace(view(waits="no room"), ending=True), "0 dead letters redriven so far; it is being stopped"),
        (view("canceled", waits="no room", done=2, moved=2), "cancelled; 2 dead letters redriven, which stays so"),
        (
            view("stopped", kind="export", letters=2, done=2, phase="dropped"),
            "cancelled; no dead letter exported: the half of a file, with 2 dead letters, was deleted",
        ),
        (view(waits="the disk is full"), "0 dead letters redriven so far; it waits: the disk is full"),
    ],
)
def test_one_sentence_says_what_became_of_it(job: JobView, sentence: str) -> None:
    """Whatever happened, and what was done stays done."""
    assert sentence == job.sentence


def test_one_word_says_how_it_is() -> None:
    """The same words wherever jobs are shown; RQ's own stay in the JSON."""
    running = view()
    waits, ending = view(waits="no room"), replace(running, ending=True)
    found = [one.word for one in (view("queued"), running, waits, ending, view("stopped"), view("canceled"))]
    assert ["waiting", "running", "waiting", "stopping", "cancelled", "cancelled"] == found
    assert (None, None) == (view("finished", waits="no room").waits, running.describe()["waits"])
    assert ("started", "no room") == (waits.describe()["status"], waits.describe()["waits"])


def test_a_failed_job_says_why() -> None:
    """The last line of what was raised, and what was done before."""
    failed = JobView("id", "failed", "", meta=view(moved=3, done=3).meta, error="NoSuchSource: nobody")
    assert "failed: NoSuchSource: nobody; before that, 3 dead letters redriven" == failed.sentence


def test_jobs_of_an_older_pombo_are_told_too() -> None:
    """They have neither a kind nor a count that is called `done`."""
    old = JobView("id", "finished", "redrive dead letters of bot", meta={"moved": 5, "skipped": 0})
    assert ("redrive", None, 5, "5 dead letters redriven") == (old.kind, old.source, old.done, old.sentence)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_pages_are_all_there_is(sync_redis: Redis, size: int) -> None:
    """Page by page come all jobs once: those that wait first, then those that ended, the last to end first."""
    waiting = [enqueue_discard(sync_redis, "bot", Filter()).id for _ in range(2)]
    done = [ended(sync_redis, number, second=number // 3) for number in range(8)]
    found, place = [], None
    while True:
        page = list_jobs(sync_redis, before=place, count=size)
        found += [job.id for job in page.jobs if job.ended]
        place = page.next
        if place is None:
            break
    assert sorted(done) == sorted(found)
    assert [2, 2, 1, 1, 1, 0, 0, 0] == [done.index(one) // 3 for one in found]
    assert set(waiting) >= {job.id for job in list_jobs(sync_redis, count=size).jobs if not job.ended}
    assert {*waiting, *done} == {job.id for job in read_jobs(sync_redis)}


def test_a_page_costs_a_page(sync_redis: Redis) -> None:
    """With thousands of old jobs no more commands are sent than with a few."""
    old = enqueue_redrive(sync_redis, "bot", Filter())
    queue(sync_redis).remove(old)
    old.set_status(JobStatus.FINISHED)
    many = {f"gone-{number}": RESULT_TTL_S + number for number in range(5000)}
    sync_redis.zadd(queue(sync_redis).finished_job_registry.key, many)
    ended(sync_redis, 9000)

    def commands() -> int:
        return int(sync_redis.info("stats")["total_commands_processed"])

    before = commands()
    page = list_jobs(sync_redis, count=10)
    assert page.next is not None
    assert commands() - before < 80


@pytest.mark.parametrize("place", ["", "x", "1", "1-x", "nan"])
def test_a_place_that_is_none(sync_redis: Redis, place: str) -> None:
    """What a URL may hold is told as wrong."""
    with pytest.raises(ConfigurationError, match="is no place in the list of jobs"):
        list_jobs(sync_redis, before=place)


def test_a_cancelled_job_forgets_whom_it_was_about(sync_redis: Redis) -> None:
    """It stays a week in the list, without user, messageId or selection in any of its words."""
    wanted = Filter(user="u-secret", message_id="m-secret", ids=frozenset({"bot/77-7"}), event="Message Sent")
    job = enqueue_export(sync_redis, "bot", wanted)
    assert "queued" == cancel(sync_redis, job.id).status
    stored: Any = sync_redis.hgetall(job.key)
    again = Job.fetch(job.id, connection=sync_redis, serializer=JSONSerializer)

    assert "Message Sent" == again.args[1]["event"]
    assert not [word for word in ("u-secret", "m-secret", "77-7") if word in str(again.args)]
    assert b"secret" not in b"".join(stored.values())
    assert 0 < sync_redis.ttl(job.key) <= RESULT_TTL_S
    (shown,) = list_jobs(sync_redis).jobs
    assert ("canceled", "cancelled before it did anything") == (shown.status, shown.sentence)
    assert shown.ended_at is not None
    assert datetime.now(UTC) - shown.ended_at < timedelta(minutes=5)
    with pytest.raises(JobError, match="is canceled already"):
        cancel(sync_redis, job.id)


def test_an_unknown_job(sync_redis: Redis) -> None:
    """Whatever was typed, it is none."""
    for job_id in ("nothing", "a:b", " "):
        with pytest.raises(UnknownJobError, match="no job has the id"):
            find_job(sync_redis, job_id)
