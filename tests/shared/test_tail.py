"""The tail: events and their fates, while somebody watches."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pombo.shared import batches, tail
from pombo.shared.clock import moment
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source
from pombo.shared.tail import FATES, KEPT, LIFETIME_S, MAX_PAYLOAD, Seen, follow, queued, tell, watch

SOURCE = Source(name="bot", incarnation="i", rate=0, partitions=2)
NOON = 1_767_268_800_000


def body(message_id: str, **more: Any) -> bytes:
    event = {"messageId": message_id, "type": "track", "event": "Message Sent", "userId": "u1", **more}
    return orjson.dumps(event)


def seen(message_id: str, fate: tail.Fate = "delivered", at_ms: int = NOON) -> Seen:
    return Seen.of(body(message_id), fate, at_ms, 1)


@pytest.fixture
async def source(redis: Redis, keys: Keys) -> Source:
    await redis.hset(keys.of("bot").ledger, "incarnation", "i")
    return SOURCE


def test_an_event_is_described() -> None:
    """By what a person looks for, and by what became of it."""
    one = Seen.of(body("m1"), "dead", NOON, 3, note="rejected_by_segment 400", left_out=7)
    assert {
        "at": "2026-01-01T12:00:00.000Z", "fate": "dead", "message_id": "m1", "type": "track", "event": "Message Sent",
        "user": "u1", "partition": 3, "size": len(body("m1")), "note": "rejected_by_segment 400", "left_out": 7,
        "cut": False,
    } == one.describe()  # fmt: skip


def test_a_long_event_is_cut() -> None:
    """Its words are read before, so it is found by them all the same."""
    one = Seen.of(body("m1", properties={"text": "x" * 9000}), "accepted", NOON, 0)
    assert (MAX_PAYLOAD, True, "u1") == (len(one.payload), one.describe()["cut"], one.user)


@pytest.mark.parametrize("stored", [b"\x01garbage", b"[]", b'{"messageId":7,"type":[],"userId":null}', b""])
def test_what_is_no_event_is_told_all_the_same(stored: bytes) -> None:
    """A batch that nobody can read has no words, but a fate."""
    one = Seen.of(stored, "dead", NOON, 0, note="corrupt")
    assert ("", None, None, stored) == (one.message_id, one.type, one.user, one.payload)


_SEEN = st.builds(
    Seen,
    at=st.integers(0, 10**12).map(moment),
    fate=st.sampled_from(FATES),
    message_id=st.text(max_size=30),
    event=st.none() | st.text(min_size=1, max_size=30),
    partition=st.integers(0, 255),
    payload=st.binary(max_size=30),
    note=st.text(),
    left_out=st.integers(0, 9),
)


@given(_SEEN)
def test_what_is_told_is_what_is_read(one: Seen) -> None:
    """An entry of the stream is the event that was told."""
    assert one == Seen.parse({b"h": one.header(), b"b": one.payload})


@pytest.mark.parametrize("header", [b"", b"{}", b'{"v":2}', b'{"v":1,"fate":"eaten"}', b'{"v":1,"fate":"dead"}', b"7"])
def test_an_unknown_entry_is_passed_over(header: bytes) -> None:
    """That of another version is no event."""
    assert Seen.parse({b"h": header, b"b": b""}) is None


async def test_a_watch_has_an_end(redis: Redis, keys: Keys) -> None:
    """The later one counts, and it never waits for somebody to stop."""
    now = int((await redis.time())[0])
    first = await watch(redis, keys, "bot", 60)
    assert now + 60 <= first <= now + 62
    assert first == await watch(redis, keys, "bot", 5)
    assert first == await redis.zscore(keys.watched, "bot")


async def test_sixteen_sources_are_watched_at_most(redis: Redis, keys: Keys) -> None:
    """Tails take memory: those whose watch ends first make room."""
    for number in range(20):
        await watch(redis, keys, f"s{number}", 60 + number)
    assert [f"s{number}".encode() for number in range(4, 20)] == await redis.zrange(keys.watched, 0, -1)


async def test_follow_goes_on_where_it_was(redis: Redis, keys: Keys, source: Source) -> None:
    """The first look has the latest events, each further one those behind its cursor, and none twice."""
    assert ([], tail.BEGINNING) == await follow(redis, keys, "bot", "", 2)
    await tell(redis, keys, source, [seen("a"), seen("b"), seen("c")])
    latest, cursor = await follow(redis, keys, "bot", "", 2)
    assert ["b", "c"] == [one.message_id for one in latest]
    assert ([], cursor) == await follow(redis, keys, "bot", cursor, 2)
    await tell(redis, keys, source, [seen("d"), seen("e"), seen("f")])
    more, cursor = await follow(redis, keys, "bot", cursor, 2)
    rest, _ = await follow(redis, keys, "bot", cursor, 2)
    assert ["d", "e", "f"] == [one.message_id for one in (*more, *rest)]
    everything, _ = await follow(redis, keys, "bot", tail.BEGINNING, 100)
    assert 6 == len(everything)


async def test_a_tail_is_bounded(redis: Redis, keys: Keys, source: Source) -> None:
    """In entries and in time."""
    for _ in range(12):
        await tell(redis, keys, source, [seen("m")] * 100)
    assert KEPT == await redis.xlen(keys.of("bot").tail)
    assert 0 < await redis.ttl(keys.of("bot").tail) <= LIFETIME_S


async def test_a_source_that_is_gone_tells_nothing(redis: Redis, keys: Keys, source: Source) -> None:
    """A worker that does not know yet writes no key behind its removal."""
    await redis.delete(keys.of("bot").ledger)
    assert 0 == await tell(redis, keys, source, [seen("m")])
    assert 0 == await redis.exists(keys.of("bot").tail)


async def test_a_full_redis_is_not_told(redis: Redis, keys: Keys, source: Source) -> None:
    """What is only looked at must not take what the queue needs."""
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await tell(redis, keys, source, [seen("m")])
    finally:
        await redis.config_set("maxmemory", 0)


async def test_what_waits_is_seen(redis: Redis, keys: Keys, source: Source) -> None:
    """Newest first over all partitions, as accepted when Redis took it; what cannot be read is passed over."""
    of = keys.of("bot")
    for at, partition, ids in ((1, 0, "ab"), (2, 1, "c"), (3, 0, "de")):
        batch = batches.encode([body(one) for one in ids])
        entry: Any = {"n": batch.events, "r": batch.raw, "b": batch.payload}
        await redis.xadd(of.stream(partition), entry, id=f"{NOON + at}-0")
    await redis.xadd(of.stream(1), {"n": 1, "r": 1, "b": "garbage"}, id=f"{NOON + 4}-0")
    found = await queued(redis, keys, source, 4)
    assert ["e", "d", "c", "b"] == [one.message_id for one in found]
    assert {"accepted"} == {one.fate for one in found}
    assert moment(NOON + 3) == found[0].at


async def test_removal_takes_what_the_console_shows(redis: Redis, keys: Keys, secrets: Secrets) -> None:
    """People's data, and the charts, go with their source."""
    registry = Registry(redis, keys, secrets)
    added = await registry.add("bot", "k" * 32)
    of = keys.of("bot")
    await tell(redis, keys, added.source, [seen("m")])
    await redis.rpush(of.history, "x")
    await redis.rpush(of.history_day, "x")
    await registry.remove("bot")
    assert 0 == await redis.exists(of.tail, of.history, of.history_day)
