from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.rig import Keyed, Running, stored, track
from pombo.gateway.skew import corrected, skew

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("sent_at", "expected"),
    [
        ("2026-11-28T11:00:00Z", HOUR),
        ("2026-11-28T10:00:00-03:00", -HOUR),
        ("2026-11-28T11:59:59.500Z", None),
        ("2026-11-28T12:00:01.000+00:00", None),
        ("2026-11-28T11:00:00", HOUR),
        ("yesterday", None),
        ("", None),
        (None, None),
        (7, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_skew(sent_at: object, expected: timedelta | None) -> None:
    """A clock is off by what lies between sending and receiving, if that is more than the way takes."""
    assert expected == skew(sent_at, NOW)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2026-11-28T10:59:00Z", NOW - timedelta(minutes=1)),
        ("2026-11-28T07:59:00-03:00", NOW - timedelta(minutes=1)),
        ("yesterday", "yesterday"),
        (None, None),
        (7, 7),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    ],
)
def test_corrected(timestamp: object, expected: object) -> None:
    """A timestamp moves by the skew; what is none, or would leave the calendar, stays."""
    assert expected == corrected(timestamp, HOUR)


def at(offset: timedelta) -> str:
    return (datetime.now(UTC) + offset).isoformat()


def read(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["timestamp"])


async def test_a_batch_of_a_client_whose_clock_is_slow(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Timestamps are corrected by the batch's sentAt; of a single call, by its own."""
    event = track("m1", timestamp=at(-2 * HOUR))
    began = datetime.now(UTC)
    await gateway.post("/v1/batch", {"batch": [event], "sentAt": at(-HOUR)}, bot.intake_key)
    await gateway.post("/v1/track", {**event, "sentAt": at(-HOUR)}, bot.intake_key)
    ended = datetime.now(UTC)
    # The client's clock is an hour slow, and the event an hour old.
    for found in await stored(redis):
        assert began - HOUR - timedelta(seconds=5) <= read(found) <= ended - HOUR


@pytest.mark.parametrize("sent_at", [timedelta(0), None])
async def test_a_sound_clock_changes_nothing(
    gateway: Running, bot: Keyed, redis: Redis, sent_at: timedelta | None
) -> None:
    """Without skew, or without a sentAt, the timestamp stays what the client gave."""
    told = {} if sent_at is None else {"sentAt": at(sent_at)}
    event = track("m1", timestamp="2026-11-21T19:00:53.369Z")
    await gateway.post("/v1/batch", {"batch": [event], **told}, bot.intake_key)
    (found,) = await stored(redis)
    assert "2026-11-21T19:00:53.369000Z" == found["timestamp"]
