"""The queue of pombo's jobs, and how one comes onto it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from redis.client import Redis
from rq import Queue, Retry, worker_registration
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.shared.errors import ConfigurationError
from pombo.shared.keys import Keys
from pombo.shared.settings import read_settings

QUEUE = "pombo-jobs"
"""The queue of the namespace `pombo`; those of others have their namespace behind it."""
TIMEOUT_S = 24 * 3600
RESULT_TTL_S = 7 * 24 * 3600
DEFAULT_NAMESPACE = Keys().namespace
RESTARTS = 50
"""Ends of its worker that a job outlives."""


def queue_name(namespace: str) -> str:
    """The name of a namespace's queue: installations that share a Redis for jobs do their own, and see no others."""
    return QUEUE if namespace == DEFAULT_NAMESPACE else f"{QUEUE}-{namespace}"


def queue(connection: Redis, namespace: str | None = None) -> Queue:
    """The queue of a namespace's jobs; by default that of this process."""
    name = queue_name(read_settings().namespace if namespace is None else namespace)
    return Queue(name, connection=connection, serializer=JSONSerializer)


def worker_count(jobs: Queue) -> int:
    """How many processes do the jobs of a queue now; RQ alone counts dead ones until another one tidies up."""
    keys = [*worker_registration.get_keys(jobs)]
    return int(jobs.connection.exists(*keys)) if keys else 0


def submit(
    connection: Redis, entry: str, args: tuple[Any, ...], *, kind: str, source: str, description: str,
    by: str = "", namespace: str | None = None, total: int | None = None, job_id: str | None = None,
    options: Mapping[str, Any] | None = None, counts: Iterable[str] = (),
) -> Job:  # fmt: skip
    """Put a job on the queue.

    Args:
        connection: a client of the control plane's Redis.
        entry: name in `pombo.worker.jobs` of the function that does it.
        args: its arguments, as JSON.
        kind: which kind of job, as people read it.
        source: whose letters.
        description: what it is to do, without whom it is about.
        by: who wants it.
        namespace: whose queue it is, and of the source's keys; by default that of this process.
        total: letters that it will probably handle.
        job_id: its id; a job of that id that is stored already stands in for this one.
        options: keyword arguments of the function.
        counts: names of what it counts.

    Raises:
        DuplicateJobError: a job of that id is stored.
    """
    namespace = namespace or read_settings().namespace
    meta = {
        "kind": kind, "source": source, "namespace": namespace, "by": by,
        "done": 0, "total": total, **dict.fromkeys(counts, 0),
    }  # fmt: skip
    return queue(connection, namespace).enqueue_call(
        f"pombo.worker.jobs.{entry}", args=args, kwargs=dict(options or {}), timeout=TIMEOUT_S,
        result_ttl=RESULT_TTL_S, failure_ttl=RESULT_TTL_S, retry=Retry(max=RESTARTS), description=description,
        meta=meta, job_id=job_id, unique=job_id is not None,
    )  # fmt: skip


def checked_rate(rate: float | None) -> float | None:
    """A throttle as it may be given: events a second, more than 0, or None for none.

    Raises:
        ConfigurationError: it is none.
    """
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        raise ConfigurationError(f"a rate of {rate:g} events a second moves nothing; give one above 0, or none")
    return rate
