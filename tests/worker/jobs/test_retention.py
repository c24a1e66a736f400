from pathlib import Path

from redis.asyncio import Redis

from pombo.shared.deadletters import read
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.registry import Registry
from pombo.worker.jobs.files import Reading, stream_id_of
from pombo.worker.jobs.frame import Desk
from pombo.worker.jobs.retention import Retention
from support.jobs import bury

DAY_S = 86_400


async def test_what_died_too_long_ago_is_exported_and_discarded(
    redis: Redis, keys: Keys, of: SourceKeys, registry: Registry, tmp_path: Path
) -> None:
    """What is younger stays; the result says how many, and where they are."""
    await registry.set("bot", retention_s=DAY_S)
    now = await redis_now(redis)
    old = await bury(redis, of, "a", "b", died_ms=now - DAY_S * 1000 - 60_000)
    young = await bury(redis, of, "c", died_ms=now - DAY_S * 1000 + 60_000)
    result = await Retention(Desk(redis=redis, keys=keys), "bot", folder=tmp_path, file="f").run()

    with Reading.of(tmp_path, "f") as reading:
        assert old == [stream_id_of(line.text) for line in reading.lines(0, 9)]
    assert young == [letter.stream_id async for letter in read(redis, keys, "bot")]
    assert (2, 2) == (result["letters"], result["removed"])
    assert result["sentence"].startswith(f"retention: 2 dead letters exported to {tmp_path}/f on ")
    assert result["sentence"].endswith(", and 2 of them discarded")


async def test_switched_off_it_deletes_nothing(redis: Redis, keys: Keys, of: SourceKeys, tmp_path: Path) -> None:
    """What counts is the option when the job begins."""
    await bury(redis, of, "a", died_ms=1)
    result = await Retention(Desk(redis=redis, keys=keys), "bot", folder=tmp_path, file="f").run()
    assert (0, None) == (result["letters"], result["path"])
    assert "no dead letter older than the source's retention" == result["sentence"]
    assert 1 == await redis.xlen(of.dead)
