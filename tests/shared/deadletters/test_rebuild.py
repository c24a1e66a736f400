"""The table made anew: from the stream, from itself, while others write."""

from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.audit import audit_source
from pombo.shared.deadletters import (
    Filter,
    compact,
    count,
    discard,
    groups,
    pages,
    read,
    rebuild,
    search,
)
from pombo.shared.deadletters.rebuild import WORTH, Draft, LargeError
from pombo.shared.deadletters.table import State, look
from pombo.shared.keys import Keys, SourceKeys
from support.letters import SOURCE, letter, open_source, put, put_old, take_old

NAME = "n" * 32


@pytest.fixture
async def of(redis: Redis, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, whose ledger is there and empty."""
    await open_source(redis, keys)
    return keys.of("bot")


async def state(redis: Redis, of: SourceKeys) -> State:
    return (await look(redis, of))[0]


async def ids(redis: Redis, keys: Keys, wanted: Filter) -> list[str]:
    """MessageIds of the letters that a search finds, the newest first."""
    return [one.event["messageId"] for one in (await search(redis, keys, "bot", wanted)).letters]


async def test_letters_get_their_rows_in_the_same_step(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The first letter begins a table, and the last one to leave takes it along."""
    await put(redis, keys, letter("m1"), letter("m2"))
    await put(redis, keys, letter("m3", "expired"))

    there = [one async for one in read(redis, keys, "bot")]
    assert ((3, 3, 0), True) == (((seen := await state(redis, of)).letters, seen.rows, seen.gone), seen.complete)
    await discard(redis, keys, "bot", there[1:2])
    assert (2, 3, 1) == ((seen := await state(redis, of)).letters, seen.rows, seen.gone)
    await discard(redis, keys, "bot", there)
    assert 0 == await redis.exists(of.dead_table, of.dead_groups, *of.dead_draft)


async def test_letters_of_an_older_pombo_are_found(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """An upgrade needs no step: the first question that the table answers makes it."""
    await put_old(redis, keys, letter("m1"), letter("m2", "expired"))
    assert not (await state(redis, of)).complete
    await put(redis, keys, letter("m3", "expired"))

    assert ["m3", "m2"] == await ids(redis, keys, Filter(reason="expired"))
    assert (await state(redis, of)).complete


async def test_an_older_pombo_beside_is_noticed(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """One letter more and one less, unseen by the table, are no balance: it is made anew."""
    (first, *_) = await put(redis, keys, letter("m1"), letter("m2"))
    await put_old(redis, keys, letter("m3"))
    await take_old(redis, keys, first)
    await put(redis, keys, letter("m4"))
    assert not (await state(redis, of)).complete

    assert ["m4", "m3", "m2"] == await ids(redis, keys, Filter(reason="poison"))


@pytest.mark.parametrize("lost", ["table", "groups", "both", "half", "stream"])
async def test_what_redis_lost_is_made_anew(redis: Redis, keys: Keys, of: SourceKeys, lost: str) -> None:
    """Whatever part of it is missing: nothing is left out, and the audit names a table that disagrees."""
    await put(redis, keys, letter("m1"), letter("m2", "expired"), letter("m3", "expired"))
    if lost in {"table", "both"}:
        await redis.delete(of.dead_table)
    if lost in {"groups", "both"}:
        await redis.delete(of.dead_groups)
    if lost == "half":
        half: Any = await redis.getrange(of.dead_table, 0, 95)
        await redis.set(of.dead_table, half)
    if lost == "stream":
        await take_old(redis, keys, (await search(redis, keys, "bot", Filter(message_id="m2"))).letters[0].stream_id)

    remarks = (await audit_source(redis, keys, SOURCE)).remarks
    told = {"table": 0, "half": 2, "stream": 3}.get(lost)
    assert ([] if told is None else [told]) == [int(one.split("tells of ")[1].split(",")[0]) for one in remarks]
    assert (["m3"] if lost == "stream" else ["m3", "m2"]) == await ids(redis, keys, Filter(reason="expired"))
    assert () == (await audit_source(redis, keys, SOURCE)).problems


async def test_the_table_of_a_newer_pombo_is_left_alone(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Its version is told, its content not touched, and letters are found by reading them."""
    await put(redis, keys, letter("m1"))
    await redis.hset(of.dead_groups, "v", "2")
    stored: Any = await redis.get(of.dead_table)
    await put(redis, keys, letter("m2"))

    assert ["m2", "m1"] == await ids(redis, keys, Filter(user="u1"))
    assert 2 == (await count(redis, keys, "bot", Filter(user="u1"))).letters
    assert [2] == [group.count for group in await groups(redis, keys, "bot")]
    assert not await rebuild(redis, keys, "bot")
    assert stored == await redis.get(of.dead_table)
    assert ("the table of the dead letters has version '2': left alone; upgrade pombo here",) == (
        await audit_source(redis, keys, SOURCE)
    ).remarks


class Meddled(Draft):
    """A draft whose maker is held up between reading a page and adding its rows."""

    keys = Keys()
    meddling = True

    async def _page(self, count: int) -> tuple[bytes | None, list[Any]]:
        found = await super()._page(count)
        if self.meddling:
            self.meddling = False
            await self.meddle()
        return found

    async def meddle(self) -> None:
        """Somebody discards the first letter, and another one dies."""
        first = [one async for one in read(self._redis, self.keys, "bot", count=1)]
        await discard(self._redis, self.keys, "bot", first)
        await put(self._redis, self.keys, letter("late"))


async def test_letters_that_leave_while_their_page_is_under_way(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Rows of a page that was read before a letter of it left are refused, and the page is read again."""
    await put_old(redis, keys, letter("m1"), letter("m2"))
    draft = Meddled(redis, of, NAME)

    assert await draft.begin()
    assert [0, 2, None] == [await draft.step(), await draft.step(), await draft.step()]
    assert await draft.swap()
    assert ["late", "m2"] == await ids(redis, keys, Filter(reason="poison"))


async def test_letters_that_die_behind_the_last_page_are_read_before_the_swap(
    redis: Redis, keys: Keys, of: SourceKeys
) -> None:
    """A draft that lags behind does not take the table's place; it catches up."""
    await put_old(redis, keys, letter("m1"))
    draft = Draft(redis, of, NAME)
    await draft.begin()
    await draft.read()
    await put(redis, keys, letter("m2"), letter("m3", "expired"))

    assert await draft.swap()
    assert ["m2", "m1"] == await ids(redis, keys, Filter(reason="poison"))
    assert -1 == await redis.ttl(of.dead_table) == await redis.ttl(of.dead_groups)


async def test_two_makers_do_not_mix(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The second one is told, until the first one's draft is gone by itself."""
    await put_old(redis, keys, letter("m1"))
    assert await Draft(redis, of, NAME).begin()

    assert not await rebuild(redis, keys, "bot")
    assert ["m1"] == await ids(redis, keys, Filter(reason="poison"))
    left = [await redis.pttl(key) for key in of.dead_draft]
    assert all(0 < ms <= 30_000 for ms in left), left
    await redis.delete(*of.dead_draft)
    assert await rebuild(redis, keys, "bot")


async def test_a_full_redis_answers_without_a_table(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """At maxmemory no table can be made; letters are found, counted, grouped and discarded all the same."""
    await put_old(redis, keys, letter("m1"), letter("m2", "expired"))
    await redis.config_set("maxmemory", 1)
    try:
        assert not await rebuild(redis, keys, "bot")
        assert ["m2"] == await ids(redis, keys, Filter(reason="expired"))
        assert 1 == (await count(redis, keys, "bot", Filter(reason="expired"))).letters
        assert [1, 1] == [group.count for group in await groups(redis, keys, "bot")]
        assert 2 == await discard(redis, keys, "bot", [one async for one in read(redis, keys, "bot")])
    finally:
        await redis.config_set("maxmemory", 0)


async def test_more_letters_than_a_table_can_hold_are_found_without(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A string has a greatest length; a draft that comes to it leaves nothing behind."""
    await put_old(redis, keys, letter("m1"), letter("m2", "expired"))
    draft = Draft(redis, of, NAME)
    assert await draft.begin()
    await redis.config_set("proto-max-bulk-len", 1 << 20)
    try:
        await redis.setrange(of.dead_draft[0], (1 << 20) - 4, b"full")
        with pytest.raises(LargeError):
            await draft.step()
        assert 0 == await redis.exists(*of.dead_draft)
    finally:
        await redis.config_set("proto-max-bulk-len", 512 << 20)
    assert ["m2"] == await ids(redis, keys, Filter(reason="expired"))


async def test_a_full_redis_keeps_its_table_right(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters that are discarded at maxmemory leave the table as well."""
    await put(redis, keys, *(letter(f"m{n}") for n in range(4)))
    await redis.config_set("maxmemory", 1)
    try:
        there = [one async for one in read(redis, keys, "bot")]
        assert 2 == await discard(redis, keys, "bot", there[1:3])
    finally:
        await redis.config_set("maxmemory", 0)
    assert (await state(redis, of)).complete
    assert ["m3", "m0"] == await ids(redis, keys, Filter(reason="poison"))


async def test_a_table_of_letters_that_left_is_made_smaller(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Whoever takes most letters away also takes their rows away; groups and their times stay."""
    for start in range(0, WORTH + 100, 100):
        await put(redis, keys, *(letter(f"m{n}", "expired" if n % 2 else "poison") for n in range(start, start + 100)))
    before = {group.reason: (group.first_at, group.last_at) for group in await groups(redis, keys, "bot")}
    there = [one async for one in read(redis, keys, "bot")]

    assert WORTH + 1 == await discard(redis, keys, "bot", there[: WORTH + 1])

    left = len(there) - WORTH - 1
    assert (left, left, 0) == ((seen := await state(redis, of)).letters, seen.rows, seen.gone)
    after = {group.reason: (group.first_at, group.last_at) for group in await groups(redis, keys, "bot")}
    assert before == after
    assert left == (await count(redis, keys, "bot", Filter(user="u1"))).letters
    assert not await compact(redis, keys, "bot")


async def test_reading_goes_on_in_a_table_that_took_the_place(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Pages and searches that began with one table end with another, and tell each letter once."""
    await put(redis, keys, *(letter(f"m{n}") for n in range(1200)))
    await discard(redis, keys, "bot", [one async for one in read(redis, keys, "bot", count=100)])

    found: list[str] = []
    async for page in pages(redis, keys, "bot", Filter(reason="poison")):
        found += [one.event["messageId"] for one in page.letters]
        await compact(redis, keys, "bot")
        await rebuild(redis, keys, "bot")

    assert [f"m{n}" for n in range(100, 1200)] == found


async def test_too_many_groups_share_one(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Beyond a thousand, what dies of a reason falls into one group, by the scripts as by a table made anew."""
    for start in range(0, 1010, 101):
        await put(redis, keys, *(letter(f"m{n}", event=f"Event {n}") for n in range(start, start + 101)))

    for _ in range(2):
        found = await groups(redis, keys, "bot")
        assert (1001, "other-poison", 10) == (len(found), found[0].fingerprint, found[0].count)
        other = Filter(group="other-poison")
        assert [f"m{n}" for n in range(1009, 999, -1)] == await ids(redis, keys, other)
        assert 10 == (await count(redis, keys, "bot", other)).letters
        assert ["m1005"] == await ids(redis, keys, Filter(event="Event 1005"))
        assert 1 == (await count(redis, keys, "bot", Filter(event="Event 1005"))).letters
        assert await rebuild(redis, keys, "bot")

    one = (await search(redis, keys, "bot", Filter(event="Event 5"))).letters
    await discard(redis, keys, "bot", one)
    assert 1000 == len(await groups(redis, keys, "bot"))
