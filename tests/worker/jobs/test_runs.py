from collections.abc import Iterator

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.shared.deadletters import Filter
from pombo.worker.jobs.queues import queue, worker_count
from pombo.worker.jobs.redrives import enqueue_redrive
from pombo.worker.jobs.runs import CANCEL, OneRun, StopFlag, Superseded, marked


@pytest.fixture(autouse=True)
def environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)


@pytest.fixture
def worker(sync_redis: Redis) -> Iterator[SimpleWorker]:
    """A worker that is known, and does nothing by itself."""
    worker = SimpleWorker([queue(sync_redis)], connection=sync_redis, serializer=JSONSerializer)
    worker.register_birth()  # type: ignore[no-untyped-call]
    yield worker
    worker.register_death()  # type: ignore[no-untyped-call]


@pytest.fixture
def taken(sync_redis: Redis, worker: SimpleWorker) -> tuple[Job, Execution]:
    """A job that a worker has taken, and its record of the run."""
    job = enqueue_redrive(sync_redis, "bot", Filter(user="u1"))
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    execution = worker.prepare_execution(found[0])
    worker.prepare_job_execution(found[0], remove_from_intermediate_queue=True)
    assert job.id == found[0].id
    return found[0], execution


def stored(redis: Redis, job: Job) -> Job:
    return Job.fetch(job.id, connection=redis, serializer=JSONSerializer)


def test_a_run_begins_where_the_last_one_stored_itself(sync_redis: Redis, taken: tuple[Job, Execution]) -> None:
    """Not where RQ's worker read it, which may be older; and the last one stores nothing more."""
    job, execution = taken
    first, later = OneRun(job, StopFlag(), execution), stored(sync_redis, job)
    first.meta = {**first.meta, "moved": 7}
    first.save_meta()
    assert 0 == later.meta["moved"]
    second = OneRun(later, StopFlag(), execution)
    assert 7 == second.meta["moved"]
    first.meta = {**first.meta, "moved": 99}
    with pytest.raises(Superseded):
        first.save_meta()
    with pytest.raises(Superseded):
        first.let_others_go_first()
    assert 7 == stored(sync_redis, job).meta["moved"]


def test_it_lets_others_go_first_in_one_step(sync_redis: Redis, taken: tuple[Job, Execution]) -> None:
    """It waits at the end of the queue with its checkpoint, and RQ knows of no run any more."""
    job, execution = taken
    run = OneRun(job, StopFlag(), execution)
    assert not run.others_wait()
    other = enqueue_redrive(sync_redis, "bot", Filter())
    assert run.others_wait()
    assert not OneRun(stored(sync_redis, job), StopFlag()).others_wait()
    run = OneRun(job, StopFlag(), execution)
    run.meta = {**run.meta, "moved": 3}
    assert run.let_others_go_first()

    assert [other.id, job.id] == queue(sync_redis).get_job_ids()
    waits = stored(sync_redis, job)
    assert ("queued", 3, "u1") == (waits.get_status(), waits.meta["moved"], waits.args[1]["user"])
    assert [] == queue(sync_redis).started_job_registry.get_job_ids() == job.execution_registry.get_execution_ids()
    with pytest.raises(Superseded):
        run.save_meta()


def test_who_is_to_end_does_not_wait_instead(sync_redis: Redis, taken: tuple[Job, Execution]) -> None:
    """The mark is seen when a run begins, when it stores itself, and when it would let others go first."""
    job, execution = taken
    stop = StopFlag()
    run = OneRun(job, stop, execution)
    assert (False, set()) == (stop.up, marked(sync_redis, [job.id]))
    sync_redis.hset(job.key, CANCEL, 1)
    assert {job.id} == marked(sync_redis, [job.id, "another"])
    assert not run.let_others_go_first()
    assert stop.up
    for ask in (run.save_meta, lambda: OneRun(job, stop, execution)):
        stop.up = False
        ask()
        assert stop.up
    assert [] == queue(sync_redis).get_job_ids()


def test_a_full_redis_keeps_a_checkpoint(sync_redis: Redis, taken: tuple[Job, Execution]) -> None:
    """A job that makes room can say how far it is, and one that needs some can let it go first."""
    job, execution = taken
    run = OneRun(job, StopFlag(), execution)
    sync_redis.config_set("maxmemory", 1)
    try:
        run.meta = {**run.meta, "moved": 5}
        run.save_meta()
        assert run.let_others_go_first()
    finally:
        sync_redis.config_set("maxmemory", 0)
    assert (5, [job.id]) == (stored(sync_redis, job).meta["moved"], queue(sync_redis).get_job_ids())


def test_a_worker_that_is_gone_does_no_jobs(sync_redis: Redis, worker: SimpleWorker) -> None:
    """Its name outlives it among the queue's workers, and is not counted."""
    assert 1 == worker_count(queue(sync_redis))
    sync_redis.delete(worker.key)
    assert 0 == worker_count(queue(sync_redis))
