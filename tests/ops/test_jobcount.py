"""Jobs counted, beside jobs that RQ really stores."""

from typing import Any

from redis import Redis
from rq.job import JobStatus

from pombo.ops.jobcount import Jobs, count_jobs
from pombo.ops.servermetrics import read_jobs
from pombo.shared.deadletters import Filter
from pombo.shared.settings import Settings
from pombo.worker.jobs import RESULT_TTL_S, enqueue_redrive, queue


def test_what_somebody_cancelled_did_not_fail(redis_url: str, sync_redis: Redis) -> None:
    """RQ keeps a job that was stopped beside those that failed; only an error needs somebody to read it."""
    for status in (JobStatus.FAILED, JobStatus.STOPPED):
        job = enqueue_redrive(sync_redis, "bot", Filter(), namespace="pombo")
        queue(sync_redis).remove(job)
        job.set_status(status)
        queue(sync_redis).failed_job_registry.add(job, ttl=RESULT_TTL_S)
    enqueue_redrive(sync_redis, "bot", Filter(), namespace="pombo")
    assert Jobs(open=1, workers=0, running=0, failed=1) == count_jobs(redis_url)
    told: dict[str, Any] = {"redis_url": redis_url, "_env_file": None}
    expected = {"queued": 1, "running": 0, "scheduled": 0, "failed": 1}
    assert expected == read_jobs(Settings(**told)).by_state
