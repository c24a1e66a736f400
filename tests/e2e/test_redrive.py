"""A redrive of 100,000 dead letters whose worker is killed twice on the way, beside real deliveries."""

import asyncio
import os
import signal
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis.client import Redis
from rq.job import Job

from pombo.ops.jobboard import JobView, cancel, read_job
from pombo.shared.clock import iso
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import Filter
from pombo.worker.jobs import enqueue_redrive
from pombo.worker.jobs.pace import page_size
from support.installation import Child, Installation, until
from support.letters import SOURCE, body, header, put

Say = Callable[[str], None]

LETTERS = 100_000
PARTITIONS = 8
RATE = 4000.0
"""Letters a second that the redrive may move."""
AT_ONCE = 2000
TAKEN_UP_S = 45.0
"""A job is taken up 35 s after its worker's last sign of life, and somebody looks every 5 s."""


def bury(here: Installation, count: int) -> list[str]:
    """Let events of a thousand users be dead letters; their messageIds."""
    ids = [f"m{number:06}" for number in range(count)]
    accepted = iso(datetime.now(UTC))
    incarnation: bytes = here.redis.hget(here.keys.of("bot").ledger, "incarnation")  # type: ignore[assignment]
    source = SOURCE.model_copy(update={"incarnation": incarnation.decode(), "partitions": PARTITIONS})

    async def work() -> None:
        redis = aconnect(here.server.url if here.shape is None else here.shape.url, timeout_s=30)
        for start in range(0, count, AT_ONCE):
            some = [
                (
                    header("poison", number % PARTITIONS, accepted, attempts=1, status=503).dump(),
                    body(ids[number], userId=f"u{number % 1000}"),
                    1,
                )
                for number in range(start, min(count, start + AT_ONCE))
            ]
            await put(redis, here.keys, *some, source=source)
        await redis.aclose()

    asyncio.run(work())
    return ids


def process_of(worker: Child) -> int:
    """The process in which a worker does a job; 0 without one."""
    try:
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    except FileNotFoundError:
        return 0
    return int(children[0]) if children else 0


class Watch:
    """Note how many letters were moved by when, and do something once so many are."""

    def __init__(self, redis: Redis, here: Installation) -> None:
        self._redis = redis
        self._dead = here.keys.of("bot").dead
        self.moments: list[float] = [time.monotonic()]
        self.moved: list[int] = [0]

    def look(self) -> int:
        """How many were moved by now."""
        moved = LETTERS - int(self._redis.xlen(self._dead))
        self.moments.append(time.monotonic())
        self.moved.append(moved)
        return moved

    def past(self, count: int, what: str, deadline_s: float = 60) -> None:
        """Wait until more than so many are."""
        until(lambda: self.look() > count, what, deadline_s, poll_s=0.01)

    def most_in_a_second(self) -> int:
        """The most that were moved in any second."""
        most = 0
        for start, at in enumerate(self.moments):
            end = bisect_left(self.moments, at + 1.0)
            most = max(most, self.moved[end - 1] - self.moved[start])
        return most


@pytest.mark.e2e
@pytest.mark.timeout(420)
def test_a_redrive_outlives_its_workers(installation: Installation, say: Say) -> None:
    """Each letter is delivered once, counts are exact, the ledger balances, and the rate is kept throughout."""
    here = installation
    here.add("bot", "k" * 32, partitions=PARTITIONS)
    ids = bury(here, LETTERS)
    here.workers(1)
    job = enqueue_redrive(here.redis, "bot", Filter(), rate=RATE, by="a test", namespace="pombo")
    watch, worker, began = Watch(here.redis, here), here.jobs(), time.monotonic()

    watch.past(LETTERS // 4, "progress")
    worker.kill()
    first, worker = watch.look(), here.jobs()
    watch.past(first + 500, "job taken up by another worker", TAKEN_UP_S)
    taken_up = watch.moments[-1] - watch.moments[watch.moved.index(first)]
    watch.past(LETTERS * 2 // 3, "progress")
    os.kill(process_of(worker), signal.SIGKILL)
    second = watch.look()
    until(lambda: watch.look() == LETTERS, "all letters moved", 120, poll_s=0.01)
    took = time.monotonic() - began
    until(lambda: now(here.redis, job).ended, "end of the job")
    here.drained("bot", 120)

    arrived = here.segment.events()
    told, ledger, most = now(here.redis, job), here.ledger("bot"), watch.most_in_a_second()
    say(
        f"{LETTERS:,} letters at {RATE:,.0f}/s, worker killed at {first:,}, job's process at {second:,}: {took:.1f} s, "
        f"of which {taken_up:.1f} s until another worker took it up; {most:,} in the fullest second; "
        f"{len(arrived):,} arrivals, {ledger['delivered']:,} delivered, {ledger['deduplicated']} deduplicated; "
        f"“{told.sentence}”"
    )
    assert Counter(ids) == Counter(row["message_id"] for row in arrived)
    assert {"kept"} == {row["fate"] for row in arrived}
    assert (LETTERS, 0, 0) == tuple(told.result[name] for name in ("moved", "skipped", "older"))
    assert (LETTERS, 0, 0) == (ledger["delivered"], ledger["dead"], ledger["deduplicated"])
    here.audit()
    assert most <= RATE * 1.1 + page_size(RATE)


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_a_job_that_hangs_is_stopped_all_the_same(installation: Installation) -> None:
    """Who does not end between two steps is killed some seconds later; what it did is told as the least."""
    here = installation
    here.add("bot", "k" * 32, partitions=PARTITIONS)
    bury(here, 5000)
    job = enqueue_redrive(here.redis, "bot", Filter(), rate=1000, namespace="pombo")
    worker = here.jobs()
    until(lambda: now(here.redis, job).done, "progress", poll_s=0.005)
    os.kill(process_of(worker), signal.SIGSTOP)
    cancel(here.redis, job.id)
    until(lambda: now(here.redis, job).ended, "end of the job", 30)
    told = now(here.redis, job)
    here.workers(1)
    here.drained("bot")

    assert "stopped" == told.status
    assert told.done <= here.ledger("bot")["delivered"] <= told.done + page_size(1000)
    assert told.sentence.startswith(("cancelled; at least ", f"cancelled; {told.done:,} "))
    here.audit()


def now(redis: Redis, job: Job) -> JobView:
    """The job as it is now."""
    found = read_job(redis, job.id)
    assert found is not None
    return found
