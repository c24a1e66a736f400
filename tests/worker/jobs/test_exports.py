import asyncio
import os
import resource
import stat
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from pombo.shared.connection import aconnect
from pombo.shared.deadletters import PAGE, Filter, read
from pombo.shared.errors import JobError
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.ledger import read_ledger
from pombo.worker.jobs.exports import Export
from pombo.worker.jobs.frame import Cancelled, Desk
from pombo.worker.jobs.pace import page_size
from pombo.worker.jobs.runs import StopFlag, Superseded
from pombo.worker.jobs.sentences import told
from pombo.worker.jobs.walk import LAST
from support.jobs import JumpingClock, KeptJob, KilledError, bury, numbered, queued

FILE = "letters.ndjson"
RATE = 20.0
STEP = page_size(RATE)
"""Letters in a step at that rate, so that few are many steps."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "home" / "exports"


async def run(redis: Redis, keys: Keys, folder: Path, job: KeptJob | None = None, **options: Any) -> dict[str, Any]:
    """Run an export of `bot`; its result."""
    wanted = options.pop("wanted", Filter())
    desk = Desk(
        redis=redis, keys=keys, job=job, wait_s=0.01, clock=JumpingClock(), stop=options.pop("stop", StopFlag())
    )
    return await Export(desk, "bot", wanted, folder=folder, file=FILE, **options).run()


def ids_in(path: Path) -> list[str]:
    return [orjson.loads(line)["message_id"] for line in path.read_bytes().splitlines()]


async def test_letters_are_written_as_they_are_shown(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """A line a letter, in the order of death; the letters stay, and nobody else may read the file."""
    await bury(redis, of, "a", "b", "c")
    result = await run(redis, keys, folder)
    path = folder / FILE

    assert (3, str(path), os.stat(path).st_size) == (result["letters"], result["path"], result["bytes"])
    assert [letter.show() async for letter in read(redis, keys, "bot")] == [
        orjson.loads(line) for line in path.read_bytes().splitlines()
    ]
    assert [0o700, 0o600] == [stat.S_IMODE(one.stat().st_mode) for one in (folder, path)]
    assert [path] == [*folder.iterdir()]
    assert f"3 dead letters exported to {path} on {result['host']} ({result['bytes']:,} bytes)" == result["sentence"]


def half(folder: Path) -> Path:
    """What an export writes before its file has its name."""
    (found,) = folder.glob(".*.part")
    return found


async def test_nothing_to_write_makes_no_file(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """The result says so, and there is no folder either."""
    result = await run(redis, keys, folder)
    assert (0, None) == (result["letters"], result["path"])
    assert not folder.exists()


@pytest.mark.parametrize("discards", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 12))
async def test_cut_off_anywhere_it_goes_on(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path, *, dies_at: int, discards: bool
) -> None:
    """Wherever runs were killed, each letter is in the file once, and discarded once if that is wanted."""
    ids = numbered(2 * STEP + 2)
    await bury(redis, of, *ids)
    job = KeptJob(dies_at=dies_at)
    for more in (3, 2):
        with suppress(KilledError):
            await run(redis, keys, folder, job, discards=discards, rate=RATE)
        job = job.again(dies_at=more)
    result = await run(redis, keys, folder, job.again(), discards=discards, rate=RATE)

    assert ids == ids_in(folder / FILE)
    assert (len(ids), len(ids) * discards) == (result["letters"], result["removed"])
    assert len(ids) * (not discards) == await redis.xlen(of.dead)
    assert len(ids) * discards == (await read_ledger(redis, of)).discarded


@pytest.mark.parametrize("junk", [b"", b"half a li", b"x" * 100_000])
async def test_what_was_written_without_being_noted_is_cut_off(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path, junk: bytes
) -> None:
    """The file is as long as the checkpoint says before anything more is written."""
    ids = numbered(2 * PAGE)
    await bury(redis, of, *ids)
    job = KeptJob(dies_at=3)
    with pytest.raises(KilledError):
        await run(redis, keys, folder, job)
    with half(folder).open("ab") as file:
        file.write(junk)
    await run(redis, keys, folder, job.again())

    assert ids == ids_in(folder / FILE)


async def test_a_last_step_that_was_not_noted_is_cut_off(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path
) -> None:
    """Letters that somebody took before the next run came are not in the file: an import would bring them back."""
    ids = await bury(redis, of, *numbered(PAGE + 2))
    job = KeptJob(dies_at=3)
    with pytest.raises(KilledError):
        await run(redis, keys, folder, job, discards=True)
    await redis.xdel(of.dead, *ids[PAGE:])
    result = await run(redis, keys, folder, job.again(), discards=True)

    assert (PAGE, PAGE) == (result["letters"], result["removed"])
    assert numbered(PAGE) == ids_in(folder / FILE)
    assert os.stat(folder / FILE).st_size == result["bytes"]


async def test_a_file_that_was_begun_elsewhere_is_begun_anew(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path
) -> None:
    """The next run may be on another machine, where there is nothing of it."""
    ids = numbered(2 * PAGE)
    await bury(redis, of, *ids)
    job = KeptJob(dies_at=4)
    with pytest.raises(KilledError):
        await run(redis, keys, folder, job)
    half(folder).unlink()
    result = await run(redis, keys, folder, job.again())

    assert ids == ids_in(folder / FILE)
    assert len(ids) == result["letters"]


async def test_only_what_the_file_holds_is_discarded(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """What dies while the export runs, and what its filter leaves out, stays; a limit is one of letters written."""
    await bury(redis, of, *numbered(PAGE + 1))
    await bury(redis, of, "other", reason="expired")

    class Meanwhile(KeptJob):
        written = False

        def save_meta(self) -> None:
            super().save_meta()
            self.written |= self.meta["letters"] > 0

    job = Meanwhile()
    result = await run(redis, keys, folder, job, discards=True, wanted=Filter(reason="poison"), limit=PAGE)
    await bury(redis, of, "later")

    assert job.written
    assert (PAGE, PAGE) == (result["letters"], result["removed"])
    assert [f"m{PAGE:05}", "other", "later"] == [letter.event["messageId"] async for letter in read(redis, keys, "bot")]
    assert result["sentence"].endswith(", and 500 of them discarded")


async def test_a_file_that_is_gone_ends_the_discarding(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """Nothing is discarded that is in no file, and the error says what became of the others."""
    await bury(redis, of, *numbered(PAGE + 3))

    class Unlinking(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            if self.meta["phase"] == "removing":
                (folder / FILE).unlink(missing_ok=True)
                raise KilledError

    job = Unlinking()
    with pytest.raises(KilledError):
        await run(redis, keys, folder, job, discards=True)
    with pytest.raises(JobError, match=r"0 of its 503 letters were discarded: the others are still there"):
        await run(redis, keys, folder, job.again(), discards=True)
    assert PAGE + 3 == await redis.xlen(of.dead)


async def test_a_disk_that_refuses_ends_it(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """The error names the file and the setting; the letters stay."""
    await bury(redis, of, "a")
    folder.parent.mkdir()
    folder.write_bytes(b"in the way")
    with pytest.raises(JobError, match="POMBO_EXPORT_DIR"):
        await run(redis, keys, folder, discards=True)
    assert 1 == await redis.xlen(of.dead)


async def test_a_disk_that_is_full_is_left_without_half_of_a_file(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path
) -> None:
    """An hourly retention would leave one an hour, with people's data in it."""
    await bury(redis, of, *numbered(PAGE + 3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            if self.meta["letters"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.meta["bytes"] + 10, before[1]))

    job = Filling()
    try:
        with pytest.raises(JobError, match="POMBO_EXPORT_DIR"):
            await run(redis, keys, folder, job, discards=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [] == [*folder.iterdir()]
    assert f"no dead letter exported: the half of a file, with {PAGE} dead letters, was deleted" == told(job.meta)
    assert PAGE + 3 == await redis.xlen(of.dead)


async def test_a_cancelled_export_leaves_no_half_of_a_file(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path
) -> None:
    """Its sentence says so; nor does one that was cancelled while it waited to go on."""
    await bury(redis, of, *numbered(PAGE + 3))
    stop = StopFlag()

    class Impatient(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            stop.up = self.meta["letters"] > 0

    job = Impatient()
    with pytest.raises(Cancelled):
        await run(redis, keys, folder, job, stop=stop)

    assert [] == [*folder.iterdir()]
    assert "no dead letter exported: the half of a file, with 500 dead letters, was deleted" == job.meta["sentence"]

    killed = KeptJob(dies_at=5)
    with pytest.raises(KilledError):
        await run(redis, keys, folder, killed)
    assert half(folder).exists()
    with pytest.raises(Cancelled):
        await run(redis, keys, folder, killed.again(), stop=stop)
    assert [] == [*folder.iterdir()]


async def test_a_run_that_lives_on_spoils_nothing(redis: Redis, keys: Keys, of: SourceKeys, folder: Path) -> None:
    """One that was believed dead writes on until it notes something; the file is the next run's, and whole."""
    ids = numbered(2 * PAGE + 5)
    await bury(redis, of, *ids)
    results: list[dict[str, Any]] = []

    class Believed(KeptJob):
        """Its next run comes and goes while it has written something that it did not note yet."""

        def save_meta(self) -> None:
            if self.meta["letters"] > PAGE:
                loop = asyncio.new_event_loop()
                thread = Thread(target=lambda: results.append(loop.run_until_complete(self.next_run())))
                thread.start()
                thread.join()
                loop.close()
                raise Superseded
            super().save_meta()

        async def next_run(self) -> dict[str, Any]:
            client = aconnect(redis_url)
            found = await run(client, keys, folder, KeptJob(orjson.loads(self.stored)), discards=True)
            await client.aclose()
            return found

    redis_url = f"unix://{redis.connection_pool.connection_kwargs['path']}"
    with pytest.raises(Superseded):
        await run(redis, keys, folder, Believed(), discards=True)

    assert [(len(ids), len(ids))] == [(found["letters"], found["removed"]) for found in results]
    assert ids == ids_in(folder / FILE)
    assert [FILE] == [path.name for path in folder.iterdir()]


async def test_an_older_state_of_its_job_costs_no_letter(
    redis: Redis, keys: Keys, of: SourceKeys, folder: Path
) -> None:
    """Redis may forget that a file was complete, and its letters discarded: it stays, and the rest goes beside it."""
    ids = numbered(PAGE + 5)
    await bury(redis, of, *ids)
    older: list[bytes] = []

    class Remembering(KeptJob):
        def save_meta(self) -> None:
            super().save_meta()
            older.append(self.stored)

    await run(redis, keys, folder, Remembering(), discards=True)
    await bury(redis, of, "later")
    job = KeptJob(orjson.loads(next(one for one in older if orjson.loads(one)["letters"])))
    job.meta["end"] = f"{LAST}-{LAST}"
    result = await run(redis, keys, folder, job, discards=True)

    assert ids == ids_in(folder / FILE)
    assert (1, str(folder / "letters-2.ndjson")) == (result["removed"], result["path"])
    assert ["later"] == ids_in(folder / "letters-2.ndjson")
    assert [] == await queued(redis, of)
