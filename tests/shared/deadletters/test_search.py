"""Searching and counting dead letters."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters import Counts, Filter, count, discard, find, groups, pages, read, search
from pombo.shared.keys import Keys, SourceKeys
from support.letters import body, header, letter, open_source, put, put_old

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)


@pytest.fixture
async def of(redis: Redis, keys: Keys) -> SourceKeys:
    """The keys of source `bot`, whose ledger is there and empty."""
    await open_source(redis, keys)
    return keys.of("bot")


async def newest(redis: Redis, keys: Keys, wanted: Filter, **options: Any) -> list[str]:
    """MessageIds of what a search finds page by page."""
    names: list[str] = []
    before: str | None = None
    while True:
        found = await search(redis, keys, "bot", wanted, before=before, **options)
        names += [one.event["messageId"] for one in found.letters]
        before = found.next
        if before is None:
            return names


@pytest.mark.parametrize("wanted", [Filter(), Filter(reason="poison"), Filter(user="u1")])
@pytest.mark.parametrize("size", [1, 3, 4, 50])
async def test_pages_of_a_search_join(redis: Redis, keys: Keys, of: SourceKeys, wanted: Filter, size: int) -> None:
    """Newest first, each once, whatever the size of the page; the last one says that it is."""
    await put(redis, keys, *(letter(f"m{n}") for n in range(12)))

    assert [f"m{n}" for n in reversed(range(12))] == await newest(redis, keys, wanted, count=size)


async def test_a_search_through_much_that_does_not_match(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters of one user among thousands are found in runs of rows that hold none."""
    for start in range(0, 3000, 500):
        await put(
            redis, keys, *(letter(f"m{n}", user="u2" if n % 1000 == 7 else "u1") for n in range(start, start + 500))
        )

    assert ["m2007", "m1007", "m7"] == await newest(redis, keys, Filter(user="u2"), count=2)
    assert Counts(3, 3, 0, 3) == await count(redis, keys, "bot", Filter(user="u2"), now=NOW)


async def test_until_ends_a_search(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Letters that died at that moment or later are not meant, by any way of reading."""
    for ms in (1000, 2000, 3000):
        await redis.xadd(of.dead, {"h": header().dump(), "b": body(f"m{ms}")}, id=f"{ms}-0")
    for reason in (None, "poison"):
        wanted = Filter(reason=reason, since=moment(1000), until=moment(3000))
        assert ["m2000", "m1000"] == await newest(redis, keys, wanted)
        assert 2 == (await count(redis, keys, "bot", wanted)).letters
        assert [2] == [len(page.letters) async for page in pages(redis, keys, "bot", wanted)]
        first = Filter(reason=reason, until=moment(2000) + timedelta(microseconds=1))
        assert ["m2000", "m1000"] == await newest(redis, keys, first)


async def test_a_selection_is_read_by_its_ids(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """Chosen letters are found, counted and paged; what is gone, of another source or no id is passed over."""
    ids = await put(redis, keys, *(letter(f"m{n}") for n in range(5)))
    await discard(redis, keys, "bot", [await find(redis, keys, f"bot/{ids[4]}")])
    chosen = Filter(ids=frozenset({*(f"bot/{ids[n]}" for n in (0, 2, 4)), f"other/{ids[1]}", "bot/x", "?"}))

    assert ["m2", "m0"] == await newest(redis, keys, chosen, count=1)
    assert Counts(2, 2, 0, 2) == await count(redis, keys, "bot", chosen, now=NOW)
    (page,) = [page async for page in pages(redis, keys, "bot", chosen)]
    assert ["m0", "m2"] == [one.event["messageId"] for one in page.letters]
    assert [] == [one async for one in read(redis, keys, "bot", chosen, start=page.next)]


async def test_counts_by_what_can_be_done(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """What cannot be redriven is stuck; of the others, those are older that Segment knows no more."""
    cutoff = NOW - timedelta(hours=24)
    await put(
        redis, keys,
        letter("m1", accepted_at=iso(cutoff - timedelta(seconds=1))), letter("m2", accepted_at=iso(cutoff)),
        letter("m3", accepted_at=None), letter("m4", "invalid", accepted_at="2020-01-01T00:00:00Z"),
    )  # fmt: skip

    assert Counts(4, 3, 1, 1) == await count(redis, keys, "bot", Filter(), now=NOW)
    assert Counts(3, 3, 0, 1) == await count(redis, keys, "bot", Filter(reason="poison"), now=NOW)
    assert [True, False, False, True] == [one.older_than_window(NOW) async for one in read(redis, keys, "bot")]


async def test_groups_say_what_they_have_in_common(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """The largest first, with Segment's answer as far as it is not about one event, and the times of its letters."""
    first = await put(redis, keys, letter("m1", "too_large", status=413, answer="33087 bytes"))
    last = await put(
        redis, keys, letter("m2", "too_large", status=413, answer="40000 bytes", user="u2"), letter("m3", "expired")
    )

    large, expired = await groups(redis, keys, "bot")

    one = (await search(redis, keys, "bot", Filter(message_id="m1"))).letters[0]
    assert {
        "source": "bot", "group": one.fingerprint, "reason": "too_large", "status": 413, "type": "track",
        "event": "Message Sent", "answer": "# bytes", "count": 2, "redrivable": True,
        "first_at": iso(moment(int(first[0].split("-")[0]))), "last_at": iso(moment(int(last[0].split("-")[0]))),
    } == large.describe()  # fmt: skip
    assert ("expired", 1) == (expired.reason, expired.count)
    assert ["m2", "m1"] == await newest(redis, keys, Filter(group=large.fingerprint))


async def test_letters_of_another_version_are_counted_by_pages_alone(redis: Redis, keys: Keys, of: SourceKeys) -> None:
    """A filter cannot tell whether they match: a page names them, a search and the groups leave them out."""
    await put_old(redis, keys, letter("m1"))
    unknown = await redis.xadd(of.dead, {"h": b'{"v":2}', "b": b"x"})

    (page,) = [page async for page in pages(redis, keys, "bot", Filter(user="nobody"))]
    assert ((), (unknown.decode(),)) == (page.letters, page.unreadable)  # type: ignore[union-attr]
    assert ["m1"] == await newest(redis, keys, Filter(user="u1"))
    assert 1 == len(await groups(redis, keys, "bot"))


async def test_nothing_is_there(redis: Redis, keys: Keys) -> None:
    """A source without letters has no groups, and nothing to find or count."""
    assert [] == await groups(redis, keys, "bot")
    for wanted in (Filter(), Filter(user="u1")):
        assert ((), None) == ((found := await search(redis, keys, "bot", wanted)).letters, found.next)
        assert Counts() == await count(redis, keys, "bot", wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(source="bot", reason="poison", event="E", user="u", message_id="m", group="0123456789ab"),
        Filter(since=datetime(2026, 1, 2, 3, tzinfo=UTC), until=datetime(2026, 1, 3, tzinfo=UTC)),
        Filter(ids=frozenset({"bot/1-0", "bot/2-0"})),
    ],
)
def test_filters_travel_as_json(wanted: Filter) -> None:
    """What a job or a URL carries comes back as the same filter; what an older pombo did not know is left out."""
    described = wanted.describe()
    assert wanted == Filter.parse(described)
    assert Filter(reason="poison") == Filter.parse({"reason": "poison", "since": None, "unknown": 1})
