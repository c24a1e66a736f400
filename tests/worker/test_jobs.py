"""Redrives as RQ jobs: in this process by RQ's own worker, and in real ones that are killed."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis
from redis.exceptions import ConnectionError
from rq.job import Job, _current_job
from rq.timeouts import JobTimeoutException

from pombo.ops.jobboard import JobView, cancel, find_job
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import Filter, LetterHeader
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings
from pombo.worker.jobs import (
    QUEUE,
    QUIET_S,
    RESTARTS,
    JobWorker,
    Outage,
    away_s,
    enqueue_discard,
    enqueue_export,
    enqueue_import,
    enqueue_recovery,
    enqueue_redrive,
    enqueue_retention,
    queue,
)
from pombo.worker.jobs.criteria import NOBODY
from pombo.worker.jobs.frame import Desk, Task, perform
from pombo.worker.jobs.runs import RUN
from support.jobprocess import bury, fetch, given_up, jobs_process, queued, result, running_job, set_environment
from support.jobs import do_jobs
from support.programs import exists
from support.waiting import until

DEADLINE_S = 60
MANY = 4_000
SLOW = 200.0
"""Letters a second of a job that is to be met at its work: it takes 20 s, and makes a step every half second."""


@pytest.fixture(autouse=True)
def environment(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, tmp_path, POMBO_REDIS_URL=redis_url)


async def set_retention() -> None:
    """Have letters of `bot` kept for a day."""
    client = aconnect(os.environ["POMBO_REDIS_URL"])
    await Registry(client, Keys(), Secrets([new_secret()])).set("bot", retention_s=86_400)
    await client.aclose()


def many() -> list[str]:
    return [f"m{number:05}" for number in range(MANY)]


def counted(moved: int) -> dict[str, Any]:
    """The result of a redrive that passed over nothing."""
    counts = {"moved": moved, "skipped": 0, "unreadable": 0, "older": 0}
    return {**counts, "sentence": f"{moved:,} dead letters redriven"}


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Have the process that runs jobs put its job back, and end."""
    process.terminate()
    assert 0 == process.wait(DEADLINE_S)


def finish(redis: Redis, job: Job) -> None:
    """Do the rest of a slow job that is on the queue again, in this process."""
    hurry(redis, job)
    do_jobs(redis)


def half_way(redis: Redis, job: Job, process: "subprocess.Popen[bytes]") -> int:
    """Wait until a slow job has done some of its work; the pid of its process."""
    done = fetch(redis, job).meta["done"]
    until(lambda: fetch(redis, job).meta["done"] > done, "progress", poll_s=0.005)
    pid = until(lambda: running_job(process), "process of the job")
    assert 0 < fetch(redis, job).meta["done"] < MANY
    return pid


def hurry(redis: Redis, job: Job) -> None:
    """Have a job that nobody runs go as fast as it can from now on: whoever runs it would put it back as it was."""
    changed = fetch(redis, job)
    changed.kwargs = {**changed.kwargs, "rate": None}
    redis.hset(job.key, "data", changed.to_dict(include_meta=False)["data"])


def test_a_redrive_runs_in_any_rq_worker(sync_redis: Redis, bot: str) -> None:
    """The job's result and its progress say what it moved."""
    bury(sync_redis, "a", "b", "c")
    job = enqueue_redrive(sync_redis, bot, Filter())
    do_jobs(sync_redis)

    assert counted(3) == result(sync_redis, job)
    assert 3 == fetch(sync_redis, job).meta["moved"] == queued(sync_redis)


