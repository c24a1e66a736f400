"""The drain estimate."""

from typing import Any

import pytest

from pombo.shared.history.estimate import drain_s
from pombo.shared.history.samples import Sample, Sums, Waits
from pombo.shared.history.series import Grid, Series
from pombo.shared.history.sheet import lay


def series(backlog: list[int], done_each: int = 0) -> Series:
    """Slots of 10 s at whose end so much is left; in each so many are delivered."""
    samples = []
    for number, left in enumerate(backlog):
        waits = Waits(left, 0, 0)
        sums = Sums(delivered=done_each * number)
        samples.append(Sample(number * 10_000, number * 10_000, sums, waits, waits))
    return lay([samples], Grid(0, 10_000, len(backlog)))


@pytest.mark.parametrize(
    ("backlog", "each", "expected"),
    [
        ([0, 0, 0], 0, 0.0),
        ([100, 0, 0], 50, 0.0),
        ([1000, 1000, 1000], 0, None),
        ([0, 500, 1000], 100, None),
        ([0, 0, 1000, 500], 500, 10.0),
        ([4000, 3000, 2000, 1000], 1000, 10.0),
        ([1020, 1000, 1010, 1000], 10, None),
        ([150, 100, 150], 1000, 1.5),
    ],
    ids=["empty", "gone", "stands", "grows", "after a burst", "falls", "up and down", "on its way"],
)
def test_drain(backlog: list[int], each: int, expected: float | None) -> None:
    """It is what is left by the rate at which it has shrunk since it was highest."""
    assert expected == drain_s(series(backlog, each), 10, 10)


def test_nobody_knows() -> None:
    """Without any sample there is no estimate."""
    assert drain_s(lay([[]], Grid(0, 10_000, 5)), 10, 10) is None


def test_the_present_slot_counts_by_what_has_passed() -> None:
    """Two seconds into the slot half is gone: the rest takes two more."""
    assert 2.0 == drain_s(series([0, 0, 1000, 500]), 10, 2)


def test_a_long_way_back_is_not_looked_at() -> None:
    """What was highest an hour ago says nothing about now."""
    told: list[Any] = [9000, *[100] * 8]
    assert drain_s(series(told), 10, 10) is None
