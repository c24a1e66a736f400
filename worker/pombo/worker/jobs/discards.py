"""Discard: delete dead letters for good."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from redis.client import Redis
from rq.job import Job

from pombo.shared.deadletters import DeadLetter, Filter, Page
from pombo.shared.deadletters import discard as discard_letters
from pombo.shared.sources import Source
from pombo.worker.jobs.criteria import words
from pombo.worker.jobs.frame import Desk, perform
from pombo.worker.jobs.queues import checked_rate, submit
from pombo.worker.jobs.walk import Walk

COUNTS: Final = ("discarded", "unreadable")
"""Events deleted, and letters of an unknown version, which stay."""


class Discard(Walk):
    """One discard; see `Walk`."""

    counts: ClassVar[tuple[str, ...]] = COUNTS
    deed = "discarded"

    def __init__(
        self, desk: Desk, source: str, wanted: Filter, *, limit: int | None = None, rate: float | None = None
    ) -> None:
        super().__init__(desk, "discard", source, wanted, limit=limit, rate=rate)

    async def sorter(self, source: Source, page: Page) -> Callable[[DeadLetter], str | None]:
        """Pass over none."""
        return lambda letter: None

    async def act(self, source: Source, letters: Sequence[DeadLetter]) -> int:
        """Delete them."""
        return await discard_letters(self.desk.redis, self.desk.keys, source.name, letters)


def enqueue_discard(
    connection: Redis, source: str, wanted: Filter, *, limit: int | None = None, rate: float | None = None,
    by: str = "", namespace: str | None = None, total: int | None = None,
) -> Job:  # fmt: skip
    """Put the deletion of one source's dead letters on the queue; the arguments are those of `enqueue_redrive`.

    Raises:
        ConfigurationError: the rate is none.
    """
    return submit(
        connection, "discard", (source, wanted.describe(), limit, namespace), kind="discard", source=source,
        description=f"discard dead letters of {source}{words(wanted)}", by=by, namespace=namespace, total=total,
        options={"rate": checked_rate(rate)}, counts=COUNTS,
    )  # fmt: skip


def discard(
    source: str, criteria: Mapping[str, Any], limit: int | None = None, namespace: str | None = None, *,
    rate: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Do a discard as RQ's current job; its result is `COUNTS` and a sentence.

    Raises:
        UnknownSourceError: there is no such source.
    """
    wanted = Filter.parse(criteria)
    return perform(namespace, lambda desk, _: Discard(desk, source, wanted, limit=limit, rate=rate))
