"""What becomes of events whose request fails."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.patience import (
    LONE_AFTER,
    POISON_AFTER,
    SEGMENT_WINDOW_MS,
    SPLIT_AFTER,
    Decision,
    Failures,
    Trouble,
    decide,
    outcome_lost,
)

NOW = 1_800_000_000_000
DAY_S = 86_400.0


def failures(*, well: int = 0, lone: int = 0, since: int = NOW - 1000) -> Failures:
    """So many failures beside an open breaker's trials, and then so many of these."""
    return Failures(since, well + lone, well, lone)


FRESH = Trouble(
    events=10,
    failures=failures(well=1),
    piece=False,
    failing_since=NOW - 1000,
    unknown_since=0,
    witness=NOW - 500,
    now=NOW,
)
"""Ten events that failed once, a second ago, while another request of their source was accepted since."""
ALONE = replace(FRESH, events=1, piece=True)
SICK = replace(FRESH, witness=0)
"""The same, and nothing of their source was accepted."""


def test_failures_are_told_apart() -> None:
    """Those as an open breaker's trial count in a row, all others together; the first one's time stays."""
    found = Failures()
    for now, broken in [(5, False), (6, False), (7, True), (8, True), (9, False), (10, True)]:
        found.add(now, broken=broken)
    assert Failures(since=5, total=6, well=3, lone=1) == found


@pytest.mark.parametrize("trouble", [FRESH, SICK])
def test_first_failures_are_retried(trouble: Trouble) -> None:
    """A request that failed less than five times goes again, however well or ill its source is."""
    decisions = [decide(replace(trouble, failures=failures(well=n)), DAY_S) for n in range(1, SPLIT_AFTER)]
    assert [Decision.RETRY] * 4 == decisions


@pytest.mark.parametrize("trouble", [FRESH, SICK])
@pytest.mark.parametrize(("well", "lone"), [(5, 0), (4, 1), (0, 5), (99, 99)])
def test_failing_request_is_split(trouble: Trouble, well: int, lone: int) -> None:
    """From the fifth failure on a request is split, with a witness or without: that blames nobody."""
    assert Decision.SPLIT == decide(replace(trouble, failures=failures(well=well, lone=lone)), DAY_S)


@pytest.mark.parametrize("trouble", [FRESH, SICK])
def test_pieces_are_split_at_once(trouble: Trouble) -> None:
    """What was split off a failing request is split on at its first failure."""
    assert Decision.SPLIT == decide(replace(trouble, piece=True), DAY_S)


def test_a_success_since_the_first_failure_is_a_witness() -> None:
    """Failures with a shut gate between them count together: what succeeded since the first of them speaks for all."""
    waited = replace(ALONE, failures=failures(well=POISON_AFTER), failing_since=NOW)
    assert Decision.POISON == decide(waited, DAY_S)
    assert Decision.RETRY == decide(replace(waited, witness=NOW - 1000), DAY_S)


def test_event_alone_is_poison_after_ten_failures() -> None:
    """One event is dead after ten failures of its own, not before, and is never split."""
    counts = (1, POISON_AFTER - 1, POISON_AFTER, 11)
    decisions = [decide(replace(ALONE, failures=failures(well=n)), DAY_S) for n in counts]
    assert [Decision.RETRY, Decision.RETRY, Decision.POISON, Decision.POISON] == decisions


def test_trials_of_an_open_breaker_count_when_nothing_else_is_tried() -> None:
    """Fifty in a row are as good as ten failures beside successes; nine of these and 49 of those are not."""
    assert Decision.POISON == decide(replace(ALONE, failures=failures(lone=LONE_AFTER)), DAY_S)
    almost = failures(well=POISON_AFTER - 1, lone=LONE_AFTER - 1)
    assert Decision.RETRY == decide(replace(ALONE, failures=almost), DAY_S)


@pytest.mark.parametrize("witness", [0, FRESH.failing_since - 1, FRESH.failing_since])
def test_an_outage_blames_nobody(witness: int) -> None:
    """While nothing of the source succeeds, no event is dead, however often it failed alone."""
    trouble = replace(ALONE, failures=failures(well=10_000, lone=10_000), witness=witness)
    assert Decision.RETRY == decide(trouble, DAY_S)


def test_an_event_alone_expires_after_max_age_of_failing() -> None:
    """Failing for `max_age` ends in death as expired, to the millisecond, outage or not."""
    just = replace(ALONE, witness=0, failing_since=NOW - 60_000)
    assert Decision.EXPIRED == decide(just, 60.0)
    assert Decision.RETRY == decide(replace(just, failing_since=NOW - 59_999), 60.0)


def test_a_request_does_not_expire_together() -> None:
    """Whose request failed for `max_age` with others' events in it is split off them first."""
    assert Decision.SPLIT == decide(replace(SICK, failing_since=NOW - 60_000), 60.0)
    assert Decision.RETRY == decide(replace(SICK, failing_since=NOW - 59_999), 60.0)


def test_what_is_not_failing_does_not_expire() -> None:
    """A wait at a shut gate resets the clock of failing, and with it the expiry."""
    assert Decision.RETRY == decide(replace(ALONE, failing_since=0, witness=0), 0.001)


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


_counts = st.integers(0, 99)


@settings(deadline=None)
@given(
    st.builds(
        Trouble, events=st.integers(1, 2500), piece=st.booleans(),
        failures=st.builds(Failures, since=_times, total=_counts, well=_counts, lone=_counts),
        failing_since=_times, unknown_since=_times, witness=_times, now=_times,
    ),
    st.floats(0.001, 1e7),
)  # fmt: skip
def test_deaths_have_a_cause(trouble: Trouble, max_age_s: float) -> None:
    """Events die for a cause that the trouble shows and for nothing else, and alone unless Segment forgot them."""
    decision = decide(trouble, max_age_s)
    if decision is Decision.SPLIT:
        assert trouble.events > 1
    elif decision is Decision.POISON:
        assert 1 == trouble.events
        assert trouble.failures.well >= 10 or trouble.failures.lone >= 50
        since = [at for at in (trouble.failing_since, trouble.failures.since) if at]
        assert 0 < min(since) < trouble.witness
    elif decision is Decision.EXPIRED:
        assert 1 == trouble.events
        assert 0 < trouble.failing_since <= trouble.now - max_age_s * 1000
    elif decision is Decision.OUTCOME_UNKNOWN:
        assert 0 < trouble.unknown_since <= trouble.now - 24 * 3_600_000
