"""Whose turn it is when there are too many to look at all of them at once."""

from bisect import bisect_right
from collections import deque
from collections.abc import Collection, Iterator
from math import ceil


def turn(names: Collection[str], after: str, count: int) -> list[str]:
    """The next `count` of the names behind `after`, round the circle."""
    ordered = sorted(names)
    start = bisect_right(ordered, after)
    return (ordered[start:] + ordered[:start])[:count]


class Round:
    """Go through names in `period` seconds, a few at a time and evenly; the first time through all as fast as it goes.

    Args:
        period: seconds of a round.
        most: names handed out at a time, however late the round is.
    """

    def __init__(self, period: float, most: int) -> None:
        self._period = period
        self._most = most
        self._left: deque[str] = deque()
        self._size = 0
        self._known: set[str] = set()
        self._began = float("-inf")
        self._first = True

    @property
    def first(self) -> bool:
        """Whether it is the first time through."""
        return self._first

    def due(self, names: Collection[str], now: float) -> Iterator[str]:
        """Hand out the names whose turn has come at `now` (monotonic); one counts as seen when the next is asked for.

        Names that come during a round are the last of it.
        """
        if not self._left and now - self._began >= self._period:
            self._first = self._size == 0
            self._left, self._size, self._began, self._known = deque(), 0, now, set()
        fresh = [name for name in names if name not in self._known]
        self._left.extend(fresh)
        self._known.update(fresh)
        self._size += len(fresh)
        share = self._size if self._first else ceil(self._size * (now - self._began) / self._period)
        for _ in range(min(self._most, share - (self._size - len(self._left)), len(self._left))):
            yield self._left[0]
            self._left.popleft()
