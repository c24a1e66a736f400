from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from pombo.shared.deadletters import DeadLetter, Filter, LetterHeader, discard, read
from pombo.shared.errors import JobError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import read_ledger
from pombo.shared.registry import Registry
from pombo.worker.jobs.exports import Export
from pombo.worker.jobs.frame import Cancelled, Desk, GivesWay
from pombo.worker.jobs.imports import Import
from pombo.worker.jobs.pace import page_size
from pombo.worker.jobs.runs import StopFlag
from support.jobs import JumpingClock, KeptJob, KilledError, bury, numbered

FILE = "letters.ndjson"
RATE = 20.0
STEP = page_size(RATE)
"""Letters in a step at that rate, so that few are many steps."""


async def exported(redis: Redis, keys: Keys, folder: Path, **options: Any) -> None:
    """Export the letters of `bot`, and discard them."""
    desk = Desk(redis=redis, keys=keys)
    await Export(desk, "bot", Filter(), folder=folder, file=FILE, discards=True, **options).run()


async def run(redis: Redis, keys: Keys, folder: Path, job: KeptJob | None = None, **options: Any) -> dict[str, Any]:
    """Import the file; the result."""
    stop, session = options.pop("stop", StopFlag()), options.pop("session", "abc123")
    others_wait = options.pop("others_wait", bool)
    desk = Desk(
        redis=redis, keys=keys, job=job, wait_s=0.01, clock=JumpingClock(), stop=stop, others_wait=others_wait
    )  # fmt: skip
    return await Import(desk, "bot", folder=folder, file=FILE, session=session, **options).run()


async def there(redis: Redis, keys: Keys) -> list[str]:
    """The messageIds of the letters of `bot`."""
    return [letter.event["messageId"] async for letter in read(redis, keys, "bot")]


async def test_what_was_exported_comes_back(redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path) -> None:
    """Byte for byte, with reason and partition; the file stays, and the ledger balances."""
    await bury(redis, of, "a", "b", partition=1, reason="expired")
    before = [
        (letter.payload, letter.header.reason, letter.header.partition) async for letter in read(redis, keys, "bot")
    ]
    await exported(redis, keys, tmp_path)
    result = await run(redis, keys, tmp_path)

    assert before == [
        (letter.payload, letter.header.reason, letter.header.partition) async for letter in read(redis, keys, "bot")
    ]
    assert (2, 0, 0, FILE) == tuple(result[name] for name in ("restored", "present", "bad", "file"))
    assert f"2 dead letters put back from {FILE}" == result["sentence"]
    assert (tmp_path / FILE).exists()
    assert (await read_ledger(redis, of)).balanced


@pytest.mark.parametrize("dies_at", range(1, 7))
async def test_cut_off_anywhere_it_goes_on(
    redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path, *, dies_at: int
) -> None:
    """Wherever runs were killed, each letter is put back once, and the counts say so."""
    ids = numbered(2 * STEP + 2)
    await bury(redis, of, *ids)
    await exported(redis, keys, tmp_path)
    job = KeptJob(dies_at=dies_at)
    for more in (2, 1):
        with suppress(KilledError):
            await run(redis, keys, tmp_path, job, rate=RATE)
        job = job.again(dies_at=more)
    result = await run(redis, keys, tmp_path, job.again(), rate=RATE)

    assert ids == await there(redis, keys)
    assert (len(ids), 0, 0) == tuple(result[name] for name in ("restored", "present", "bad"))


async def test_lines_of_no_use_are_told(redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path) -> None:
    """All of them are counted, the first are told with their numbers and without what is in them; the rest goes on."""
    await bury(redis, of, "a", "b")
    await exported(redis, keys, tmp_path)
    first, second = (tmp_path / FILE).read_bytes().splitlines()
    bad = [b"secret", b"[]", b'{"id":"secret"}', b"{}", b"\xff", b"{}", b"{}"]
    (tmp_path / FILE).write_bytes(b"\n".join([first, b"", *bad, second]))
    result = await run(redis, keys, tmp_path)

    assert ["a", "b"] == await there(redis, keys)
    assert (2, 7) == (result["restored"], result["bad"])
    assert [3, 4, 5, 6, 7] == [line["line"] for line in result["first_bad"]]
    assert "7 lines of no use left out (line 3: it is no JSON; line 4: " in result["sentence"]
    assert b"secret" not in orjson.dumps(result)


