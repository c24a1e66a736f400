import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from pombo.shared.clock import SystemClock
from pombo.shared.deadletters import PAGE, Filter
from pombo.shared.errors import UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.worker.jobs.frame import Cancelled, Desk, GivesWay
from pombo.worker.jobs.redrives import Redrive
from pombo.worker.jobs.runs import StopFlag
from support.jobs import JumpingClock, KeptJob, KilledError, bury, numbered, queued

COUNTS = ("moved", "skipped", "unreadable")


async def run(redis: Redis, keys: Keys, job: KeptJob | None = None, **options: Any) -> tuple[int, ...]:
    """Run a redrive of `bot`; moved, skipped and unreadable."""
    wanted = options.pop("wanted", Filter())
    desk = Desk(redis=redis, keys=keys, job=job, wait_s=0.01, clock=options.pop("clock", SystemClock()))
    counts = await Redrive(desk, "bot", wanted, **options).run()
    return tuple(counts[name] for name in COUNTS)


async def test_all_letters_go_back_in_their_order(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Without a filter every letter is moved to the end of its partition, in the order of death."""
    ids = numbered(PAGE + 20)
    await bury(redis, of, *ids)
    await bury(redis, of, "other", partition=1)

    assert (PAGE + 21, 0, 0) == await run(redis, keys)
    assert [*ids, "other"] == await queued(redis, of)
    assert 0 == await redis.xlen(of.dead)


async def test_nothing_there_is_nothing_moved(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A source without dead letters makes a job that ends well."""
    assert (0, 0, 0) == await run(redis, keys)


async def test_filters_choose(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Only what matches is moved; what does not match is neither moved nor counted."""
    await bury(redis, of, "a")
    await bury(redis, of, "b", reason="expired")
    await bury(redis, of, "c", reason="expired", user="u2")

    assert (1, 0, 0) == await run(redis, keys, wanted=Filter(reason="expired", user="u2"))
    assert ["c"] == await queued(redis, of)
    later = datetime.now(UTC) + timedelta(hours=1)
    assert (0, 0, 0) == await run(redis, keys, wanted=Filter(since=later))
    assert (1, 0, 0) == await run(redis, keys, wanted=Filter(message_id="a"))


async def test_what_holds_no_event_is_skipped_and_counted(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Corrupt batches and letters of a partition that is not there stay, and do not stand in the others' way."""
    await bury(redis, of, "a")
    await bury(redis, of, "x", reason="corrupt")
    await bury(redis, of, "lost", partition=7)
    await bury(redis, of, "b")

    assert (2, 2, 0) == await run(redis, keys)
    assert ["a", "b"] == await queued(redis, of)
    assert 2 == await redis.xlen(of.dead)


async def test_unknown_versions_are_left_alone_and_counted(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A letter that a newer pombo wrote stays as it is."""
    await redis.xadd(of.dead, {"h": b'{"v":9}', "b": b"?"})
    await bury(redis, of, "a")

    assert (1, 0, 1) == await run(redis, keys)
    assert 1 == await redis.xlen(of.dead)


async def test_limit_counts_what_is_moved(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A limit is one of moved events: skipped ones do not count, and what lies behind it is not looked at."""
    await bury(redis, of, "x", reason="corrupt")
    await bury(redis, of, *numbered(PAGE + 30))
    await bury(redis, of, "y", reason="corrupt")

    assert (PAGE + 10, 1, 0) == await run(redis, keys, limit=PAGE + 10)
    assert numbered(PAGE + 10) == await queued(redis, of)


async def test_limit_of_the_whole_is_enough(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A limit beyond what is there moves all; one of zero moves nothing."""
    await bury(redis, of, "a", "b")

    assert (0, 0, 0) == await run(redis, keys, limit=0)
    assert (2, 0, 0) == await run(redis, keys, limit=9)


async def test_letters_that_die_later_are_left(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A job moves what was there when it first ran, also when it is run again after others died."""
    await bury(redis, of, *numbered(PAGE + 1))
    job = KeptJob(dies_at=3)
    with pytest.raises(KilledError):
        await run(redis, keys, job)
    await bury(redis, of, "later")
    await bury(redis, of, "late and corrupt", reason="corrupt")

    assert (PAGE + 1, 0, 0) == await run(redis, keys, job.again())
    assert 2 == await redis.xlen(of.dead)


@pytest.mark.parametrize("limit", [None, PAGE - 7, PAGE + 7])
@pytest.mark.parametrize("dies_at", range(1, 7))
async def test_cut_off_anywhere_it_goes_on(
    redis: Redis, keys: Keys, of: SourceKeys, *, dies_at: int, limit: int | None
) -> None:
    """Wherever a run was killed, the next one ends with the counts, and the limit, of one that was not."""
    ids = numbered(PAGE + 20)
    await bury(redis, of, "x", reason="corrupt")
    await bury(redis, of, *ids)
    job = KeptJob(dies_at=dies_at)
    with suppress(KilledError):
        await run(redis, keys, job, limit=limit)
    job = job.again()
    expected = ids[:limit]

    assert (len(expected), 1, 0) == await run(redis, keys, job, limit=limit)
    assert expected == await queued(redis, of)


async def test_run_again_after_the_end_changes_nothing(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A job that ended but could not say so ends with the same result, and moves nothing that died since."""
    await bury(redis, of, "a", "b")
    job = KeptJob()
    first = await run(redis, keys, job)
    await bury(redis, of, "c")

    assert (2, 0, 0) == first == await run(redis, keys, job.again())


async def test_progress_is_in_the_meta(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The meta, which everybody can read, holds the counts so far, and is JSON."""
    await bury(redis, of, *numbered(PAGE + 5))
    job = KeptJob(dies_at=5)
    with pytest.raises(KilledError):
        await run(redis, keys, job)

    assert PAGE == orjson.loads(job.stored)["moved"]


async def test_an_unknown_source_ends_it(redis: Redis, keys: Keys) -> None:
    """There is nothing to wait for when the source is not there."""
    with pytest.raises(UnknownSourceError, match="'bot'"):
        await run(redis, keys)


async def test_passing_trouble_is_waited_out(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A Redis that is full for a while, or that is lost while the checkpoint is written, only delays."""
    await bury(redis, of, *numbered(3))

    class Flaky(KeptJob):
        saves = 0

        def save_meta(self) -> None:
            self.saves += 1
            if self.saves == 3:
                raise ConnectionError("gone")
            super().save_meta()

    job = Flaky()
    await redis.config_set("maxmemory", "1")
    try:
        running = asyncio.create_task(run(redis, keys, job))
        async with asyncio.timeout(30):
            while job.saves < 5:
                await asyncio.sleep(0)
        assert [] == await queued(redis, of)
    finally:
        await redis.config_set("maxmemory", "0")
    assert (3, 0, 0) == await running
    assert numbered(3) == await queued(redis, of)


async def test_a_throttle_is_kept(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """1,000 letters at 100 a second, in pages of 50, take 9.5 s, as the first page goes at once."""
    await bury(redis, of, *numbered(1000))
    clock = JumpingClock()

    assert (1000, 0, 0) == await run(redis, keys, rate=100, clock=clock)
    assert 9.5 == pytest.approx(clock.elapsed)


async def test_a_throttled_job_that_was_killed_waits_a_page_first(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Whoever goes on cannot know when the last page was moved, so there is no burst."""
    await bury(redis, of, *numbered(100))
    job, clock = KeptJob(dies_at=4), JumpingClock()
    with pytest.raises(KilledError):
        await run(redis, keys, job, rate=100, clock=clock)
    before = clock.elapsed

    assert (100, 0, 0) == await run(redis, keys, job.again(), rate=100, clock=clock)
    assert 0.5 == pytest.approx(clock.elapsed - before)


async def test_what_was_accepted_too_long_ago_is_left(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Segment would take it for new, so without `older` it is counted and stays; with it, it goes."""
    now = datetime.now(UTC)
    await bury(redis, of, "old", accepted_at=(now - timedelta(hours=25)).isoformat())
    await bury(redis, of, "young", accepted_at=(now - timedelta(hours=23)).isoformat())
    result = await Redrive(Desk(redis=redis, keys=keys), "bot", Filter(), older=False).run()

    assert (1, 1) == (result["moved"], result["older"])
    assert ["young"] == await queued(redis, of)
    assert "1 left, as they were accepted more than 24 hours ago" in result["sentence"]
    assert (1, 0, 0) == await run(redis, keys, older=True)


async def test_a_step_that_an_older_pombo_noted_is_settled(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Older ones noted of a step its last letter and their number alone."""
    first, *_, last = await bury(redis, of, *numbered(9))
    await redis.xdel(of.dead, first)
    then = {"next": f"({last}", "skipped": 4, "unreadable": 0}
    pending = {"last": last, "letters": 9, "then": then}
    job = KeptJob({"moved": 0, "skipped": 0, "unreadable": 0, "next": "-", "pending": pending, "end": last})

    assert (9, 4, 0) == await run(redis, keys, job)
    assert numbered(8, 1) == await queued(redis, of)


async def test_a_limit_of_an_older_pombo_holds(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What its job had moved counts, though it has no count of what was done."""
    last = (await bury(redis, of, *numbered(9)))[-1]
    meta = {"moved": 4, "skipped": 0, "unreadable": 0, "next": "-", "pending": None, "end": last}

    assert (6, 0, 0) == await run(redis, keys, KeptJob(meta), limit=6)
    assert numbered(2) == await queued(redis, of)


async def test_a_job_that_is_to_stop_says_what_it_did(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """It ends between two steps, with exact counts and a sentence."""
    await bury(redis, of, *numbered(PAGE + 5))
    stop = StopFlag()

    class Impatient(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            stop.up = self.meta["moved"] > 0

    job = Impatient()
    with pytest.raises(Cancelled):
        await Redrive(Desk(redis=redis, keys=keys, job=job, stop=stop), "bot", Filter()).run()

    assert (PAGE, None) == (job.meta["moved"], job.meta["pending"])
    assert f"{PAGE} dead letters redriven" == job.meta["sentence"]
    assert PAGE == len(await queued(redis, of))


async def test_a_slow_throttle_gives_way_and_comes_back_in_time(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Between steps that are far apart others go first; what the job owes of its rate it owes once."""
    await bury(redis, of, "a", "b", "c")
    job, clock = KeptJob(), JumpingClock()
    for number in (1, 2):
        desk = Desk(redis=redis, keys=keys, job=job, clock=clock, others_wait=lambda: True)
        with pytest.raises(GivesWay):
            await Redrive(desk, "bot", Filter(), rate=0.05).run()
        assert (number, "its rate of 0.05 letters a second") == (job.meta["moved"], job.meta["waits"])
        clock.elapsed += 13
        job = job.again()
    assert (3, 0, 0) == await run(redis, keys, job, rate=0.05, clock=clock)
    assert 40.0 == pytest.approx(clock.elapsed, abs=0.1)


async def test_a_quick_throttle_keeps_its_worker(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """To let go and come back would take longer than it waits."""
    await bury(redis, of, *numbered(20))
    clock = JumpingClock()
    desk = Desk(redis=redis, keys=keys, job=KeptJob(), clock=clock, others_wait=lambda: True)
    assert 20 == (await Redrive(desk, "bot", Filter(), rate=0.5).run())["moved"]
    assert 38.0 == pytest.approx(clock.elapsed, abs=0.1)