def test_a_filter_travels_as_json(sync_redis: Redis, bot: str) -> None:
    """What is stored is JSON, and comes out as the filter and the limit that went in."""
    bury(sync_redis, "a", "b", reason="expired")
    bury(sync_redis, "c")
    wanted = Filter(reason="expired", event="Message Sent", user="u1", since=datetime(2020, 1, 1, tzinfo=UTC))
    job = enqueue_redrive(sync_redis, bot, wanted, limit=1)
    stored: Any = sync_redis.hgetall(job.key)
    do_jobs(sync_redis)

    assert "pombo.worker.jobs.redrive" == job.serializer.loads(job.data)[0]
    assert (0, None) == itemgetter("done", "total")(orjson.loads(stored[b"meta"]))
    assert 1 == result(sync_redis, job)["moved"] == queued(sync_redis)


def test_what_fails_for_good_is_not_tried_again(sync_redis: Redis) -> None:
    """A source that is not there makes a failed job, at once, whose error says so."""
    job = enqueue_redrive(sync_redis, "nobody", Filter())
    assert 1 == do_jobs(sync_redis)

    ended = fetch(sync_redis, job).latest_result()
    assert ended is not None
    assert "failed" == fetch(sync_redis, job).get_status()
    assert "no source is called 'nobody'" in str(ended.exc_string)


@pytest.mark.parametrize("more", [(), ("--serializer", "rq.serializers.JSONSerializer")])
def test_stock_tools_show_it(sync_redis: Redis, redis_url: str, more: tuple[str, ...]) -> None:
    """`rq info` lists the queue with the job that waits."""
    enqueue_redrive(sync_redis, "bot", Filter())
    command = [str(Path(sys.executable).with_name("rq")), "info", "--raw", "--url", redis_url, *more]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout

    assert f"queue {QUEUE} 1" in shown


def test_a_killed_job_goes_on_where_it_was(sync_redis: Redis, bot: str) -> None:
    """A job whose process is killed with -9 is run again by its worker, and moves nothing twice."""
    bury(sync_redis, *many())
    job = enqueue_redrive(sync_redis, bot, Filter(), rate=SLOW)
    with jobs_process() as process:
        killed = half_way(sync_redis, job, process)
        bury(sync_redis, "later")
        os.kill(killed, signal.SIGKILL)
        assert killed != half_way(sync_redis, job, process)
        assert RESTARTS - 1 == fetch(sync_redis, job).retries_left
        stop(process)

    finish(sync_redis, job)
    assert counted(MANY) == result(sync_redis, job)
    assert MANY == queued(sync_redis)


def test_a_stop_puts_the_running_job_back(sync_redis: Redis, bot: str) -> None:
    """SIGTERM is not held up by a long job: that goes back to the queue as it is."""
    bury(sync_redis, *many())
    job = enqueue_redrive(sync_redis, bot, Filter(), rate=SLOW)
    with jobs_process() as process:
        pid = half_way(sync_redis, job, process)
        stop(process)
        until(lambda: not exists(pid), "end of the job's process")

    assert ("queued", [job.id]) == (fetch(sync_redis, job).get_status(), queue(sync_redis).get_job_ids())
    assert 0 < fetch(sync_redis, job).meta["moved"] < MANY
    finish(sync_redis, job)
    assert MANY == result(sync_redis, job)["moved"] == queued(sync_redis)


def test_a_killed_worker_takes_its_job_with_it(sync_redis: Redis, bot: str) -> None:
    """Nobody runs on beside the next worker, and whoever looks, once the job is overdue, puts it back."""
    bury(sync_redis, *many())
    job = enqueue_redrive(sync_redis, bot, Filter(), rate=SLOW)
    with jobs_process() as process:
        pid = half_way(sync_redis, job, process)
        process.kill()
        process.wait(DEADLINE_S)
        until(lambda: not exists(pid), "end of the job's process")
    assert "started" == fetch(sync_redis, job).get_status()

    given_up(sync_redis, job)
    finish(sync_redis, job)
    assert MANY == result(sync_redis, job)["moved"] == queued(sync_redis)