async def test_letters_that_never_left_are_passed_over(
    redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path
) -> None:
    """An import of what is still there changes nothing."""
    await bury(redis, of, "a", "b")
    await Export(Desk(redis=redis, keys=keys), "bot", Filter(), folder=tmp_path, file=FILE).run()
    result = await run(redis, keys, tmp_path)
    assert (0, 2) == (result["restored"], result["present"])
    assert ["a", "b"] == await there(redis, keys)


async def test_a_source_that_may_hold_no_more_is_waited_for(
    redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path, *, registry: Registry
) -> None:
    """The import says what it waits for, and goes on as soon as there is room."""
    await bury(redis, of, "a", "b")
    await exported(redis, keys, tmp_path)
    await bury(redis, of, "c")
    await registry.set("bot", dead_bytes=1)
    (c,) = [letter async for letter in read(redis, keys, "bot")]
    job, others = KeptJob(), iter([False, False, True])
    with pytest.raises(GivesWay):
        await run(redis, keys, tmp_path, job, others_wait=lambda: next(others))
    assert "at their limit" in job.meta["waits"]
    assert job.meta["waits_since"] == orjson.loads(job.stored)["waits_since"] is not None
    stop = StopFlag()
    stop.up = True
    with pytest.raises(Cancelled):
        await run(redis, keys, tmp_path, job.again(), stop=stop)
    await discard(redis, keys, "bot", [c])
    job = job.again()
    assert 2 == (await run(redis, keys, tmp_path, job))["restored"]
    assert (None, None) == (job.meta["waits"], job.meta["waits_since"])


async def test_the_same_file_again_puts_nothing_back_twice(
    redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path
) -> None:
    """A second job of the same file goes on where a first one was cancelled, at whatever rate, and says so."""
    ids = numbered(2 * STEP + 2)
    await bury(redis, of, *ids)
    await exported(redis, keys, tmp_path)
    stop = StopFlag()

    class Impatient(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            stop.up = self.meta["restored"] > 0

    with pytest.raises(Cancelled):
        await run(redis, keys, tmp_path, Impatient(), rate=RATE, stop=stop)
    result = await run(redis, keys, tmp_path, session="another", rate=RATE / 2)

    assert ids == await there(redis, keys)
    assert (len(ids) - STEP, STEP) == (result["restored"], result["before"])
    assert f"{STEP} had been put back before, and were not put back again" in result["sentence"]
    again = await run(redis, keys, tmp_path, session="third", again=True)
    assert (len(ids), 0) == (again["restored"], again["before"])


async def test_large_letters_are_noted_step_by_step(
    redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path, registry: Registry
) -> None:
    """When one step of what was read has no room, those before it are counted once."""
    lines = []
    for number in range(5):
        event = {
            "messageId": f"m{number}",
            "type": "track",
            "event": "E",
            "userId": "u",
            "properties": {"a": "x" * 10**6},
        }
        letter = DeadLetter("bot", f"{number + 1}-0", LetterHeader("poison", 0), orjson.dumps(event))
        lines.append(orjson.dumps(letter.show()))
    (tmp_path / FILE).write_bytes(b"\n".join([*lines[:2], b"bad", *lines[2:]]))
    await registry.set("bot", dead_bytes=10)
    job = KeptJob()
    with pytest.raises(GivesWay):
        await run(redis, keys, tmp_path, job, others_wait=lambda: True)
    assert (4, 1, 0, 5) == tuple(job.meta[name] for name in ("restored", "bad", "before", "done"))
    await registry.set("bot", dead_bytes=0)
    result = await run(redis, keys, tmp_path, job.again())
    assert (5, 0, 1) == tuple(result[name] for name in ("restored", "before", "bad"))


async def test_a_file_that_is_not_there(redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path) -> None:
    """It ends the job at once; the message names the file."""
    with pytest.raises(JobError, match=FILE):
        await run(redis, keys, tmp_path)
