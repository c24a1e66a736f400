"""The trail of deeds."""

import logging
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.client import Redis as BlockingRedis

from pombo.shared import trail
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.trail import note, note_at_once, read_trail

ANNA: Any = {"who": "anna@ops1", "role": "operator", "what": "sources.pause"}


async def test_a_deed_is_read_as_it_was_noted(redis: Redis, keys: Keys) -> None:
    """With the moment of Redis' clock."""
    assert await note(redis, keys, **ANNA, subject="bot", detail={"rate": 5})
    (deed,) = await read_trail(redis, keys)
    told = deed.describe()
    assert {"who": "anna@ops1", "role": "operator", "what": "sources.pause", "subject": "bot"} == {
        name: told[name] for name in ("who", "role", "what", "subject")
    }
    assert ({"rate": 5}, deed.id) == (told["detail"], told["id"])
    assert told["at"].endswith("Z")


async def test_pages_go_back(redis: Redis, keys: Keys) -> None:
    """Newest first, and on from the oldest one read."""
    for number in range(5):
        await note(redis, keys, **ANNA, subject=f"s{number}")
    first = await read_trail(redis, keys, count=2)
    second = await read_trail(redis, keys, before=first[-1].id, count=10)
    assert ["s4", "s3", "s2", "s1", "s0"] == [deed.subject for deed in (*first, *second)]


def test_a_blocking_client_notes_the_same(sync_redis: BlockingRedis, keys: Keys) -> None:
    """Job commands have no other one."""
    assert note_at_once(sync_redis, keys, **ANNA, subject="job")
    assert 1 == sync_redis.xlen(keys.trail)


async def test_it_is_bounded(redis: Redis, keys: Keys) -> None:
    """Old deeds leave; long words are cut, and a long detail is left out, which is told."""
    async with redis.pipeline(transaction=False) as pipe:
        for _ in range(trail.KEPT + 500):
            pipe.xadd(keys.trail, {"v": "1"})
        await pipe.execute()
    assert await note(redis, keys, **{**ANNA, "who": "w" * 999}, subject="bot", detail={"text": "x" * 5000})
    (deed,) = await read_trail(redis, keys, count=1)
    assert (trail.MAX_WORD, {"left_out": "5011 bytes of detail"}) == (len(deed.who), deed.detail)
    assert trail.KEPT + 200 >= await redis.xlen(keys.trail)


async def test_a_full_redis_stops_no_repair(redis: Redis, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """The deed was done all the same, and the log says that it is not in the trail."""
    await redis.config_set("maxmemory", 1)
    try:
        with caplog.at_level(logging.WARNING):
            assert not await note(redis, keys, **ANNA, subject="bot")
    finally:
        await redis.config_set("maxmemory", 0)
    assert "sources.pause bot was done all the same" in caplog.text


async def test_a_redis_that_is_away_stops_no_repair(keys: Keys) -> None:
    """Nor does one that cannot be reached any more."""
    gone = aconnect("unix:///nowhere/pombo.sock", timeout_s=0.1)
    assert not await note(gone, keys, **ANNA, subject="bot")
    await gone.aclose()


@pytest.mark.parametrize("subject", ["\udcff", "bot"])
async def test_what_no_text_can_tell_raises_nothing(redis: Redis, keys: Keys, subject: str) -> None:
    """A deed is never undone by its description."""
    assert not await note(redis, keys, **ANNA, subject=subject, detail={"text": "\udcff"})


async def test_an_unknown_deed_is_passed_over(redis: Redis, keys: Keys) -> None:
    """One that a newer pombo wrote, or somebody else."""
    await redis.xadd(keys.trail, {"v": "2", "who": "x"})
    await redis.xadd(keys.trail, {"v": "1", "detail": "{"})
    assert [] == await read_trail(redis, keys)