def test_a_job_that_is_done_twice_is_done_once(sync_redis: Redis, bot: str) -> None:
    """RQ may take a worker for dead that lives: once another runs the job, the first ends, and counts stay exact."""
    bury(sync_redis, *many())
    job = enqueue_redrive(sync_redis, bot, Filter(), rate=SLOW)
    with jobs_process() as first:
        pid = half_way(sync_redis, job, first)
        run = sync_redis.hget(job.key, RUN)
        given_up(sync_redis, job)
        with jobs_process() as second:
            until(lambda: sync_redis.hget(job.key, RUN) != run, "second run of the job")
            until(lambda: not exists(pid), "end of the first one")
            half_way(sync_redis, job, second)
            stop(first)
            stop(second)

    finish(sync_redis, job)
    assert counted(MANY) == result(sync_redis, job)
    assert MANY == queued(sync_redis)
    assert 0 == len(queue(sync_redis))


def test_a_cancelled_job_ends_between_two_steps(sync_redis: Redis, bot: str) -> None:
    """Who cancels a running job has it end at once, with exact counts; it is not run again, and names nobody."""
    bury(sync_redis, *many())
    job = enqueue_redrive(sync_redis, bot, Filter(user="u1"), rate=SLOW)
    with jobs_process() as process:
        half_way(sync_redis, job, process)
        cancel(sync_redis, job.id)
        until(lambda: fetch(sync_redis, job).is_stopped, "stop of the job")
    ended, moved = fetch(sync_redis, job), queued(sync_redis)

    assert 0 == len(queue(sync_redis))
    assert 0 < moved < MANY
    assert (moved, moved, None) == (ended.meta["moved"], ended.meta["done"], ended.meta["pending"])
    assert f"cancelled; {moved:,} dead letters redriven, which stays so" == JobView.of(ended).sentence
    assert NOBODY == ended.args[1]["user"]


def test_an_ended_job_forgets_whom_it_was_about(sync_redis: Redis, bot: str) -> None:
    """Neither user, messageId nor selection is in what RQ keeps for a week."""
    wanted = Filter(user="u-secret", message_id="m-secret", ids=frozenset({"bot/77-7"}), event="Message Sent")
    for job in (enqueue_redrive(sync_redis, bot, wanted), enqueue_discard(sync_redis, "nobody", wanted)):
        do_jobs(sync_redis)
        stored: Any = sync_redis.hgetall(job.key)
        ended = fetch(sync_redis, job)
        assert ended.is_finished or ended.is_failed
        assert "Message Sent" == ended.args[1]["event"]
        assert not [word for word in ("secret", "77-7") if word in str(ended.args)]
        assert b"secret" not in b"".join(stored.values())


@pytest.mark.parametrize("left", [0, RESTARTS])
def test_a_job_whose_time_is_up_goes_on(sync_redis: Redis, bot: str, left: int) -> None:
    """RQ puts it back with its checkpoint, and with whom it is about; the last time it is over, and forgets."""
    job = enqueue_redrive(sync_redis, bot, Filter(user="u1"))
    job.retries_left = left

    def late(desk: Desk, _: Settings) -> Task:
        raise JobTimeoutException

    token = _current_job.set(job)
    try:
        with pytest.raises(JobTimeoutException):
            perform(None, late)
    finally:
        _current_job.reset(token)
    assert (left, "u1" if left else NOBODY) == (job.retries_left, job.args[1]["user"])


class Told(logging.Handler):
    """What is logged, with all that is given to the log."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.told.append(repr(vars(record)))


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_that_cannot_even_begin_names_nobody(
    sync_redis: Redis, bot: str, retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the log, nor in what is kept once it is not tried again; until then it knows whom it is about."""
    job = enqueue_redrive(sync_redis, bot, Filter(user="ana@example.com"))
    job.kwargs = {"newer": True}
    job.retries_left = retries
    job.save()
    worker, told = JobWorker(sync_redis), Told()
    log = logging.getLogger("rq.worker")
    log.addHandler(told)
    caplog.set_level(logging.WARNING, "rq.worker")
    try:
        worker.prepare_execution(taken := fetch(sync_redis, job))
        worker.perform_job(taken, queue(sync_redis), taken.get_executions()[0])
    finally:
        log.removeHandler(told)
        worker.close()
    assert any("TypeError" in line for line in told.told), told.told
    assert [] == [line for line in told.told if "ana@example.com" in line]
    assert (NOBODY if retries == 0 else "ana@example.com") == fetch(sync_redis, job).args[1]["user"]


