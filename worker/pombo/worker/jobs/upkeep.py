"""Upkeep of the queue: jobs whose worker is gone go back to it."""

from typing import Any, NamedTuple

from redis.client import Redis
from rq import Queue
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.utils import as_text

from pombo.shared.scripts import script


class Reclaimed(NamedTuple):
    """Jobs whose worker is gone, by their ids."""

    back: list[str]
    """They wait for a worker again."""
    spent: list[Execution]
    """Runs of those that outlived as many workers as they may: nothing was done with them."""


def reclaim(jobs: Queue) -> Reclaimed:
    """Put jobs back whose worker gave no sign of life for too long.

    Any number of workers may do so at once.

    Raises:
        RedisError: the control plane's Redis is away, or refuses.
    """
    redis: Redis = jobs.connection
    started, found = jobs.started_job_registry.key, Reclaimed([], [])
    stored: Any = redis.zrange(started, 0, -1)
    for run in (Execution.from_composite_key(as_text(member), redis) for member in stored):
        runs = ExecutionRegistry(run.job_id, redis).key
        keys = [Job.key_for(run.job_id), jobs.key, started, run.key, jobs.intermediate_queue.key, runs]
        answer = script("job_reclaim").call(redis, keys, [run.job_id, run.composite_key, run.id])
        if answer == b"ok":
            found.back.append(run.job_id)
        elif answer == b"spent":
            found.spent.append(run)
    return found
