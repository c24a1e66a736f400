"""The process that runs jobs, for real, and jobs as RQ stores them beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.shared.deadletters import LetterHeader
from pombo.shared.keys import Keys
from pombo.worker.jobs import queue
from pombo.worker.jobs.upkeep import reclaim
from support.programs import strip_environment


def set_environment(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: str) -> None:
    """Have this process, and those it starts, run in a folder with these settings and no other."""
    strip_environment(monkeypatch)
    for name, value in {"POMBO_LOG_LEVEL": "error", **settings}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


def bury(redis: Redis, *ids: str, reason: str = "poison", namespace: str = "pombo") -> None:
    """Store dead letters and count them, as a worker would."""
    of, header = Keys(namespace).of("bot"), LetterHeader(reason, 0).dump()
    with redis.pipeline(transaction=False) as pipe:
        for message_id in ids:
            event = {"messageId": message_id, "type": "track", "userId": "u1", "event": "Message Sent"}
            pipe.xadd(of.dead, {"h": header, "b": orjson.dumps(event)})
        for counter in ("accepted", "dead", f"dead:{reason}"):
            pipe.hincrby(of.ledger, counter, len(ids))
        pipe.execute()


def queued(redis: Redis, namespace: str = "pombo") -> int:
    """Events that wait in the source's streams, as stored."""
    entries: Any = redis.xrange(Keys(namespace).of("bot").stream(0))
    return sum(int(fields[b"n"]) for _, fields in entries)


def fetch(redis: Redis, job: Job) -> Job:
    return Job.fetch(job.id, connection=redis, serializer=JSONSerializer)


def result(redis: Redis, job: Job) -> Any:
    """What the job returned."""
    return fetch(redis, job).return_value()


@contextmanager
def jobs_process(err: IO[bytes] | None = None, **env: str) -> Iterator["subprocess.Popen[bytes]"]:
    """The process that runs jobs."""
    with subprocess.Popen(
        [sys.executable, "-m", "pombo.worker.jobs"], env={**os.environ, **env}, stdin=subprocess.DEVNULL, stderr=err
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def running_job(process: "subprocess.Popen[bytes]") -> int:
    """The process in which a job runs; 0 without one."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(children[0]) if children else 0


def given_up(redis: Redis, job: Job) -> None:
    """Let a job's worker count as dead at once, as when it gave no sign of life for too long; the job is put back."""
    stored: Any = redis.zrange(queue(redis).started_job_registry.key, 0, -1)
    redis.delete(*(f"rq:execution:{run.decode()}" for run in stored if run.decode().startswith(job.id)))
    assert [job.id] == reclaim(queue(redis)).back


def with_a_worker(redis: Redis, job: Job) -> bool:
    """Whether a worker has taken a job, and did not give it back."""
    return job.id in queue(redis).started_job_registry.get_job_ids(cleanup=False)
