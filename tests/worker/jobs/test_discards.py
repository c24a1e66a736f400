from collections.abc import Sequence
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from pombo.shared.deadletters import PAGE, DeadLetter, Filter
from pombo.shared.errors import UnknownSourceError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import read_ledger
from pombo.shared.registry import Registry
from pombo.shared.sources import Source
from pombo.worker.jobs.discards import Discard
from pombo.worker.jobs.frame import Desk
from pombo.worker.jobs.pace import page_size
from support.jobs import JumpingClock, KeptJob, KilledError, bury, numbered

RATE = 20.0
STEP = page_size(RATE)
"""Letters in a step at that rate, so that few are many steps."""


async def test_all_that_is_wanted_goes(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What matches is deleted and counted as discarded; the rest stays."""
    await bury(redis, of, *numbered(3))
    await bury(redis, of, "other", reason="expired")
    result = await Discard(Desk(redis=redis, keys=keys), "bot", Filter(reason="poison")).run()

    assert {"discarded": 3, "unreadable": 0, "sentence": "3 dead letters discarded"} == result
    ledger = await read_ledger(redis, of)
    assert (1, 3, True) == (ledger.dead, ledger.discarded, ledger.balanced)


async def test_batches_count_their_events(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A letter that holds a whole batch is one letter, and as many events as died in it."""
    await bury(redis, of, "x", reason="corrupt", events=7)
    await bury(redis, of, "a")
    job = KeptJob()
    result = await Discard(Desk(redis=redis, keys=keys, job=job), "bot", Filter()).run()

    assert (8, 2) == (result["discarded"], job.meta["done"])
    assert "2 dead letters discarded, 8 events in all" == result["sentence"]


@pytest.mark.parametrize("limit", [None, STEP - 1, STEP + 1])
@pytest.mark.parametrize("dies_at", range(1, 9))
async def test_cut_off_anywhere_it_goes_on(
    redis: Redis, keys: Keys, of: SourceKeys, *, dies_at: int, limit: int | None
) -> None:
    """Wherever runs were killed, the counts and the limit are those of one that was not."""
    await bury(redis, of, "x", reason="corrupt", events=3)
    await bury(redis, of, *numbered(STEP + 2))
    job = KeptJob(dies_at=dies_at)
    for _ in range(3):
        with suppress(KilledError):
            await Discard(
                Desk(redis=redis, keys=keys, job=job, clock=JumpingClock()), "bot", Filter(), limit=limit, rate=RATE
            ).run()
        job = job.again(dies_at=dies_at)
    result = await Discard(
        Desk(redis=redis, keys=keys, job=job.again(), clock=JumpingClock()), "bot", Filter(), limit=limit, rate=RATE
    ).run()
    letters = STEP + 3 if limit is None else limit

    assert letters + 2 == result["discarded"]
    assert STEP + 3 - letters == await redis.xlen(of.dead)
    assert (await read_ledger(redis, of)).discarded == result["discarded"]


async def test_a_source_that_is_removed_meanwhile_is_told(
    redis: Redis, keys: Keys, of: SourceKeys, registry: Registry
) -> None:
    """Its letters went with it: the job did not discard them, and does not say that it ended well."""
    await bury(redis, of, *numbered(PAGE + 5))

    class Interrupted(Discard):
        async def act(self, source: Source, letters: Sequence[DeadLetter]) -> int:
            events = await super().act(source, letters)
            await registry.remove("bot", discard=True)
            return events

    job = KeptJob()
    with pytest.raises(UnknownSourceError, match="'bot'"):
        await Interrupted(Desk(redis=redis, keys=keys, job=job), "bot", Filter()).run()
    assert PAGE == job.meta["done"]
