"""Waiting before another send."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.backoff import CAP_S, backoff


class Highest(random.Random):
    """Draw the top of every range."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(random.Random):
    """Draw the bottom of every range."""

    def uniform(self, a: float, b: float) -> float:
        return a


@pytest.mark.parametrize(
    ("attempt", "ceiling"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (7, 32.0), (8, 60.0), (9, 60.0), (50, 60.0)],
)
def test_ceilings_double_up_to_the_cap(attempt: int, ceiling: float) -> None:
    """The first wait is below half a second; each ceiling is twice the last, up to a minute."""
    assert (0.0, ceiling) == (backoff(attempt, Lowest()), backoff(attempt, Highest()))


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers())
def test_waits_stay_within_their_ceiling(attempt: int, seed: int) -> None:
    """Every wait is from 0 to its ceiling, for any number of attempts."""
    wait = backoff(attempt, random.Random(seed))
    assert 0 <= wait <= min(CAP_S, 0.5 * 2 ** min(attempt - 1, 10))


def test_jitter_is_full() -> None:
    """A fleet that failed together spreads over the whole range."""
    rng = random.Random(7)
    waits = sorted(backoff(6, rng) for _ in range(2000))
    tenths = [sum(1.6 * tenth <= wait < 1.6 * (tenth + 1) for wait in waits) for tenth in range(10)]
    assert all(140 < count < 260 for count in tenths), tenths


def test_same_randomness_gives_the_same_waits() -> None:
    """Randomness comes in from outside only."""
    first, second = random.Random(3), random.Random(3)
    assert [backoff(n, first) for n in range(1, 20)] == [backoff(n, second) for n in range(1, 20)]
