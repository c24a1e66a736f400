"""Samples in Redis: one a slot for the whole fleet, bounded, and summed up by five minutes."""

from collections.abc import Iterable
from typing import Any, cast

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.client import Redis as BlockingRedis
from redis.exceptions import ResponseError

from pombo.shared.history import read_history, sample, status_class
from pombo.shared.history.reading import joined
from pombo.shared.history.samples import Sample
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.sources import Source
from support.virtualscript import EPOCH, clock_key, virtual_script

SOURCE = Source(name="bot", incarnation="i", rate=500, partitions=2)
NOON_MS = round(EPOCH.timestamp() * 1000)


class Book:
    """The samples of one source, taken on virtual time."""

    def __init__(self, redis: BlockingRedis) -> None:
        self.redis = redis
        self.of: SourceKeys = Keys().of("bot")
        redis.hset(self.of.ledger, mapping={"incarnation": "i"})

    def count(self, **by: int) -> None:
        """Move counters of the ledger."""
        for name, more in by.items():
            self.redis.hincrby(self.of.ledger, name.replace("__", ":"), more)

    def sample(
        self,
        second: float,
        tallies: dict[str, int] | None = None,
        done: Iterable[int] = (0, 0, 0),
        source: Source = SOURCE,
    ) -> int:
        """Take one so many seconds after the beginning of time."""
        of, script = self.of, virtual_script("sample")
        keys = [of.ledger, of.flow, of.history, of.history_day, of.stream(0), of.stream(1), clock_key(second)]
        once = "1" if tallies is None else ""
        told: list[Any] = [source.incarnation, source.rate, orjson.dumps(tallies or {}), once, orjson.dumps([*done])]
        return int(cast("int", self.redis.eval(script.text, len(keys), *keys, *told)))

    def read(self, *, day: bool = False) -> list[Sample]:
        """What is kept."""
        stored = cast("list[bytes]", self.redis.lrange(self.of.history_day if day else self.of.history, 0, -1))
        found = [Sample.parse(text) for text in stored]
        return [one for one in found if one is not None]


@pytest.fixture
def book(sync_redis: BlockingRedis) -> Book:
    return Book(sync_redis)


def test_a_first_sample_has_one_before_it(book: Book) -> None:
    """What a first sample counts began within a slot, or a lone event of a quiet bot would be in no chart."""
    book.count(accepted=12, delivered=6, deduplicated=2, queued=3, in_flight=1)
    book.sample(15, {}, done=(4, 1, 0))
    before, first = book.read()
    assert (NOON_MS + 5000, NOON_MS + 15_000) == (before.at, first.at)
    assert ((3, 2, 1, 0), (12, 6, 2, 0)) == (before.sums, first.sums)
    assert (0, 3) == (before.waits.queued, first.waits.queued)


def test_what_was_redriven_is_not_taken_for_new(book: Book) -> None:
    """Nobody can say how much of a queue comes from dead letters, so a first sample then claims nothing as accepted."""
    book.count(accepted=9, delivered=4, queued=5, died__poison=5)
    book.sample(15, {})
    before, first = book.read()
    assert before.sums.accepted == first.sums.accepted == 9


def test_workers_share_a_slot(book: Book) -> None:
    """What each counted is added up, the ledger is that of the latest, and what waited is the highest."""
    book.count(accepted=5, queued=5)
    book.sample(21, {"2xx": 1, "b3": 5})
    book.count(queued=-4, delivered=4)
    book.sample(24, {"2xx": 2, "429": 1})
    (*_, one) = book.read()
    assert {"2xx": 3, "429": 1, "b3": 5} == one.tallies
    assert (1, 5, 4) == (one.waits.queued, one.highest.queued, one.sums.delivered)
    assert len(book.read()) == 2


def test_a_look_without_counts_is_taken_once_a_slot(book: Book) -> None:
    """Consoles may ask as often as they like, beside workers or each other."""
    assert [1, 0, 0, 1] == [book.sample(11), book.sample(12), book.sample(19.9), book.sample(20)]


def test_a_source_that_is_gone_gets_none(book: Book) -> None:
    """Nothing is written for a removed source, or for another one of its name."""
    other = Source(name="bot", incarnation="j", rate=500, partitions=2)
    assert 0 == book.sample(11, {}, source=other)
    assert [] == book.read()


