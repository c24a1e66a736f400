from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters import Attempt, DeadLetter, LetterHeader
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.shared.sources import Source
from pombo.worker.jobs.frame import Desk
from pombo.worker.jobs.recovery import SPANS, Recovery, closed, of_outage, read_spans
from support.jobs import JumpingClock, KeptJob, KilledError, bury, numbered, queued
from support.world import World, body

AT = "2026-01-01T00:00:00.000Z"
REFUSED: Attempt = {"at": AT, "status": 503, "outcome": "failed"}
SILENT: Attempt = {"at": AT, "status": None, "outcome": "failed"}
UNSENT: Any = {"at": AT, "status": None, "outcome": "failed", "unknown": False}
BEGAN = 1_000_000


def letter(reason: str = "poison", history: Sequence[Attempt] = (REFUSED,), attempts: int | None = None) -> DeadLetter:
    header = LetterHeader(reason, 0, AT, attempts=len(history) if attempts is None else attempts, history=history)
    return DeadLetter("bot", "1-1", header, b'{"messageId":"m"}')


@pytest.mark.parametrize("reason", ["poison", "expired"])
def test_what_failed_for_certain_may_go_again(reason: str) -> None:
    """Segment answered each attempt with a failure, or never got it."""
    assert of_outage(letter(reason, [REFUSED, UNSENT, REFUSED]))


@pytest.mark.parametrize(
    "one",
    [
        letter("outcome_unknown"), letter("rejected_by_segment"), letter("too_large"), letter("invalid"),
        letter(history=[REFUSED, SILENT]), letter(history=[{**REFUSED, "status": 504}]),
        letter(history=[{**REFUSED, "status": 200}]), letter(history=[]), letter(attempts=2),
    ],
)  # fmt: skip
def test_what_segment_may_have_got_stays(one: DeadLetter) -> None:
    """No answer, an answer from in between, an attempt that nobody knows of, or another reason."""
    assert not of_outage(one)


@pytest.fixture
async def source(of: SourceKeys, registry: Registry) -> SourceKeys:
    """The keys of `bot`, whose option is on."""
    await registry.set("bot", redrive_after_outage=True)
    return of


async def run(redis: Redis, keys: Keys, job: KeptJob | None = None, **options: Any) -> dict[str, Any]:
    """Run the redrive of an outage from `BEGAN` on; its result."""
    desk = Desk(redis=redis, keys=keys, job=job, clock=JumpingClock(), wait_s=0.01)
    window = {"began": BEGAN, "ended": BEGAN + 60_000, **options}
    return await Recovery(desk, "bot", **window).run()


async def outage(redis: Redis, of: SourceKeys, *ids: str, died_ms: int, **how: Any) -> None:
    """Let events die of an outage that were accepted two days ago."""
    told = {"history": [REFUSED] * 10, "accepted_at": iso(datetime.now(UTC) - timedelta(days=2)), **how}
    await bury(redis, of, *ids, died_ms=died_ms, **told)


async def test_what_died_of_the_outage_goes(redis: Redis, keys: Keys, source: SourceKeys) -> None:
    """However old, as Segment has it not; what died before, after, or of something else, stays."""
    await outage(redis, source, "before", died_ms=BEGAN - 1)
    await outage(redis, source, "a", "b", died_ms=BEGAN)
    await outage(redis, source, "c", died_ms=BEGAN + 10, reason="expired")
    await outage(redis, source, "unknown", died_ms=BEGAN + 20, reason="outcome_unknown")
    await outage(redis, source, "silent", died_ms=BEGAN + 30, history=[SILENT])
    await outage(redis, source, "d", died_ms=BEGAN + 60_000)
    await outage(redis, source, "after", died_ms=BEGAN + 60_001)
    result = await run(redis, keys)

    assert ["a", "b", "c", "d"] == await queued(redis, source)
    assert {"moved": 4, "unsafe": 2, "repeated": 0, "skipped": 0, "unreadable": 0} == {
        name: value for name, value in result.items() if name != "sentence"
    }
    assert result["sentence"].startswith("4 dead letters of the outage redriven; 2 left")


