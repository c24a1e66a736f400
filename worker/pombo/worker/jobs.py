"""The control plane: RQ jobs, and the process that runs them.

Jobs travel as JSON on the queue `pombo-jobs`, so that nothing in Redis is ever unpickled. Each sets its own timeout,
keeps a checkpoint and its progress in `job.meta`, and may be killed and run again without doing a part twice.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from redis.client import Redis
from rq import Queue, Worker, get_current_job
from rq.job import Job
from rq.serializers import JSONSerializer

from pombo.shared.connection import aconnect, connect, redis_url
from pombo.shared.deadletters import Filter, Page, pages, redrive_page
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings, read_settings

QUEUE = "pombo-jobs"
TIMEOUT_S = 24 * 3600
RESULT_TTL_S = 7 * 24 * 3600


def jobs_url(settings: Settings) -> str:
    """URL of the control plane's Redis."""
    return settings.jobs_redis_url or redis_url(settings)


def queue(connection: Redis) -> Queue:
    """The queue of pombo's jobs."""
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)


def enqueue_redrive(connection: Redis, source: str, wanted: Filter, *, limit: int | None = None) -> Job:
    """Put a redrive of one source's dead letters on the queue."""
    criteria = {
        "reason": wanted.reason, "event": wanted.event, "user": wanted.user, "message_id": wanted.message_id,
        "since": wanted.since.isoformat() if wanted.since else None,
    }  # fmt: skip
    return queue(connection).enqueue_call(
        "pombo.worker.jobs.redrive", args=(source, criteria, limit), timeout=TIMEOUT_S, result_ttl=RESULT_TTL_S,
        failure_ttl=RESULT_TTL_S, description=f"redrive dead letters of {source}", meta={"moved": 0, "skipped": 0},
    )  # fmt: skip


def redrive(source: str, criteria: dict[str, str | None], limit: int | None = None) -> dict[str, int]:
    """Move a source's dead letters to the end of their partitions; the job's result is `{moved, skipped}`.

    Letters move one step of Redis at a time, so a job that was killed goes on where it was. Letters that die while
    it runs are left for the next one.
    """
    since = criteria.pop("since", None)
    wanted = Filter(source=source, since=datetime.fromisoformat(since) if since else None, **criteria)
    return asyncio.run(_redrive(source, wanted, limit, get_current_job()))


async def _redrive(source: str, wanted: Filter, limit: int | None, job: Job | None) -> dict[str, int]:
    settings = read_settings()
    redis = aconnect(redis_url(settings))
    try:
        return await Redrive(redis, settings.keys, job).run(source, wanted, limit, settings)
    finally:
        await redis.aclose()


class Redrive:
    """One run of the redrive job: its checkpoint is where to read on, its progress what it moved."""

    def __init__(self, redis: Any, keys: Keys, job: Job | None) -> None:
        self._redis = redis
        self._keys = keys
        self._job = job
        self._meta: dict[str, Any] = dict(job.meta) if job else {}
        self.moved = int(self._meta.get("moved", 0))
        self.skipped = int(self._meta.get("skipped", 0))

    async def run(self, source: str, wanted: Filter, limit: int | None, settings: Settings) -> dict[str, int]:
        registry = Registry(self._redis, self._keys, load_secrets(settings))
        found = await registry.get(source)
        end = await self._end()
        start = str(self._meta.get("next", "-"))
        async for page in pages(self._redis, self._keys, source, wanted, start=start):
            letters = [
                letter for letter in page.letters if letter.redrivable and _key(letter.stream_id) <= end
            ]
            left = None if limit is None else limit - self.moved
            self.moved += await redrive_page(self._redis, self._keys, found, letters[:left])
            self.skipped += sum(not letter.redrivable for letter in page.letters)
            self._checkpoint(page)
            if _key(page.next.lstrip("(")) >= end or (limit is not None and self.moved >= limit):
                break
        return {"moved": self.moved, "skipped": self.skipped}

    async def _end(self) -> tuple[int, int]:
        if "end" not in self._meta:
            seconds, micro = await self._redis.time()
            self._meta["end"] = f"{seconds * 1000 + micro // 1000}-0"
        return _key(self._meta["end"])

    def _checkpoint(self, page: Page) -> None:
        self._meta |= {"next": page.next, "moved": self.moved, "skipped": self.skipped}
        if self._job is not None:
            self._job.meta = self._meta
            save: Callable[[], None] = self._job.save_meta
            save()


def _key(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def work() -> None:
    """Run jobs until told to stop."""
    from pombo.shared.lifeline import die_with_parent
    from pombo.shared.logs import configure_logs

    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format)
    die_with_parent()
    with connect(jobs_url(settings), timeout_s=600) as connection:
        worker = Worker([queue(connection)], connection=connection, serializer=JSONSerializer)
        worker.work(logging_level="WARNING")


if __name__ == "__main__":
    work()