def test_the_oldest_entry_is_the_age(book: Book) -> None:
    """Of all partitions."""
    book.count(queued=2)
    for partition, second in ((0, 3), (1, 1)):
        book.redis.xadd(book.of.stream(partition), {"b": "x"}, id=f"{NOON_MS + second * 1000}-0")
    book.sample(11, {})
    assert 10_000 == book.read()[-1].waits.age_ms


def test_the_flow_is_told(book: Book) -> None:
    """State, since when, a hold that was, and a reason that ends with a whole character."""
    flow = {"held_at": NOON_MS + 2000, "hold_until": NOON_MS + 4000}
    book.redis.hset(book.of.flow, mapping=cast("Any", flow))
    book.sample(11, {})
    book.redis.hset(book.of.flow, mapping={"parked": "é" * 300, "parked_at": str(NOON_MS + 15_000)})
    book.sample(21, {})
    _, one, two = book.read()
    assert [(NOON_MS + 11_000, "active", 0, NOON_MS + 2000, NOON_MS + 4000, 0, "")] == one.sights
    (sight,) = two.sights
    assert ("parked", NOON_MS + 15_000) == (sight.state, sight.since)
    assert set(sight.reason) == {"é"}
    assert len(sight.reason.encode()) <= 160


def test_five_minutes_are_summed_up(book: Book) -> None:
    """The day has one sample of them: counts added, the last ledger, the highest wait, and the flow's states."""
    for slot in range(31):
        book.count(accepted=1)
        book.redis.hset(book.of.ledger, "queued", 7 if slot == 3 else 0)
        if slot == 5:
            book.redis.hset(book.of.flow, "paused", "1")
        if slot == 8:
            book.redis.hdel(book.of.flow, "paused")
        book.sample(slot * 10 + 1, {"2xx": 2})
    before, day = book.read(day=True)
    assert NOON_MS == day.slot
    assert before.slot == NOON_MS - 300_000
    assert (30, 60, 7, 0) == (day.sums.accepted, day.tallies["2xx"], day.highest.queued, day.waits.queued)
    assert ["active", "paused", "active"] == [sight.state for sight in day.sights]


def test_the_day_and_the_rest_join(book: Book) -> None:
    """What is summed up is not told twice, and what is not yet is not left out."""
    for slot in range(47):
        book.count(accepted=1)
        book.sample(slot * 10 + 1, {"2xx": 1})
    told = joined(book.read(day=True), book.read())
    assert 47 == sum(one.tallies.get("2xx", 0) for one in told)
    assert [one.at for one in told] == sorted(one.at for one in told)


def test_a_rest_loses_nothing(book: Book) -> None:
    """Samples that were not summed up before a source came to rest are, when it stirs again hours later."""
    book.sample(1, {"2xx": 3})
    book.sample(20_000, {"2xx": 4})
    assert 3 == sum(one.tallies.get("2xx", 0) for one in book.read(day=True))


def test_memory_is_bounded(book: Book) -> None:
    """However many workers and however long: 91 samples and 289, for 25 hours, in 170 kB for the busiest source."""
    busy = dict.fromkeys(("2xx", "4xx", "429", "5xx", "retries", *(f"b{n}" for n in range(12))), 1_000_000)
    book.count(accepted=10**12, delivered=10**12, queued=10**6, in_flight=10**5)
    for slot in range(0, 289 * 30, 5):
        book.sample(slot * 10 + 1, busy)
        book.sample(slot * 10 + 2, busy)
    for slot in range(100):
        book.sample(100_000 + slot * 10, busy)
    lengths = book.redis.llen(book.of.history), book.redis.llen(book.of.history_day)
    assert (91, 289) == lengths
    used = [cast("Any", book.redis.memory_usage(key, samples=0)) for key in (book.of.history, book.of.history_day)]
    assert 170_000 >= sum(used), used
    assert all(0 < book.redis.ttl(key) <= 90_000 for key in (book.of.history, book.of.history_day))


