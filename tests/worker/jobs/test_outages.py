from dataclasses import replace

import pytest

from pombo.shared.flow import Flow
from pombo.worker.jobs.outages import RECENT_MS, SETTLED_MS, Outage, followed

BROKEN = Flow(now=1000, broken_at=400)
WELL = Flow(now=2000, last_success=1500)


def test_a_source_that_is_well_has_no_outage() -> None:
    """Without an open breaker there is nothing to follow, whatever else keeps the source."""
    assert followed(None, WELL) is None
    assert followed(None, replace(WELL, parked="wrong key")) is None


def test_it_begins_when_the_breaker_opened() -> None:
    """Not when somebody looked; and when it opens again before it is over, it is the same outage."""
    outage = followed(None, BROKEN)
    assert Outage(400, 1000) == outage
    assert Outage(400, 3000) == followed(outage, Flow(now=3000, broken_at=2500))


def test_it_is_over_when_the_source_has_delivered_for_a_minute() -> None:
    """Seen well once is not enough; the end is when that was first so."""
    outage = followed(Outage(400, 1000), WELL)
    assert outage is not None
    assert outage.well_since == 2000
    assert not outage.over(2000 + SETTLED_MS - 1)
    later = followed(outage, replace(WELL, now=2000 + SETTLED_MS))
    assert later is not None
    assert later == outage
    assert later.over(2000 + SETTLED_MS)


def test_a_relapse_begins_the_wait_anew() -> None:
    """An open breaker, and whatever else keeps the source, ends the time in which it was well."""
    well = Outage(400, 1000, well_since=2000)
    assert Outage(400, 3000) == followed(well, Flow(now=3000, broken_at=2500))
    assert Outage(400, 1000) == followed(well, replace(WELL, paused=True))


@pytest.mark.parametrize("success", [None, 900, 2000 - RECENT_MS])
def test_without_a_fresh_success_it_is_not_well(success: int | None) -> None:
    """That nothing fails because nobody tries says nothing."""
    assert Outage(400, 1000) == followed(Outage(400, 1000), replace(WELL, last_success=success))


def test_a_quiet_source_stays_well() -> None:
    """Once it delivered after the outage, silence is no relapse."""
    well = Outage(400, 1000, well_since=2000)
    assert well == followed(well, replace(WELL, now=2000 + 2 * RECENT_MS))


def test_it_is_stored_as_json() -> None:
    """What another version stored counts as none."""
    outage = Outage(1, 2, 3)
    assert outage == Outage.load(outage.dump())
    assert [None] * 3 == [Outage.load(stored) for stored in (None, b"?", b'{"other": 1}')]
