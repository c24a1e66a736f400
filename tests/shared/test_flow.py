import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from pombo.shared.flow import PACE_CUT, PACE_ENDS, PACE_MS, Flow, pace, pause, read_flow, redis_now, resume
from pombo.shared.keys import Keys

BROKEN = (
    "Segment does not answer since 1970-01-01T00:00:00.900Z: requests fail; a request every few seconds tries it again"
)


@pytest.mark.parametrize(
    ("stored", "state", "reason"),
    [
        ({}, "active", None),
        ({b"hold_until": b"2000"}, "held", None),
        ({b"hold_until": b"1000"}, "active", None),
        ({b"hold_until": b"2000", b"paused": b"1"}, "paused", None),
        ({b"hold_until": b"2000", b"paused": b"1", b"parked": b"answer 404"}, "parked", "answer 404"),
        ({b"hold_until": b"what", b"future": b"x", b"pace_max": b"inf"}, "active", None),
        ({b"hold_until": b"2000", b"broken_at": b"900"}, "held", BROKEN),
        ({b"broken_at": b"900"}, "broken", BROKEN),
        ({b"broken_at": b"900", b"parked": b"answer 404"}, "parked", "answer 404"),
    ],
)
def test_state(stored: dict[bytes, bytes], state: str, reason: str | None) -> None:
    """A park goes before a pause, a pause before a hold, a hold before the breaker; a hold ends with its time."""
    flow = Flow.parse(stored, now=1000)
    assert (state, reason) == (flow.state, flow.reason)


def test_times_are_read() -> None:
    """Every time of the hash is there in milliseconds, and a hold in force as a moment too."""
    fields = ("parked_at", "probe_at", "hold_until", "last_success")
    flow = Flow.parse({name.encode(): b"1500" for name in fields}, now=1000)
    assert [1500] * 4 == [getattr(flow, name) for name in fields]
    assert flow.held_until is not None
    assert flow.held_until.timestamp() == 1.5


def test_rate_in_force() -> None:
    """The pace shows while it is below the limit; without either there is no rate."""
    assert (None, 1000) == (Flow(now=0).rate(0), Flow(now=0).rate(1000))
    paced = Flow(now=5000, pace_max=500, pace_at=5000)
    assert [500 * (1 - PACE_CUT)] * 2 == [paced.rate(1000), paced.rate(0)]
    assert 300 == paced.rate(300)


@given(met=st.floats(0.1, 1e6), limit=st.floats(1, 1e6), ages=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
def test_pace_only_climbs(met: float, limit: float, ages: tuple[int, int]) -> None:
    """Once it is cut the pace never falls by itself, and lies between a hundredth of the limit and the limit."""
    earlier, later = (pace(met, age, limit) or limit for age in sorted(ages))
    assert earlier <= later <= limit
    assert earlier >= min(limit, max(1, limit / 100))


def test_pace_is_back_when_it_says() -> None:
    """The rate that was met is reached after `PACE_MS`, and without a limit it is forgotten in the end."""
    assert 500 == pace(500, PACE_MS, 1000)
    assert (None, None) == (pace(500, PACE_ENDS * PACE_MS, 0), pace(0, 0, 1000))
    assert (pace(500, PACE_ENDS * PACE_MS - 1, 0) or 0) > 1000


async def test_pause_and_resume(redis: Redis, keys: Keys) -> None:
    """A pause holds until it is resumed; a repeat says that nothing changed."""
    assert [True, False] == [await pause(redis, keys, "bot"), await pause(redis, keys, "bot")]
    paused = await read_flow(redis, keys.of("bot"))
    assert paused.state == "paused"
    assert 0 <= paused.now - (paused.paused_at or 0) < 60_000
    assert [True, False] == [await resume(redis, keys, "bot"), await resume(redis, keys, "bot")]
    assert (await read_flow(redis, keys.of("bot"))).state == "active"


async def test_resume_ends_a_park_and_no_hold(redis: Redis, keys: Keys) -> None:
    """What an operator found repaired is let go; what Segment asked for stays."""
    later = await redis_now(redis) + 60_000
    await redis.hset(keys.of("bot").flow, mapping={"parked": "answer 404", "parked_at": 1, "hold_until": later})
    assert await resume(redis, keys, "bot")
    assert (await read_flow(redis, keys.of("bot"))).state == "held"


async def test_workers_hear_of_it(redis: Redis, keys: Keys) -> None:
    """Pausing and resuming send the source's name on the wake channel."""
    async with redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(keys.wake)
        heard: list[bytes] = []
        for change in (pause, resume):
            await change(redis, keys, "bot")
            while len(heard) < 2:
                message = await channel.get_message(timeout=5)
                if message is not None:
                    heard.append(message["data"])
                    break
    assert [b"bot", b"bot"] == heard
