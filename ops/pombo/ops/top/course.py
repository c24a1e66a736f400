"""The course of a source: how its rates and its backlog went while `top` ran, and as a line of blocks."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pombo.ops.top.rates import Row

POINTS: Final = 150
"""Looks that are kept of each source: five minutes, two seconds apart, and 4 kB."""
BLOCKS: Final = "▁▂▃▄▅▆▇█"
SERIES: Final = ("accepted", "delivered", "dead", "waiting")


class Course:
    """The last points of one source: rates in events a second, and what waits in events."""

    __slots__ = ("_points",)

    def __init__(self) -> None:
        self._points = {name: array("d") for name in SERIES}

    def note(self, row: Row) -> None:
        """Add a look's point, if it has rates."""
        if row.rates is None:
            return
        told = (row.rates.accepted, row.rates.delivered, row.rates.dead, float(row.waiting))
        for points, value in zip(self._points.values(), told, strict=True):
            points.append(value)
            del points[:-POINTS]

    def __getitem__(self, name: str) -> Sequence[float]:
        return self._points[name]


class Courses:
    """The courses of all sources there are."""

    def __init__(self) -> None:
        self._of: dict[str, Course] = {}

    def note(self, rows: Iterable[Row]) -> None:
        """Add the points of a look, and forget sources that are gone."""
        before, self._of = self._of, {}
        for row in rows:
            course = self._of[row.view.name] = before.get(row.view.name) or Course()
            course.note(row)

    @property
    def of(self) -> Mapping[str, Course]:
        """By source."""
        return self._of


def blocks(values: Sequence[float], width: int, *, most: float | None = None) -> str:
    """The last values as blocks, the newest on the right: the lowest block is nothing, the highest `most`.

    Args:
        values: none below zero.
        width: characters at most; of more values several share one, which shows the highest of them.
        most: what the highest block stands for; without it the highest value.
    """
    if not values or width < 1:
        return ""
    share = -(-len(values) // width)
    start = len(values) % share
    groups = [values[:start]] if start else []
    groups += [values[at : at + share] for at in range(start, len(values), share)]
    peaks = [max(group) for group in groups]
    top = most or max(peaks)
    return "".join(BLOCKS[_level(peak, top)] for peak in peaks)


def _level(value: float, most: float) -> int:
    """What is not nothing is seen, however little it is."""
    if value <= 0 or most <= 0:
        return 0
    return min(len(BLOCKS) - 1, max(1, round(value / most * (len(BLOCKS) - 1))))