@pytest.mark.parametrize("discards", [False, True])
def test_a_killed_export_goes_on_where_it_was(sync_redis: Redis, bot: str, tmp_path: Path, *, discards: bool) -> None:
    """Each letter is in the file once, however often the job's process is killed."""
    bury(sync_redis, *many())
    job = enqueue_export(sync_redis, bot, Filter(), rate=SLOW, discard=discards)
    with jobs_process(POMBO_EXPORT_DIR=str(tmp_path / "exports")) as process:
        os.kill(half_way(sync_redis, job, process), signal.SIGKILL)
        os.kill(half_way(sync_redis, job, process), signal.SIGKILL)
        half_way(sync_redis, job, process)
        stop(process)
    finish(sync_redis, job)
    told = result(sync_redis, job)

    lines = Path(told["path"]).read_bytes().splitlines()
    assert many() == [orjson.loads(line)["message_id"] for line in lines]
    assert (MANY, MANY * discards) == (told["letters"], told["removed"])
    assert MANY * (not discards) == sync_redis.xlen(Keys().of("bot").dead)


def test_what_was_exported_is_imported(sync_redis: Redis, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name alone, from the folder that the worker knows."""
    monkeypatch.setenv("POMBO_HOME", str(Path.cwd()))
    bury(sync_redis, "a", "b")
    made = enqueue_export(sync_redis, bot, Filter(), discard=True)
    do_jobs(sync_redis)
    path = Path(result(sync_redis, made)["path"])
    assert Path.cwd() / "exports" == path.parent
    job = enqueue_import(sync_redis, bot, path.name)
    do_jobs(sync_redis)

    assert 2 == result(sync_redis, job)["restored"] == sync_redis.xlen(Keys().of("bot").dead)


def test_scheduled_jobs_run_like_others(sync_redis: Redis, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their words and results are JSON too; with the source's options off they do nothing."""
    monkeypatch.setenv("POMBO_HOME", str(Path.cwd()))
    bury(sync_redis, "a")
    retention = enqueue_retention(sync_redis, bot)
    recovery = enqueue_recovery(sync_redis, bot, began=1, ended=2**41)
    assert 0 == do_jobs(sync_redis)

    assert 0 == result(sync_redis, retention)["letters"]
    assert 0 == result(sync_redis, recovery)["moved"]
    assert 1 == sync_redis.xlen(Keys().of("bot").dead)


def test_retention_needs_nobody(sync_redis: Redis, bot: str, tmp_path: Path) -> None:
    """Two workers find what is due, do it once, and their log says where the letters are."""
    with asyncio.Runner() as runner:
        runner.run(set_retention())
    event = {"messageId": "m1", "type": "track", "userId": "u1", "event": "Message Sent"}
    of, log = Keys().of("bot"), tmp_path / "log"
    sync_redis.xadd(of.dead, {"h": LetterHeader("poison", 0).dump(), "b": orjson.dumps(event)}, id="1000-1")
    sync_redis.hset(of.ledger, mapping={"accepted": 1, "dead": 1})
    env = {"POMBO_EXPORT_DIR": str(tmp_path / "exports"), "POMBO_LOG_LEVEL": "info"}
    with log.open("wb") as err, jobs_process(err, **env), jobs_process(err, **env):
        until(lambda: "retention.done" in log.read_text(), "run of retention")
        until(lambda: len(queue(sync_redis).finished_job_registry), "end of the job")

    (job_id,) = queue(sync_redis).finished_job_registry.get_job_ids()
    (file,) = (tmp_path / "exports").iterdir()
    told = find_job(sync_redis, job_id)
    assert ("retention", 1, str(file)) == (told.kind, told.result["removed"], told.result["path"])
    assert str(file) in log.read_text()
    assert "m1" == orjson.loads(file.read_bytes())["message_id"]
    assert 0 == sync_redis.xlen(of.dead)


def test_the_wait_for_redis_doubles() -> None:
    """1 s after the first failure, twice that after each further one, 30 s at most."""
    assert [1, 2, 4, 8, 16, 30, 30] == [away_s(failures) for failures in range(1, 8)]


def refused(redis: Redis) -> int:
    """How many commands were refused for want of replicas."""
    told: Any = redis.info("errorstats")
    return int(told.get("errorstat_NOREPLICAS", {"count": 0})["count"])


def test_a_redis_that_refuses_is_told_once(sync_redis: Redis, tmp_path: Path) -> None:
    """However often it is tried again, one line says what is wrong, and jobs run as soon as it takes writes."""
    log = tmp_path / "log"
    sync_redis.config_set("min-replicas-to-write", 1)
    try:
        with log.open("wb") as err, jobs_process(err=err, POMBO_LOG_LEVEL="warning") as process:
            until(lambda: "jobs.interrupted" in log.read_text(), "line")
            tried = refused(sync_redis)
            until(lambda: refused(sync_redis) > tried, "another try")
            sync_redis.config_set("min-replicas-to-write", 0)
            until(lambda: sync_redis.scard("rq:workers:pombo-jobs"), "worker of jobs")
            process.terminate()
            assert 0 == process.wait(DEADLINE_S)
    finally:
        sync_redis.config_set("min-replicas-to-write", 0)
    assert 1 == log.read_text().count("jobs.interrupted")


def test_the_process_waits_for_redis(tmp_path: Path) -> None:
    """Without Redis the process says so once, neither ends nor shows a traceback, and SIGTERM ends it."""
    log = tmp_path / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "pombo.worker.jobs"],
            env={**os.environ, "POMBO_REDIS_URL": f"unix://{tmp_path}/none", "POMBO_LOG_LEVEL": "warning"},
            stderr=errors,
        )
    with process:
        until(lambda: b"jobs.redis_unavailable" in log.read_bytes(), "first try")
        time.sleep(1.5)  # The second one.
        assert process.poll() is None
        process.terminate()
    assert (1, 0) == tuple(log.read_bytes().count(words) for words in (b"jobs.redis_unavailable", b"Traceback"))


def test_trouble_with_redis_is_told_once_and_not_by_rq(caplog: pytest.LogCaptureFixture) -> None:
    """RQ's lines at each of its tries are kept back for one of ours; those about jobs and defects pass."""
    caplog.set_level(logging.WARNING)
    times = iter((0.0, 5.0, 4.0 + QUIET_S, 3.0 + 2 * QUIET_S, 3.0 + 3 * QUIET_S))
    rq = logging.getLogger("rq-as-filtered")
    rq.addFilter(Outage(lambda: next(times)))
    for _ in range(5):
        try:
            raise ConnectionError("the line was cut")
        except ConnectionError as error:
            rq.error("Worker %s: could not connect to Redis instance: %s", "w", error)
            rq.error("Worker %s: job %s failed", "w", "j")
    try:
        raise ValueError
    except ValueError:
        rq.error("Worker %s: found an unhandled exception, quitting...", "w")
    rq.error("Worker %s: said by the way", "w")
    ours = [line for line in caplog.messages if "jobs.redis_unavailable" in line]
    theirs = [line for line in caplog.messages if line.startswith("Worker w: ")]
    assert 2 == len(ours)
    assert ["job"] * 5 + ["found", "said"] == [line.split()[2] for line in theirs]
