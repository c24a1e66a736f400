import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from pombo.shared import batches
from pombo.shared.deadletters import PAGE, Filter, LetterHeader
from pombo.shared.errors import UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.worker.jobs.frame import Desk
from pombo.worker.jobs.redrives import Redrive

COUNTS = ("moved", "skipped", "unreadable")


class Job:
    """What RQ keeps of a job; storing the meta fails at the `dies_at`-th time, as when the process is killed."""

    def __init__(self, meta: dict[str, Any] | None = None, *, dies_at: int = 0) -> None:
        self.meta = meta or {}
        self.stored = orjson.dumps(self.meta)
        self._left = dies_at

    def save_meta(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise KilledError
        self.stored = orjson.dumps(self.meta)

    def again(self) -> "Job":
        """The job as the next run finds it."""
        return Job(orjson.loads(self.stored))


class KilledError(Exception):
    pass


@pytest.fixture
async def of(redis: Redis, keys: Keys, secrets: Secrets) -> SourceKeys:
    """The keys of source `bot`, which has 2 partitions."""
    await Registry(redis, keys, secrets).add("bot", "k" * 32, partitions=2)
    return keys.of("bot")


async def bury(
    redis: Redis, of: SourceKeys, *ids: str, reason: str = "poison", partition: int = 0, user: str = "u1"
) -> list[str]:
    """Store dead letters and count them, as a worker would; return their stream ids."""
    header = LetterHeader(reason, partition).dump()
    async with redis.pipeline(transaction=False) as pipe:
        for message_id in ids:
            event = {"messageId": message_id, "type": "track", "userId": user, "event": "Message Sent"}
            payload = b"\x01 junk" if reason == "corrupt" else orjson.dumps(event)
            pipe.xadd(of.dead, {"h": header, "b": payload})
        for counter in ("accepted", "dead", f"dead:{reason}"):
            pipe.hincrby(of.ledger, counter, len(ids))
        return [stream_id.decode() for stream_id in (await pipe.execute())[: len(ids)]]


async def moved(redis: Redis, of: SourceKeys) -> list[str]:
    """What waits in the streams, in order, by messageId."""
    found: list[str] = []
    for partition in range(2):
        stored: Any = await redis.xrange(of.stream(partition))
        for _, fields in stored:
            bodies = batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
            found += [batches.message_id(body).decode() for body in bodies]
    return found


async def run(redis: Redis, keys: Keys, job: Job | None = None, **options: Any) -> tuple[int, ...]:
    """Run a redrive of `bot`; moved, skipped and unreadable."""
    wanted = options.pop("wanted", Filter())
    desk = Desk(redis=redis, keys=keys, job=job, wait_s=0.01)
    counts = await Redrive(desk, "bot", wanted, **options).run()
    return tuple(counts[name] for name in COUNTS)


def numbered(count: int, start: int = 0) -> list[str]:
    return [f"m{number:05}" for number in range(start, start + count)]


async def test_all_letters_go_back_in_their_order(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Without a filter every letter is moved to the end of its partition, in the order of death."""
    ids = numbered(PAGE + 20)
    await bury(redis, of, *ids)
    await bury(redis, of, "other", partition=1)

    assert (PAGE + 21, 0, 0) == await run(redis, keys)
    assert [*ids, "other"] == await moved(redis, of)
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
    assert ["c"] == await moved(redis, of)
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
    assert ["a", "b"] == await moved(redis, of)
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
    assert numbered(PAGE + 10) == await moved(redis, of)


async def test_limit_of_the_whole_is_enough(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A limit beyond what is there moves all; one of zero moves nothing."""
    await bury(redis, of, "a", "b")

    assert (0, 0, 0) == await run(redis, keys, limit=0)
    assert (2, 0, 0) == await run(redis, keys, limit=9)


async def test_letters_that_die_later_are_left(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A job moves what was there when it first ran, also when it is run again after others died."""
    await bury(redis, of, *numbered(PAGE + 1))
    job = Job(dies_at=3)
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
    job = Job(dies_at=dies_at)
    with suppress(KilledError):
        await run(redis, keys, job, limit=limit)
    job = job.again()
    expected = ids[:limit]

    assert (len(expected), 1, 0) == await run(redis, keys, job, limit=limit)
    assert expected == await moved(redis, of)


async def test_run_again_after_the_end_changes_nothing(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A job that ended but could not say so ends with the same result, and moves nothing that died since."""
    await bury(redis, of, "a", "b")
    job = Job()
    first = await run(redis, keys, job)
    await bury(redis, of, "c")

    assert (2, 0, 0) == first == await run(redis, keys, job.again())


async def test_progress_is_in_the_meta(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The meta, which everybody can read, holds the counts so far, and is JSON."""
    await bury(redis, of, *numbered(PAGE + 5))
    job = Job(dies_at=5)
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

    class Flaky(Job):
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
        assert [] == await moved(redis, of)
    finally:
        await redis.config_set("maxmemory", "0")
    assert (3, 0, 0) == await running
    assert numbered(3) == await moved(redis, of)
