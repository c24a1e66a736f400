"""Automatic redrive: what died of an outage goes again, once, when its source is well."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final

import orjson
from redis.asyncio import Redis as AsyncRedis
from redis.client import Redis
from rq.job import Job

from pombo.shared.deadletters import ALL, Attempt, DeadLetter, Page
from pombo.shared.flow import redis_now
from pombo.shared.keys import SourceKeys
from pombo.shared.sources import Source
from pombo.worker.jobs.frame import Desk, perform
from pombo.worker.jobs.queues import submit
from pombo.worker.jobs.redrives import Redrive
from pombo.worker.jobs.walk import LAST

COUNTS: Final = ("moved", "unsafe", "repeated", "skipped", "unreadable")
"""Events put back; letters passed over: that Segment may have got or that died of something else, that came from
such a redrive before, that hold no single event, of an unknown version."""
RATE = 100.0
"""Letters a second at most; a tenth of the source's own rate where that is less: new events go first."""
SPANS = 50
"""Earlier redrives that are remembered one by one; beyond, neighbours count as one with what lies between."""
REASONS = frozenset({"poison", "expired"})
"""What an outage kills by: an event that failed too often, or for too long."""
AMBIGUOUS = frozenset({408, 460, 499, 504})
"""Statuses that somebody in between may have given while Segment took the request."""

Span = tuple[int, int | None]
"""From when to when, in ms of Redis' clock, events were put back; None is not over."""


class Recovery(Redrive):
    """The redrive of what died of one outage; see `Walk`.

    A letter goes once by this way: it is a new event when it is put back, accepted while the redrive ran, and what
    was accepted while one ran is left. So the times of the earlier ones are remembered, not the letters.

    Args:
        began: when the outage did, in ms of Redis' clock.
        ended: when it was over.
    """

    counts: ClassVar[tuple[str, ...]] = COUNTS

    def __init__(self, desk: Desk, source: str, *, began: int, ended: int, rate: float | None = RATE) -> None:
        place = {"next": f"({began - 1}-{LAST}", "earlier": None}
        super().__init__(desk, source, ALL, rate=rate, kind="automatic_redrive", fresh=place)
        self._ended = ended

    async def begin(self, source: Source) -> None:
        """Note how far to go, and what was redriven before; and note for the next one that this one runs."""
        key, now = self.desk.keys.of(source.name), await redis_now(self.desk.redis)
        if self.meta["earlier"] is None:
            self.note(earlier=closed(await read_spans(self.desk.redis, key), now), began_at=now)
        await self._remember(None)
        # Somebody may have switched it off meanwhile.
        self.note(end=f"{self._ended}-{LAST}" if source.redrive_after_outage else "0-0")

    async def work(self) -> None:
        """Go on from where the meta says, and say when it is over."""
        await super().work()
        await self._remember(await redis_now(self.desk.redis))

    async def give_up(self) -> None:
        """Say that it is over."""
        await self._remember(await redis_now(self.desk.redis))
        await super().give_up()

    async def sorter(self, source: Source, page: Page) -> Callable[[DeadLetter], str | None]:
        """Pass over what is not of the outage, and what went before."""
        redrivable = await super().sorter(source, page)
        earlier = [(since, until) for since, until in self.meta["earlier"]]

        def sort(letter: DeadLetter) -> str | None:
            if why := redrivable(letter):
                return why
            if not of_outage(letter):
                return "unsafe"
            return "repeated" if within(letter, earlier) else None

        return sort

    async def _remember(self, until: int | None) -> None:
        spans = [*self.meta["earlier"], (self.meta["began_at"], until)] if self.meta["earlier"] is not None else []
        if spans:
            await self.desk.redis.set(self.desk.keys.of(self.source).recoveries, orjson.dumps(spans))


def of_outage(letter: DeadLetter) -> bool:
    """Whether it is certain that Segment did not get the event, and that it died of failures.

    Each of its attempts has to be known, and to have ended with an answer that refuses, or before it was sent.
    """
    header = letter.header
    told = 0 < header.attempts <= len(header.history)
    return told and header.reason in REASONS and all(failed(attempt) for attempt in header.history)


def failed(attempt: Attempt) -> bool:
    """Whether it is certain that Segment did not take what was sent then."""
    status = attempt["status"]
    if status is None:
        return attempt.get("unknown") is False
    return status >= 400 and status not in AMBIGUOUS


def within(letter: DeadLetter, spans: Sequence[tuple[int, int]]) -> bool:
    """Whether it was accepted in one of the spans; where nobody knows when, it counts as such."""
    if letter.accepted is None:
        return True
    at = int(letter.accepted.timestamp() * 1000)
    return any(since <= at <= until for since, until in spans)


def closed(spans: Sequence[Span], now: int) -> list[tuple[int, int]]:
    """The spans with an end, that of the next or now where it is missing, and at most `SPANS` of them."""
    begins = [*(since for since, _ in spans[1:]), now]
    found = [(since, begins[at] if until is None else until) for at, (since, until) in enumerate(spans)]
    while len(found) > SPANS:
        gaps = [later[0] - earlier[1] for earlier, later in pairwise(found)]
        at = gaps.index(min(gaps))
        found[at : at + 2] = [(found[at][0], found[at + 1][1])]
    return found


async def read_spans(redis: AsyncRedis, keys: SourceKeys) -> list[Span]:
    """When automatic redrives of a source ran."""
    stored: Any = await redis.get(keys.recoveries)
    return [(since, until) for since, until in orjson.loads(stored)] if stored else []


def modest(source: Source) -> float:
    """Letters a second that may be put back beside a source's new events."""
    return min(RATE, source.rate / 10) if source.rate else RATE


def enqueue_recovery(
    connection: Redis, source: str, *, began: int, ended: int, rate: float = RATE, namespace: str | None = None,
    job_id: str | None = None,
) -> Job:  # fmt: skip
    """Put the redrive of what died of an outage on the queue.

    Raises:
        DuplicateJobError: a job of that id is stored.
    """
    return submit(
        connection, "recover", (source, namespace), kind="automatic_redrive", source=source,
        description=f"redrive what died of an outage of {source}", by="automatic redrive", namespace=namespace,
        options={"began": began, "ended": ended, "rate": rate}, counts=COUNTS, job_id=job_id,
    )  # fmt: skip


def recover(source: str, namespace: str | None = None, *, began: int, ended: int, rate: float) -> dict[str, Any]:
    """Do an automatic redrive as RQ's current job; its result is `COUNTS` and a sentence.

    Raises:
        UnknownSourceError: there is no such source.
    """
    return perform(namespace, lambda desk, _: Recovery(desk, source, began=began, ended=ended, rate=rate))
