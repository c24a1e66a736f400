"""The table maker: pages go on while a table is made, and it is made once."""

import asyncio

import pytest
from redis.asyncio import Redis

from ops.console.rig import Ahead
from pombo.ops.console.tablemaker import AGAIN_S, AT_ONCE, TableMaker
from pombo.shared.deadletters import Filter, making, search
from pombo.shared.deadletters.rebuild import Draft
from pombo.shared.deadletters.table import look
from pombo.shared.keys import Keys
from support.letters import letter, open_source, put_old_quickly

NAME = "n" * 32


@pytest.fixture
def clock() -> Ahead:
    return Ahead()


async def fill(redis: Redis, keys: Keys, letters: int) -> None:
    """Letters of an older pombo, which kept no table."""
    await open_source(redis, keys)
    await put_old_quickly(redis, keys, *(letter(f"m{number}") for number in range(letters)))


async def whole(redis: Redis, keys: Keys) -> bool:
    return (await look(redis, keys.of("bot")))[0].complete


async def made(redis: Redis, keys: Keys) -> None:
    """Wait for the table."""
    async with asyncio.timeout(30):
        while not await whole(redis, keys):
            await asyncio.sleep(0.01)


async def test_a_small_table_is_made_while_the_page_waits(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """Nobody notices that it was not there."""
    await fill(redis, keys, 10)
    found = await search(redis, keys, "bot", Filter(reason="poison"), make=TableMaker(clock))
    assert (10, True) == (len(found.letters), await whole(redis, keys))


async def test_a_large_table_is_made_beside(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """The page has its answer by the stream first; whoever asks meanwhile begins no second making."""
    await fill(redis, keys, AT_ONCE + 500)
    maker = TableMaker(clock)
    found = await search(redis, keys, "bot", Filter(reason="expired"), make=maker, most=500)
    assert ((), True) == (found.letters, found.cut)
    assert not await whole(redis, keys)
    await search(redis, keys, "bot", Filter(reason="expired"), make=maker, most=500)
    assert ["bot"] == [*maker._under_way]
    await made(redis, keys)
    found = await search(redis, keys, "bot", Filter(reason="expired"), make=maker, most=500)
    assert ((), False) == (found.letters, found.cut)
    await maker.close()


async def test_somebody_elses_making_is_waited_for(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """Its progress is told as if it were ours, and after a while it is tried again."""
    await fill(redis, keys, AT_ONCE + 500)
    of, maker = keys.of("bot"), TableMaker(clock)
    theirs = Draft(redis, of, NAME)
    assert await theirs.begin()
    assert 500 == await theirs.step()
    await maker(redis, of, "bot", AT_ONCE + 500)
    async with asyncio.timeout(30):
        while maker._under_way:
            await asyncio.sleep(0.01)
    told = await making(redis, keys, "bot")
    assert told
    assert ("bot", AT_ONCE + 500, 500 / (AT_ONCE + 500)) == (told.source, told.letters, told.share)
    await maker(redis, of, "bot", AT_ONCE + 500)
    assert not maker._under_way
    await redis.delete(*of.dead_draft)
    clock.by += AGAIN_S
    await maker(redis, of, "bot", AT_ONCE + 500)
    await made(redis, keys)
    assert await making(redis, keys, "bot") is None


async def test_a_console_that_stops_leaves_it(redis: Redis, keys: Keys, clock: Ahead) -> None:
    """What is under way ends with it; another console begins anew."""
    await fill(redis, keys, AT_ONCE + 500)
    maker = TableMaker(clock)
    await maker(redis, keys.of("bot"), "bot", AT_ONCE + 500)
    await maker.close()
    assert ([], False) == ([*maker._under_way], await whole(redis, keys))
