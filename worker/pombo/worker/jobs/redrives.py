"""Redrive: put dead letters at the end of their partitions' streams."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from redis.client import Redis
from rq.job import Job

from pombo.shared.clock import moment
from pombo.shared.deadletters import DeadLetter, Filter, Page, redrive_page
from pombo.shared.flow import redis_now
from pombo.shared.sources import Source
from pombo.worker.jobs.criteria import words
from pombo.worker.jobs.frame import Desk, perform
from pombo.worker.jobs.queues import checked_rate, submit
from pombo.worker.jobs.walk import Walk

COUNTS: Final = ("moved", "skipped", "unreadable", "older")
"""Events put back; letters passed over: that hold no single event, of an unknown version, accepted too long ago."""


class Redrive(Walk):
    """One redrive; see `Walk`.

    Args:
        older: whether letters accepted more than 24 h ago go too, whose messageIds Segment knows no more.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS
    deed = "moved"

    def __init__(
        self, desk: Desk, source: str, wanted: Filter, *, limit: int | None = None, rate: float | None = None,
        older: bool = True, kind: str = "redrive", fresh: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(desk, kind, source, wanted, limit=limit, rate=rate, fresh=fresh)
        self._older = older

    async def sorter(self, source: Source, page: Page) -> Callable[[DeadLetter], str | None]:
        """Pass over what holds no event to send, and what is too old."""
        now = moment(await redis_now(self.desk.redis))

        def sort(letter: DeadLetter) -> str | None:
            if not movable(source, letter):
                return "skipped"
            return "older" if not self._older and letter.older_than_window(now) else None

        return sort

    async def counted(self) -> int:
        """How many of the letters that are wanted it may move."""
        counts = await self.count()
        return counts.redrivable - (0 if self._older else counts.older)

    async def act(self, source: Source, letters: Sequence[DeadLetter]) -> int:
        """Move them, in one atomic step a batch."""
        return await redrive_page(self.desk.redis, self.desk.keys, source, letters)


def enqueue_redrive(
    connection: Redis, source: str, wanted: Filter, *, limit: int | None = None, rate: float | None = None,
    older: bool = False, by: str = "", namespace: str | None = None, total: int | None = None,
) -> Job:  # fmt: skip
    """Put a redrive of one source's dead letters on the queue.

    Args:
        connection: a client of the control plane's Redis.
        source: whose letters; the filter's own source is not looked at.
        wanted: which letters.
        limit: how many at most; None is all.
        rate: letters a second at most; None is as fast as it can.
        older: whether those go too that were accepted more than 24 h ago; else they are counted as `older`.
        by: who wants it.
        namespace: whose queue it is, and of the source's keys; by default that of this process.
        total: how many there are, if that was counted.

    Raises:
        ConfigurationError: the rate is none.
    """
    options = {"rate": checked_rate(rate), "older": older}
    return submit(
        connection, "redrive", (source, wanted.describe(), limit, namespace), kind="redrive", source=source,
        description=f"redrive dead letters of {source}{words(wanted)}", by=by, namespace=namespace, total=total,
        options=options, counts=COUNTS,
    )  # fmt: skip


def redrive(
    source: str, criteria: Mapping[str, Any], limit: int | None = None, namespace: str | None = None, *,
    rate: float | None = None, older: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Do a redrive as RQ's current job; its result is `COUNTS` and a sentence.

    Jobs that an older pombo stored name no rate and no `older`: they move all, as was promised then.

    Raises:
        UnknownSourceError: there is no such source.
    """
    wanted = Filter.parse(criteria)
    return perform(namespace, lambda desk, _: Redrive(desk, source, wanted, limit=limit, rate=rate, older=older))


def movable(source: Source, letter: DeadLetter) -> bool:
    """Whether the letter holds one event for a partition that there is."""
    return letter.redrivable and 0 <= letter.header.partition < source.partitions
