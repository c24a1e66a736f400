"""The drain estimate: when a backlog will be gone, if things go on as they have since it was highest."""

from collections.abc import Sequence
from typing import Final

from pombo.shared.history.series import Series

_SLOTS: Final = 6
"""Of the latest slots: a minute of the 15, half an hour of the 24 hours."""
_PASSING_S: Final = 2.0
"""A backlog of less than so many seconds' deliveries is what is always on its way."""
_FALL: Final = 0.05
"""A backlog that fell by less than this share of its highest is not draining: it goes up and down a little."""


def drain_s(series: Series, width_s: float, elapsed_s: float) -> float | None:
    """Seconds until the backlog is gone; 0 when there is none, None when it is not draining, or nobody knows.

    Args:
        series: of one source or of several; its last slot is the present one.
        width_s: seconds of a slot.
        elapsed_s: seconds of the present slot that have passed.
    """
    backlog = _known(series.backlog)
    if not backlog or not backlog[-1]:
        return 0.0 if backlog else None
    left, rate = backlog[-1], _delivered(series, width_s)
    if left <= rate * _PASSING_S:
        return left / rate
    highest = max(range(len(backlog)), key=lambda slot: (backlog[slot], slot))
    fallen = backlog[highest] - left
    if fallen < _FALL * backlog[highest] or not fallen:
        return None
    seconds = (len(backlog) - 2 - highest) * width_s + elapsed_s
    return left * seconds / fallen


def _delivered(series: Series, width_s: float) -> float:
    """Events a second that came to their end in the latest full slots."""
    ends = zip(series.delivered[:-1], series.deduplicated[:-1], series.dead[:-1], strict=True)
    done = _known([None if None in one else sum(filter(None, one)) for one in ends])
    return sum(done) / (len(done) * width_s) if done else 0.0


def _known(values: Sequence[int | None]) -> list[int]:
    """The latest values, as far back as all of them are known."""
    found: list[int] = []
    for value in reversed(values[-_SLOTS - 1 :]):
        if value is None:
            break
        found.append(value)
    return found[::-1]
