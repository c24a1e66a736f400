"""The queue of pombo's jobs, and how one comes onto it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from redis.client import Redis
from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.shared.errors import ConfigurationError
from pombo.shared.settings import read_settings

QUEUE = "pombo-jobs"
TIMEOUT_S = 24 * 3600
RESULT_TTL_S = 7 * 24 * 3600
RESTARTS = 50
"""Ends of its worker that a job outlives."""


def queue(connection: Redis) -> Queue:
    """The queue of pombo's jobs."""
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)


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
        namespace: of the source's keys, as all namespaces share the queue; by default that of this process.
        total: letters that it will probably handle.
        job_id: its id; a job of that id that is stored already stands in for this one.
        options: keyword arguments of the function.
        counts: names of what it counts.

    Raises:
        DuplicateJobError: a job of that id is stored.
    """
    meta = {
        "kind": kind, "source": source, "namespace": namespace or read_settings().namespace, "by": by,
        "done": 0, "total": total, **dict.fromkeys(counts, 0),
    }  # fmt: skip
    return queue(connection).enqueue_call(
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
