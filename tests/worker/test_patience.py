"""What becomes of events whose request fails."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.patience import (
    POISON_AFTER,
    SEGMENT_WINDOW_MS,
    SPLIT_AFTER,
    Decision,
    Trouble,
    decide,
    outcome_lost,
)

NOW = 1_800_000_000_000
DAY_S = 86_400.0

FRESH = Trouble(
    events=10,
    failures=1,
    poison=False,
    failing_since=NOW - 1000,
    unknown_since=0,
    last_success=NOW - 500,
    now=NOW,
)
"""Ten events that failed once, a second ago, while another request of their source was accepted since."""


def test_first_failures_are_retried() -> None:
    """A request that failed less than five times goes again, however well its source is."""
    decisions = [decide(replace(FRESH, failures=n), DAY_S) for n in range(1, SPLIT_AFTER)]
    assert [Decision.RETRY] * 4 == decisions


def test_failing_request_among_succeeding_ones_is_split() -> None:
    """From the fifth failure on a request is bisected when others of its source succeed."""
    assert Decision.SPLIT == decide(replace(FRESH, failures=SPLIT_AFTER), DAY_S)
    assert Decision.SPLIT == decide(replace(FRESH, failures=99), DAY_S)


def test_a_success_since_the_first_failure_is_a_witness() -> None:
    """Failures with a shut gate between them count together: what succeeded since the first of them speaks for all."""
    waited = replace(FRESH, events=1, failures=POISON_AFTER, failing_since=NOW, failed_at=NOW - 1000)
    assert Decision.POISON == decide(waited, DAY_S)
    assert Decision.RETRY == decide(replace(waited, last_success=NOW - 1000), DAY_S)


def test_parts_of_a_split_request_are_split_at_once() -> None:
    """What came from a poisoned request is bisected on at its first failure."""
    assert Decision.SPLIT == decide(replace(FRESH, poison=True, failures=1), DAY_S)


def test_event_alone_is_poison_after_ten_failures() -> None:
    """One event is dead after ten failures of its own, not before, and is never split."""
    alone = replace(FRESH, events=1, poison=True)
    decisions = [decide(replace(alone, failures=n), DAY_S) for n in (1, POISON_AFTER - 1, POISON_AFTER, 11)]
    assert [Decision.RETRY, Decision.RETRY, Decision.POISON, Decision.POISON] == decisions


@pytest.mark.parametrize("last_success", [0, FRESH.failing_since - 1, FRESH.failing_since])
@pytest.mark.parametrize("events", [1, 2, 2500])
def test_an_outage_blames_nobody(last_success: int, events: int) -> None:
    """While nothing of the source succeeds, nothing is split or dead, however often it failed."""
    trouble = replace(FRESH, events=events, failures=10_000, poison=True, last_success=last_success)
    assert Decision.RETRY == decide(trouble, DAY_S)


@pytest.mark.parametrize("events", [1, 100])
def test_events_expire_after_max_age_of_failing(events: int) -> None:
    """Failing for `max_age` ends in death as expired, to the millisecond, outage or not."""
    trouble = replace(FRESH, events=events, last_success=0)
    just = replace(trouble, failing_since=NOW - 60_000)
    assert Decision.EXPIRED == decide(just, 60.0)
    assert Decision.RETRY == decide(replace(just, failing_since=NOW - 59_999), 60.0)


def test_what_is_not_failing_does_not_expire() -> None:
    """A wait at a shut gate resets the clock of failing, and with it the expiry."""
    assert Decision.RETRY == decide(replace(FRESH, failing_since=0, failures=99, poison=True), 0.001)


def test_unknown_outcomes_end_with_segments_window() -> None:
    """A send whose outcome is unknown is not repeated after 24 hours, before anything else is asked."""
    lost = replace(FRESH, unknown_since=NOW - SEGMENT_WINDOW_MS, failing_since=NOW - SEGMENT_WINDOW_MS)
    assert Decision.OUTCOME_UNKNOWN == decide(lost, 60.0)
    assert Decision.OUTCOME_UNKNOWN == decide(replace(lost, failing_since=0), DAY_S)
    assert Decision.RETRY == decide(replace(FRESH, unknown_since=NOW - SEGMENT_WINDOW_MS + 1), DAY_S)


def test_outcome_is_lost_after_a_day() -> None:
    """The window is counted from the first unknown send; none is none."""
    assert [False, False, True, True] == [
        outcome_lost(0, NOW),
        outcome_lost(NOW - 24 * 3_600_000 + 1, NOW),
        outcome_lost(NOW - 24 * 3_600_000, NOW),
        outcome_lost(1, NOW),
    ]


_times = st.integers(0, 5 * SEGMENT_WINDOW_MS)


@settings(deadline=None)
@given(
    st.builds(
        Trouble, events=st.integers(1, 2500), failures=st.integers(1, 50), poison=st.booleans(),
        failing_since=_times, unknown_since=_times, last_success=_times, now=_times,
    ),
    st.floats(0.001, 1e7),
)  # fmt: skip
def test_deaths_have_a_cause(trouble: Trouble, max_age_s: float) -> None:
    """Events die, or are split, for a cause that the trouble shows, and for nothing else."""
    decision = decide(trouble, max_age_s)
    well = 0 < trouble.failing_since < trouble.last_success
    if decision is Decision.POISON:
        assert well
        assert trouble.events == 1
        assert trouble.failures >= 10
    elif decision is Decision.SPLIT:
        assert well
        assert trouble.events > 1
    elif decision is Decision.EXPIRED:
        assert 0 < trouble.failing_since <= trouble.now - max_age_s * 1000
    elif decision is Decision.OUTCOME_UNKNOWN:
        assert 0 < trouble.unknown_since <= trouble.now - 24 * 3_600_000