async def test_what_came_from_such_a_redrive_stays(redis: Redis, keys: Keys, source: SourceKeys) -> None:
    """It was accepted anew while one ran: once is enough, else what always dies would go round for ever."""
    await outage(redis, source, "a", died_ms=BEGAN)
    before = await redis_now(redis)
    await run(redis, keys)
    after = await redis_now(redis)
    stored: Any = await redis.xrange(source.stream(0))
    ((entry, _),) = stored
    put_back = moment(int(entry.partition(b"-")[0]))
    again = BEGAN + 1_000_000
    await outage(redis, source, "a", died_ms=again, accepted_at=iso(put_back))
    await outage(redis, source, "b", died_ms=again + 1, accepted_at=iso(moment(after + 1)))
    await outage(redis, source, "c", died_ms=again + 2, accepted_at=iso(moment(before - 1)))
    await outage(redis, source, "d", died_ms=again + 3, accepted_at=None)
    result = await run(redis, keys, began=again, ended=again + 60_000)

    assert (2, 2) == (result["moved"], result["repeated"])
    assert ["a", "b", "c"] == await queued(redis, source)


async def test_one_that_was_cut_off_leaves_out_no_more(redis: Redis, keys: Keys, source: SourceKeys) -> None:
    """All its runs together are one time in which things were put back; it ends when the job does."""
    await outage(redis, source, *numbered(120), died_ms=BEGAN)
    job = KeptJob(dies_at=6)
    with pytest.raises(KilledError):
        await run(redis, keys, job)
    ((begun, none),) = await read_spans(redis, source)
    assert none is None
    result = await run(redis, keys, job.again())

    ((since, until),) = await read_spans(redis, source)
    assert (120, begun) == (result["moved"], since)
    assert until is not None
    assert numbered(120) == await queued(redis, source)


async def test_switched_off_meanwhile_it_does_nothing(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What counts is the option when the job begins."""
    await outage(redis, of, "a", died_ms=BEGAN)
    assert 0 == (await run(redis, keys))["moved"]
    assert 1 == await redis.xlen(of.dead)


def test_a_time_without_an_end_ends_with_the_next() -> None:
    """A job that was lost could not say when it ended: all until the next one, or until now, counts."""
    assert [(1, 5), (5, 6), (8, 20)] == closed([(1, None), (5, 6), (8, None)], 20)


def test_neighbours_become_one() -> None:
    """No more than so many times are kept; those closest together count as one with what lies between."""
    spans = [(100 * number, 100 * number + 10) for number in range(SPANS)]
    near = (100 * SPANS - 85, 100 * SPANS - 80)
    found = closed([*spans, near], 10**6)
    assert SPANS == len(found)
    assert (100 * (SPANS - 1), 100 * SPANS - 80) == found[-1]


async def poisoned(world: World, source: Source, feeder: Iterator[int]) -> None:
    """Let the sick event fail alone first, then while others succeed, until it is dead."""
    before = len(world.sim.requests())
    await world.until(lambda: len(world.sim.requests()) > before, "a failure")
    while not await world.settled():
        number = next(feeder)
        await world.append(source, 1, [body(f"other{number}", user="u2")])
        await world.until(lambda number=number: f"other{number}" in world.kept(), "another event")  # type: ignore[misc]


async def test_what_always_dies_goes_round_once(world: World) -> None:
    """A real worker's letter is taken for one of the outage; when it dies again, its new life gives it away."""
    source = await world.add(redrive_after_outage=True)
    world.sim.set_plan([{"when": {"message_id": "sick"}, "answer": {"status": 500}}])
    await world.append(source, 0, [body("sick")])
    world.start()
    feeder, results = count(), []
    for _ in range(2):
        began = await redis_now(world.redis)
        await poisoned(world, source, feeder)
        ended = await redis_now(world.redis)
        desk = Desk(redis=world.redis, keys=world.keys)
        results.append(await Recovery(desk, "bot", began=began, ended=ended, rate=None).run())

    assert [(1, 0), (0, 1)] == [(result["moved"], result["repeated"]) for result in results]
    (letter,) = await world.letters()
    assert ("sick", "poison") == (letter.event["messageId"], letter.header.reason)
    await world.assert_balanced()
