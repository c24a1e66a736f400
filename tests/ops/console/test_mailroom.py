"""The mailroom: letters of several sources as one list."""

import random

import pytest
from redis.asyncio import Redis

from pombo.ops.console.mailroom import Mailroom
from pombo.shared.deadletters import Filter
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from support.letters import SOURCE, letter, open_source, put

NAMES = ("alpha", "bot", "gamma", "void")


async def fill(redis: Redis, keys: Keys, dice: random.Random) -> list[str]:
    """Letters of three sources, of which many died in the same millisecond; their ids, newest first."""
    sources = {name: Source(name=name, incarnation=SOURCE.incarnation, partitions=4) for name in NAMES}
    for source in sources.values():
        await open_source(redis, keys, source)
    ids: list[str] = []
    for number in range(60):
        name = dice.choice(NAMES[:3])
        some = [letter(f"{number}-{at}", dice.choice(("poison", "expired"))) for at in range(dice.randrange(1, 4))]
        ids += [f"{name}/{one}" for one in await put(redis, keys, *some, source=sources[name])]
    return sorted(ids, key=_newest, reverse=True)


def _newest(letter_id: str) -> tuple[int, int, str]:
    source, _, stream_id = letter_id.rpartition("/")
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence), source


@pytest.mark.parametrize("most", [1, 7, 50, 500])
@pytest.mark.parametrize("seed", [1, 2])
async def test_pages_hold_every_letter_once_the_newest_first(redis: Redis, keys: Keys, most: int, seed: int) -> None:
    """Whatever the size of a page, and whoever died in the same millisecond."""
    expected = await fill(redis, keys, random.Random(seed))
    room, found, before = Mailroom(redis, keys, NAMES), list[str](), None
    while True:
        mail = await room.newest(NAMES, Filter(), before, most)
        assert len(mail.letters) <= most
        found += [one.id for one in mail.letters]
        before = mail.next
        if before is None:
            break
    assert expected == found


async def left_alone(*_: object) -> None:
    """Make no table."""


@pytest.mark.parametrize("looked_at", [1, 9, 200, 100_000])
async def test_without_tables_pages_look_at_a_part(redis: Redis, keys: Keys, looked_at: int) -> None:
    """Each page ends where it grew tired, and the next one begins there: together they have every match once."""
    ids = await fill(redis, keys, random.Random(5))
    whole = Mailroom(redis, keys, NAMES)
    expected = [one.id for one in (await whole.newest(NAMES, Filter(reason="poison"), None, 500)).letters]
    for name in NAMES:
        await redis.delete(keys.of(name).dead_table)
    room, found, before, pages = Mailroom(redis, keys, NAMES, left_alone, looked_at=looked_at), list[str](), None, 0
    while True:
        mail = await room.newest(NAMES, Filter(reason="poison"), before, 50)
        found += [one.id for one in mail.letters]
        before, pages = mail.next, pages + 1
        if before is None:
            break
        assert mail.cut or len(mail.letters) == 50
    assert (expected, False) == (found, len(expected) == len(ids))
    assert {name for name, _, _ in map(_parts, ids)} == {one.source for one in await room.making(NAMES)}


def _parts(letter_id: str) -> tuple[str, str, str]:
    return letter_id.partition("/")


async def test_only_sources_with_letters_are_held(redis: Redis, keys: Keys) -> None:
    """With how many they have."""
    ids = await fill(redis, keys, random.Random(3))
    held = await Mailroom(redis, keys, NAMES).held()
    assert len(ids) == sum(held.values())
    assert "void" not in held
