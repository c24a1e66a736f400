"""Retention: dead letters that are kept long enough are exported, and then discarded."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis.client import Redis
from rq.job import Job

from pombo.shared.clock import moment
from pombo.shared.deadletters import ALL, Filter, count
from pombo.shared.flow import redis_now
from pombo.shared.logs import get_logger
from pombo.shared.sources import Source
from pombo.worker.jobs.exports import COUNTS, Export
from pombo.worker.jobs.files import new_name
from pombo.worker.jobs.frame import Desk, perform
from pombo.worker.jobs.queues import submit
from pombo.worker.jobs.walk import LAST

log = get_logger("pombo.worker.jobs")


class Retention(Export):
    """One run of a source's retention: an export of what died too long ago that discards what its file holds.

    The source's option is read when it begins; one that was switched off meanwhile deletes nothing.
    """

    def __init__(self, desk: Desk, source: str, *, folder: Path, file: str) -> None:
        super().__init__(desk, source, ALL, folder=folder, file=file, discards=True, kind="retention")

    async def begin(self, source: Source) -> None:
        """Note up to where letters are too old."""
        until = await redis_now(self.desk.redis) - int(source.retention_s * 1000)
        if not source.retention_s:
            self.note(end="0-0", total=0)
            return
        found = await count(self.desk.redis, self.desk.keys, source.name, Filter(until=moment(until)))
        self.note(end=f"{until - 1}-{LAST}", total=found.letters)

    async def run(self) -> dict[str, Any]:
        """Do it, and say in the log where the letters are."""
        result = await super().run()
        told = {name: result[name] for name in ("letters", "removed", "path", "host")}
        log.info("retention.done", source=self.source, **told)
        return result


def enqueue_retention(
    connection: Redis, source: str, *, namespace: str | None = None, job_id: str | None = None
) -> Job:
    """Put a run of a source's retention on the queue.

    Raises:
        DuplicateJobError: a job of that id is stored.
    """
    return submit(
        connection, "retain", (source, namespace), kind="retention", source=source,
        description=f"retention: export and discard old dead letters of {source}", by="retention",
        namespace=namespace, options={"file": new_name(f"{source}-retention", datetime.now(UTC))},
        counts=COUNTS, job_id=job_id,
    )  # fmt: skip


def retain(source: str, namespace: str | None = None, *, file: str) -> dict[str, Any]:
    """Do a run of retention as RQ's current job; its result is that of an export.

    Raises:
        UnknownSourceError: there is no such source.
        JobError: the file cannot be written; no letter was discarded that is in none.
    """
    return perform(namespace, lambda desk, settings: Retention(desk, source, folder=settings.export_folder, file=file))