def test_a_clock_that_went_back(book: Book) -> None:
    """By a little: the slot goes on. By much: the charts begin anew, rather than wait until it is that late again."""
    book.sample(1000, {"2xx": 1})
    book.sample(900, {"2xx": 1})
    assert [0, 2] == [one.tallies.get("2xx", 0) for one in book.read()]
    book.sample(100, {"2xx": 1})
    assert NOON_MS + 100_000 == book.read()[-1].slot


@pytest.mark.parametrize("stored", [b"", b"garbage", b"[2,1]", b"{}", b"[1,2,3]"])
def test_what_another_version_wrote_is_passed_over(book: Book, stored: bytes) -> None:
    """A sample that this pombo does not know harms neither the next one nor the charts."""
    assert Sample.parse(stored) is None
    book.redis.rpush(book.of.history, stored)
    book.redis.rpush(book.of.history_day, stored)
    if stored != b"[1,2,3]":
        assert 1 == book.sample(301, {"2xx": 1})
        assert 1 == book.sample(601, {"2xx": 1})
        assert {"2xx": 1} == book.read()[-1].tallies


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60))
def test_merging_keeps_every_count(sync_redis: BlockingRedis, steps: list[tuple[int, int, int]]) -> None:
    """Whoever samples when, both lists together hold what was counted, once."""
    sync_redis.flushall()
    book, second, counted = Book(sync_redis), 0, 0
    for wait, worker, count in steps:
        second, counted = second + wait, counted + count
        book.sample(second, {"2xx": count, f"b{worker}": count})
    told = joined(book.read(day=True), book.read())
    assert counted == sum(one.tallies.get("2xx", 0) for one in told)
    assert counted == sum(one.tallies.get(f"b{worker}", 0) for one in told for worker in range(4))


# -- a real server's time ------------------------------------------------------------------------------------


async def test_history_is_read(redis: Redis, keys: Keys) -> None:
    """The charts of both spans tell what a sample and the ledger of this moment say, also of what nobody sampled."""
    of = keys.of("bot")
    await redis.hset(of.ledger, mapping={"incarnation": "i", "accepted": 4, "queued": 4})
    assert await sample(redis, keys, SOURCE, {"2xx": 2, "b2": 1})
    await redis.hset(of.ledger, mapping={"accepted": "9", "queued": "9"})
    await redis.hset(of.flow, mapping={"parked": "401", "parked_at": "1"})
    for span in ("15m", "24h"):
        history = await read_history(redis, keys, [SOURCE], cast("Any", span))
        told = history.describe()
        assert 9 == sum(filter(None, told["accepted"]))
        assert (9, 500) == (told["queued"][-1], told["rate_limit"][-1])
        assert 2 == sum(told["requests"]["2xx"])
        assert ["parked"] == [one["state"] for one in told["states"]["bot"]]
        assert any(told["p99"])
        assert {len(told["at"])} == {len(told[name]) for name in ("accepted", "queued", "p50", "retries")}


async def test_a_source_at_rest_has_a_flat_line(redis: Redis, keys: Keys) -> None:
    """No samples and nothing that waits: nothing happened. With something that waits nobody knows since when."""
    of = keys.of("bot")
    await redis.hset(of.ledger, mapping={"incarnation": "i", "accepted": 4, "delivered": 4})
    told = (await read_history(redis, keys, [SOURCE], "15m")).describe()
    assert ([0] * 90, [0] * 90, 0.0) == (told["accepted"], told["queued"], told["drain_s"])
    await redis.hset(of.ledger, mapping={"accepted": 5, "queued": 1})
    told = (await read_history(redis, keys, [SOURCE], "15m")).describe()
    assert ([None] * 89, 1) == (told["queued"][:-1], told["queued"][-1])


async def test_a_full_redis_refuses_a_sample(redis: Redis, keys: Keys) -> None:
    """Charts can be done without; what needs the memory is to have it."""
    await redis.hset(keys.of("bot").ledger, "incarnation", "i")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="maxmemory"):
            await sample(redis, keys, SOURCE, {})
    finally:
        await redis.config_set("maxmemory", 0)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "2xx"), (302, "3xx"), (404, "4xx"), (429, "429"), (503, "5xx"), (None, "error"), (600, "5xx"), (100, "2xx")],
)
def test_answers_are_counted_by_class(status: int | None, expected: str) -> None:
    """429 apart from the other refusals, as it is no refusal."""
    assert expected == status_class(status)
