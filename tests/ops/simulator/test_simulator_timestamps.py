from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.ops.simulator import Simulator, Switches
from pombo.ops.simulator.timestamps import correct, iso, parse

Post = Callable[..., Awaitable[httpx.Response]]
RECEIVED = datetime(2026, 11, 21, 19, tzinfo=UTC)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def track(**changes: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u", "event": "E", "messageId": "m", **changes}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-21T19:00:00Z", RECEIVED),
        ("2026-11-21T16:00:00.000-03:00", RECEIVED),
        ("2026-11-21T19:00:00", RECEIVED),
        ("2026-11-21T19:00:00.000000000Z", RECEIVED),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (1_795_287_653, None),
        (None, None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_parse(text: object, instant: datetime | None) -> None:
    """ISO 8601 is read in any zone and precision, UTC where it names none; all else is no time."""
    assert parse(text) == instant


@settings(deadline=None)
@given(instants)
def test_iso_round_trip(instant: datetime) -> None:
    """What is written with milliseconds reads back to the same millisecond."""
    back = parse(iso(instant))
    assert back == instant.replace(microsecond=instant.microsecond // 1_000 * 1_000)


@settings(deadline=None)
@given(instants, instants, st.timedeltas(timedelta(days=-999), timedelta(days=999)))
def test_skew_does_not_matter(happened: datetime, sent: datetime, skew: timedelta) -> None:
    """An event lands at the same time however wrong its sender's clock is."""
    plain = correct(happened, sent, RECEIVED, Switches())
    assert plain == correct(happened + skew, sent + skew, RECEIVED, Switches())
    assert RECEIVED - plain == sent - happened


def test_out_of_range() -> None:
    """A correction that leaves the calendar is not made."""
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert correct(first, RECEIVED + timedelta(days=1), RECEIVED, Switches()) == first


async def test_corrected(post: Post, sim: Simulator) -> None:
    """The timestamp is receivedAt - (sentAt - originalTimestamp); what was sent is kept beside it."""
    await post(track(timestamp="2026-11-21T20:59:50-01:00"), sentAt="2026-11-21T22:00:00.250Z")
    [row] = sim.events()
    assert row["timestamp"] == "2026-11-21T18:59:49.750Z"
    assert row["original_timestamp"] == "2026-11-21T20:59:50-01:00"
    assert row["sent_at"] == "2026-11-21T22:00:00.250Z"
    assert row["received_at"] == "2026-11-21T19:00:00.000Z"


async def test_item_sent_at(post: Post, sim: Simulator) -> None:
    """An item's sentAt counts where the batch has none."""
    moment = "2026-11-21T10:00:00Z"
    await post(track(timestamp=moment, sentAt=moment))
    assert sim.events()[0]["timestamp"] == iso(RECEIVED)


async def test_absent_sent_at(post: Post, sim: Simulator) -> None:
    """Without sentAt the timestamp stays as it is, or is the time of receipt, as the switch says."""
    await post(track(timestamp="2026-11-20T10:00:00Z"))
    sim.set_switches(Switches(absent_sent_at="received"))
    await post(track(timestamp="2026-11-20T10:00:00Z"))
    assert [row["timestamp"] for row in sim.events()] == ["2026-11-20T10:00:00.000Z", iso(RECEIVED)]


@pytest.mark.parametrize("timestamp", [None, "soon", 5])
async def test_no_timestamp(post: Post, sim: Simulator, timestamp: object) -> None:
    """An event without a readable time of its own happened when it was received."""
    await post(track(timestamp=timestamp), sentAt="2026-11-21T10:00:00Z")
    assert sim.events()[0]["timestamp"] == iso(RECEIVED)
