import signal
from contextlib import suppress

import pytest
from redis import Redis
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from pombo.shared.deadletters import Filter
from pombo.worker.jobs.criteria import NOBODY
from pombo.worker.jobs.process import HEARTBEAT_S, WORKER_TTL_S, JobWorker
from pombo.worker.jobs.queues import RESTARTS, queue
from pombo.worker.jobs.redrives import enqueue_redrive
from pombo.worker.jobs.runs import SIGN_OF_LIFE_S
from pombo.worker.jobs.schedule import LOOK_S
from pombo.worker.jobs.upkeep import reclaim


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)


@pytest.fixture
def worker(sync_redis: Redis) -> JobWorker:
    worker = JobWorker(sync_redis)
    worker.register_birth()  # type: ignore[no-untyped-call]
    return worker


def taken(worker: JobWorker, *, begun: bool = True) -> Job:
    """A job that a worker has taken, and whose process has begun or not."""
    enqueue_redrive(worker.connection, "bot", Filter(user="u1"))
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    worker.prepare_execution(found[0])
    if begun:
        worker.prepare_job_execution(found[0], remove_from_intermediate_queue=True)
    return found[0]


def silent(worker: JobWorker) -> None:
    """Let the signs of life of a worker's runs be too old."""
    for execution in worker.executions.values():
        worker.connection.delete(execution.key)


def stored(redis: Redis, job: Job) -> Job:
    return Job.fetch(job.id, connection=redis, serializer=JSONSerializer)


def test_a_living_worker_keeps_its_job(sync_redis: Redis, worker: JobWorker) -> None:
    """By Redis' clock, whatever the score that RQ made of its machine's."""
    job = taken(worker)
    (execution,) = worker.executions.values()
    sync_redis.zadd(queue(sync_redis).started_job_registry.key, {execution.composite_key: 1})
    assert ([], []) == reclaim(queue(sync_redis))
    assert SIGN_OF_LIFE_S - 5 <= sync_redis.ttl(execution.key) <= SIGN_OF_LIFE_S
    assert "started" == stored(sync_redis, job).get_status()
    worker.close()


def test_a_stop_that_python_drops_is_heeded(worker: JobWorker) -> None:
    """What the signal's handler raises is lost in a finaliser; the next sign of life ends a worker that does no job."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(StopRequested):
            worker.request_stop(signal.SIGTERM, None)  # type: ignore[no-untyped-call]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with pytest.raises(StopRequested):
        worker.heartbeat()
    worker.set_state(WorkerStatus.BUSY)
    worker.heartbeat()
    worker.close()


def test_signs_of_life_come_in_time(worker: JobWorker) -> None:
    """A worker has given one, or failed and killed its job, before others take it; and they do within 40 s."""
    assert SIGN_OF_LIFE_S > HEARTBEAT_S + worker.connection_timeout
    assert WORKER_TTL_S - 5 == worker.connection_timeout
    assert SIGN_OF_LIFE_S + LOOK_S <= 40
    worker.close()


@pytest.mark.parametrize("begun", [True, False])
def test_a_job_whose_worker_is_silent_goes_back_once(sync_redis: Redis, worker: JobWorker, *, begun: bool) -> None:
    """With the checkpoint that is stored, whoever looks, also when its process had not begun."""
    job = taken(worker, begun=begun)
    sync_redis.hset(job.key, "meta", '{"moved":7}')
    silent(worker)
    jobs = queue(sync_redis)
    assert ([job.id], []) == reclaim(jobs)
    assert ([], []) == reclaim(jobs)

    again = stored(sync_redis, job)
    assert ("queued", {"moved": 7}, RESTARTS - begun) == (again.get_status(), again.meta, again.retries_left)
    assert [job.id] == jobs.get_job_ids()
    assert ([], []) == (jobs.started_job_registry.get_job_ids(), jobs.intermediate_queue.get_job_ids())
    worker.close()


def test_a_job_that_outlived_too_many_workers_fails(sync_redis: Redis, worker: JobWorker) -> None:
    """It says so, and no word of whom it was about is kept."""
    job = taken(worker)
    sync_redis.hset(job.key, "retries_left", 0)
    silent(worker)
    worker.clean_registries()

    failed = stored(sync_redis, job)
    told = failed.latest_result()
    assert told is not None
    assert ("failed", f"its worker died {RESTARTS + 1} times") == (failed.get_status(), told.exc_string)
    assert NOBODY == failed.args[1]["user"]
    assert [] == queue(sync_redis).started_job_registry.get_job_ids()
    worker.close()


def test_what_is_over_leaves_the_registry(sync_redis: Redis, worker: JobWorker) -> None:
    """As when an older state of Redis came back."""
    job = taken(worker)
    silent(worker)
    sync_redis.hset(job.key, "status", "finished")
    assert ([], []) == reclaim(queue(sync_redis))
    assert 0 == sync_redis.zcard(queue(sync_redis).started_job_registry.key)
    assert [] == queue(sync_redis).get_job_ids()
    worker.close()
