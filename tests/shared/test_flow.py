import pytest
from redis.asyncio import Redis

from pombo.shared.flow import Flow, pause, read_flow, redis_now, resume
from pombo.shared.keys import Keys


@pytest.mark.parametrize(
    ("stored", "state", "reason"),
    [
        ({}, "active", None),
        ({b"hold_until": b"2000"}, "held", None),
        ({b"hold_until": b"1000"}, "active", None),
        ({b"hold_until": b"2000", b"paused": b"1"}, "paused", None),
        ({b"hold_until": b"2000", b"paused": b"1", b"parked": b"answer 404"}, "parked", "answer 404"),
        ({b"hold_until": b"what", b"future": b"x"}, "active", None),
    ],
)
def test_state(stored: dict[bytes, bytes], state: str, reason: str | None) -> None:
    """A park goes before a pause, a pause before a hold, and a hold ends with its time."""
    flow = Flow.parse(stored, now=1000)
    assert (state, reason) == (flow.state, flow.reason)


def test_times_are_read() -> None:
    """Every time of the hash is there in milliseconds, and a hold in force as a moment too."""
    fields = ("parked_at", "probe_at", "hold_until", "last_success")
    flow = Flow.parse({name.encode(): b"1500" for name in fields}, now=1000)
    assert [1500] * 4 == [getattr(flow, name) for name in fields]
    assert flow.held_until is not None
    assert flow.held_until.timestamp() == 1.5


async def test_pause_and_resume(redis: Redis, keys: Keys) -> None:
    """A pause holds until it is resumed; a repeat says that nothing changed."""
    assert [True, False] == [await pause(redis, keys, "bot"), await pause(redis, keys, "bot")]
    assert (await read_flow(redis, keys.of("bot"))).state == "paused"
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
