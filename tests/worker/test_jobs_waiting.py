"""Jobs that can only wait, in real workers: they give way, say for what they wait, and are neither lost nor doubled."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from redis import Redis
from rq.job import Job

from pombo.ops.jobboard import JobView, cancel, find_job
from pombo.shared.connection import aconnect, connect
from pombo.shared.deadletters import Filter
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.worker.jobs import enqueue_discard, enqueue_export, enqueue_import, enqueue_redrive, queue
from support.jobprocess import (
    bury,
    fetch,
    given_up,
    jobs_process,
    queued,
    result,
    running_job,
    set_environment,
    with_a_worker,
)
from support.programs import exists
from support.servers import unix
from support.waiting import until

FILE = "letters.ndjson"
MANY = 3000


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, tmp_path, POMBO_REDIS_URL=redis_url, POMBO_EXPORT_DIR=str(tmp_path))


@pytest.fixture
def jobs_redis() -> Iterator[Redis]:
    """A Redis for jobs alone."""
    with unix() as server, connect(server.url) as client:
        yield client


def limit(dead_bytes: int) -> None:
    """Bound the dead letters of `bot`."""

    async def work() -> None:
        client = aconnect(os.environ["POMBO_REDIS_URL"])
        await Registry(client, Keys(), Secrets([new_secret()])).set("bot", dead_bytes=dead_bytes)
        await client.aclose()

    with asyncio.Runner() as runner:
        runner.run(work())


def exported(folder: Path, count: int = MANY) -> None:
    """Write a file as an export does, of letters that are there no more."""
    lines = []
    for number in range(count):
        event = {"messageId": f"m{number}", "type": "track", "event": "E"}
        lines.append(orjson.dumps({"id": f"bot/{number + 1}-0", "reason": "poison", "partition": 0, "payload": event}))
    (folder / FILE).write_bytes(b"\n".join(lines))


def dead(redis: Redis) -> int:
    return int(redis.xlen(Keys().of("bot").dead))


def until_it_waits(redis: Redis, job: Job) -> JobView:
    """The job, as soon as it waits for something."""
    until(lambda: find_job(redis, job.id).waits, "job that waits")
    return find_job(redis, job.id)


def rq_info(url: str) -> str:
    """What RQ's own tool shows of the queues."""
    command = [str(Path(sys.executable).with_name("rq")), "info", "--raw", "--only-queues", "--url", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_an_import_at_the_limit_lets_go_first_who_makes_room(
    sync_redis: Redis, bot: str, tmp_path: Path, redis_url: str
) -> None:
    """With one worker, the discard behind it is done; then the import goes on where it was. All along it says why."""
    exported(tmp_path)
    limit(100_000)
    job = enqueue_import(sync_redis, bot, FILE)
    with jobs_process():
        view = until_it_waits(sync_redis, job)
        held = dead(sync_redis)
        assert 0 < held < MANY
        assert ("started", "waiting", held) == (view.status, view.word, view.meta["restored"])
        assert view.waits_since is not None
        since = f"{view.waits_since:%Y-%m-%d %H:%M:%S} UTC: the dead letters of 'bot' are at their limit"
        assert view.sentence.startswith(f"{held:,} dead letters put back from {FILE} so far; it waits since {since}")
        assert "queue pombo-jobs 0, 1 executing" in rq_info(redis_url)
        behind = enqueue_discard(sync_redis, bot, Filter())
        until(lambda: fetch(sync_redis, behind).is_finished, "end of the discard")
        limit(0)
        until(lambda: fetch(sync_redis, job).is_finished, "end of the import")

    assert held == result(sync_redis, behind)["discarded"]
    assert (MANY, 0) == tuple(result(sync_redis, job)[name] for name in ("restored", "before"))
    assert MANY - held == dead(sync_redis)
    assert 0 == len(queue(sync_redis))


def test_two_that_wait_take_turns_and_can_be_cancelled(
    sync_redis: Redis, bot: str, tmp_path: Path, redis_url: str
) -> None:
    """One is with the worker, the other in the queue; each ends as soon as it is cancelled, with what it did."""
    exported(tmp_path)
    limit(100_000)
    first, second = enqueue_import(sync_redis, bot, FILE), enqueue_import(sync_redis, bot, FILE)
    with jobs_process():
        until_it_waits(sync_redis, first)
        until_it_waits(sync_redis, second)
        until(lambda: "queue pombo-jobs 1, 1 executing" in rq_info(redis_url), "one that gave way")
        shown = [find_job(sync_redis, job.id) for job in (first, second)]
        assert ["waiting"] * 2 == [view.word for view in shown]
        assert all("; it waits since" in view.sentence for view in shown)
        for job in (first, second):
            cancel(sync_redis, job.id)
            until(lambda job=job: find_job(sync_redis, job.id).word == "cancelled", "end of a job", 10)  # type: ignore[misc]
    assert [0, 0] == [len(queue(sync_redis)), len(queue(sync_redis).started_job_registry)]
    assert dead(sync_redis) == sum(find_job(sync_redis, job.id).meta["restored"] for job in (first, second))


def test_a_job_that_waits_is_neither_lost_nor_doubled(sync_redis: Redis, bot: str, tmp_path: Path) -> None:
    """Whether its process is killed with -9 while it waits, or its worker, or whoever has it next."""
    exported(tmp_path)
    limit(100_000)
    job, other = enqueue_import(sync_redis, bot, FILE), enqueue_import(sync_redis, bot, FILE)
    for _ in range(3):
        with jobs_process() as process:
            until_it_waits(sync_redis, job)
            os.kill(until(lambda: running_job(process), "process of a job"), signal.SIGKILL)
            until(lambda: running_job(process), "process of a job")
            process.kill()
        for one in (job, other):
            if with_a_worker(sync_redis, one):
                given_up(sync_redis, one)
        assert sorted([job.id, other.id]) == sorted(queue(sync_redis).get_job_ids())
    limit(0)
    with jobs_process():
        for one in (job, other):
            until(lambda one=one: fetch(sync_redis, one).is_finished, "end of a job")  # type: ignore[misc]

    told = [result(sync_redis, one) for one in (job, other)]
    assert MANY == dead(sync_redis) == sum(one["restored"] for one in told)
    assert MANY == sum(one["before"] for one in told)


def test_a_redrive_that_finds_redis_full_lets_others_go_first(
    sync_redis: Redis, bot: str, jobs_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The discard behind it makes room; the redrive goes on when there is some."""
    path = jobs_redis.connection_pool.connection_kwargs["path"]
    monkeypatch.setenv("POMBO_JOBS_REDIS_URL", f"unix://{path}")
    bury(sync_redis, *(f"m{number}" for number in range(50)))
    bury(sync_redis, *(f"x{number}" for number in range(50)), reason="expired")
    sync_redis.config_set("maxmemory", 1)
    job = enqueue_redrive(jobs_redis, bot, Filter(reason="poison"))
    try:
        with jobs_process():
            view = until_it_waits(jobs_redis, job)
            assert "0 dead letters redriven so far; it waits since" in view.sentence
            assert "Redis is at its maxmemory" in view.sentence
            behind = enqueue_discard(jobs_redis, bot, Filter(reason="expired"))
            until(lambda: fetch(jobs_redis, behind).is_finished, "end of the discard")
            sync_redis.config_set("maxmemory", 0)
            until(lambda: fetch(jobs_redis, job).is_finished, "end of the redrive")
    finally:
        sync_redis.config_set("maxmemory", 0)
    assert (50, 50) == (result(jobs_redis, behind)["discarded"], result(jobs_redis, job)["moved"])
    assert 50 == queued(sync_redis)


def test_a_slow_throttle_keeps_no_worker(sync_redis: Redis, bot: str) -> None:
    """A letter in 20 s: others go first in between, and the rate is kept however often it comes back."""
    bury(sync_redis, "a", "b", "c", reason="expired")
    bury(sync_redis, "d")
    job = enqueue_redrive(sync_redis, bot, Filter(reason="expired"), rate=0.05)
    with jobs_process():
        until(lambda: fetch(sync_redis, job).meta["moved"], "first letter")
        behind = enqueue_discard(sync_redis, bot, Filter(reason="poison"))
        until(lambda: fetch(sync_redis, behind).is_finished, "end of the discard", 15)
        view = find_job(sync_redis, job.id)
        assert "1 dead letter redriven so far" in view.sentence
        assert 1 == queued(sync_redis)
        cancel(sync_redis, job.id)
        until(lambda: find_job(sync_redis, job.id).word == "cancelled", "end of the redrive", 10)
    assert "cancelled; 1 dead letter redriven, which stays so" == find_job(sync_redis, job.id).sentence


def test_a_cancelled_export_leaves_no_half(sync_redis: Redis, bot: str, tmp_path: Path) -> None:
    """It is asked to end, not killed, so it can take away what nobody wants; whoever asks: our words or RQ's own."""
    bury(sync_redis, *(f"m{number}" for number in range(MANY)))
    job = enqueue_export(sync_redis, bot, Filter(user="u1"), rate=500)
    with jobs_process():
        until(lambda: fetch(sync_redis, job).meta["done"], "progress", poll_s=0.005)
        cancel(sync_redis, job.id)
        until(lambda: fetch(sync_redis, job).is_stopped, "stop of the job")
    assert [] == [*tmp_path.glob("*.part"), *tmp_path.glob(".*.part")]
    assert "the half of a file, with" in find_job(sync_redis, job.id).sentence


def test_a_cancel_that_nobody_hears_is_heeded_later(sync_redis: Redis, bot: str) -> None:
    """When the job's worker is dead, whoever takes the job up ends it, and moves nothing more."""
    bury(sync_redis, *(f"m{number}" for number in range(MANY)))
    job = enqueue_redrive(sync_redis, bot, Filter(user="u1"), rate=200)
    with jobs_process() as process:
        until(lambda: fetch(sync_redis, job).meta["moved"], "progress", poll_s=0.005)
        pid = running_job(process)
        process.kill()
    until(lambda: not exists(pid), "end of the job's process")
    moved = queued(sync_redis)
    cancel(sync_redis, job.id)
    shown = find_job(sync_redis, job.id)
    assert ("started", "stopping") == (shown.status, shown.word)
    assert shown.sentence.endswith("so far; it is being stopped")
    given_up(sync_redis, job)
    assert "stopping" == find_job(sync_redis, job.id).word
    with jobs_process():
        until(lambda: fetch(sync_redis, job).is_stopped, "stop of the job")
    ended = find_job(sync_redis, job.id)
    assert moved == queued(sync_redis)
    assert ("cancelled", moved) == (ended.word, ended.meta["moved"])
    assert b"pombo_cancel" not in sync_redis.hkeys(job.key)


def test_a_cancel_that_meets_the_start_holds(sync_redis: Redis, bot: str) -> None:
    """A job that a worker has just taken off the queue, and not begun, does nothing."""
    bury(sync_redis, "a")
    job = enqueue_redrive(sync_redis, bot, Filter())
    sync_redis.lmove(queue(sync_redis).key, "taken", "LEFT", "RIGHT")
    cancel(sync_redis, job.id)
    assert "stopping" == find_job(sync_redis, job.id).word
    sync_redis.lmove("taken", queue(sync_redis).key, "LEFT", "RIGHT")
    with jobs_process():
        until(lambda: fetch(sync_redis, job).is_stopped, "stop of the job")
    assert 0 == queued(sync_redis)
    assert "cancelled before it did anything" == find_job(sync_redis, job.id).sentence


def test_a_job_outlives_the_loss_of_its_redis(
    sync_redis: Redis, bot: str, jobs_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis of the jobs forgets all: the running job stores itself anew, goes on, and its worker is known again."""
    path = jobs_redis.connection_pool.connection_kwargs["path"]
    monkeypatch.setenv("POMBO_JOBS_REDIS_URL", f"unix://{path}")
    bury(sync_redis, *(f"m{number}" for number in range(MANY)))
    job = enqueue_redrive(jobs_redis, bot, Filter(user="u1"), rate=500, by="ana")
    with jobs_process():
        until(lambda: fetch(jobs_redis, job).meta["moved"], "progress", poll_s=0.005)
        jobs_redis.flushall()
        until(lambda: jobs_redis.hexists(job.key, "data"), "job stored anew")
        view = find_job(jobs_redis, job.id)
        assert ("started", "ana", MANY) == (view.status, view.by, view.total)
        assert [job.id] == queue(jobs_redis).started_job_registry.get_job_ids()
        until(lambda: fetch(jobs_redis, job).is_finished, "end of the job")
        until(lambda: jobs_redis.scard("rq:workers:pombo-jobs"), "worker of jobs")
    assert MANY == result(jobs_redis, job)["moved"] == queued(sync_redis)
