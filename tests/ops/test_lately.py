import orjson
from redis.asyncio import Redis

from ops.top.looks import NOW, look, view
from pombo.ops.lately import Lately, lately, read_lately, recents
from pombo.ops.problems import Recent
from pombo.ops.top.rates import Rates
from pombo.shared.history import Sample
from pombo.shared.history.samples import Sums, Waits
from pombo.shared.keys import Keys


def taken(ago_s: float, **sums: int) -> Sample:
    """A sample of so long ago."""
    at = NOW - round(ago_s * 1000)
    return Sample(at - at % 10_000, at, Sums(**sums), Waits(), Waits())


def stored(sample: Sample) -> bytes:
    """As Redis keeps it."""
    return orjson.dumps([1, sample.slot, sample.at, [*sample.sums], [*sample.waits], [*sample.highest], 0, {}, []])


def test_rates_are_of_the_last_minute() -> None:
    """They are what the ledger moved since the last sample that is a minute old, and so is the drain estimate."""
    bot = view("bot", accepted=1000, delivered=900, queued=100, died_by_reason={"poison": 7})
    samples = [taken(900, dead=1), taken(120, accepted=1), taken(60, accepted=400, delivered=0, dead=4), taken(50)]
    expected = Rates(accepted=10, delivered=15, dead=0.05)
    assert Lately(expected, Recent(died=6, drain_s=100 / (15 + 0.05 - 10))) == lately(bot, samples)


def test_what_moved_behind_a_gap_moved_within_a_minute() -> None:
    """A source that slept for an hour was not slow for an hour."""
    found = lately(view("bot", accepted=600), [taken(3600)])
    assert found is not None
    assert 10.0 == found.rates.accepted


def test_a_source_that_is_new_to_the_samples() -> None:
    """Its rates are of the time since the first one; without any nothing is known."""
    found = lately(view("bot", accepted=50), [taken(5), taken(1, accepted=40)])
    assert found is not None
    assert (10.0, 0, None) == (found.rates.accepted, found.recent.died, found.recent.drain_s)
    assert lately(view("bot"), []) is None
    assert lately(view("bot"), [taken(-1)]) is None


def test_counters_that_went_back_are_no_negative_rate() -> None:
    """What Redis lost is told by others."""
    found = lately(view("bot", accepted=5), [taken(60, accepted=50, dead=9)])
    assert found is not None
    assert (Rates(), 0) == (found.rates, found.recent.died)


async def test_reading_many_sources(redis: Redis, keys: Keys) -> None:
    """Each is read from its own samples; who has dead letters also by the older ones, and who has none is left out."""
    await redis.rpush(keys.of("a").history, *(stored(taken(10.0 * n, accepted=60)) for n in range(90, 0, -1)))
    await redis.rpush(keys.of("b").history, *(stored(taken(10.0 * n, dead=90 - n)) for n in range(90, 0, -1)))
    await redis.rpush(keys.of("c").history, b"[2]", b"garbage")
    views = (view("a", accepted=120), view("b", dead=90, died_by_reason={"poison": 90}), view("c"), view("d"))
    found = await read_lately(redis, keys, look(1.0, *views).overview)
    assert ["a", "b"] == [*found]
    assert 1.0 == found["a"].rates.accepted
    assert {"a": 0, "b": 90} == {name: recent.died for name, recent in recents(found).items()}
