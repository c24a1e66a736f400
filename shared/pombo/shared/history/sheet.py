"""Sheet: the columns of a chart, onto which the samples of sources are laid one after another.

What a source adds costs by its samples, not by the chart's slots: of a thousand sources nearly all are at rest.
"""

from collections.abc import Sequence
from itertools import accumulate
from operator import add
from typing import Final, NamedTuple, Self

from pombo.shared.history.samples import LATENCY_S, RETRIES, STATUS_CLASSES, Sample, Sums, Waits
from pombo.shared.history.series import Grid, Series

GAP: Final = 1.5
"""Samples so many slots apart have nothing between them: until then nothing happened that was worth a sample."""
_BUCKETS: Final = [f"b{number}" for number in range(len(LATENCY_S) + 1)]
_TALLIES: Final = (*STATUS_CLASSES, RETRIES, *_BUCKETS)
_NEVER: Final = 1 << 62
_FINE: Final = 1000
"""Rates are added up in thousandths, so that what was added and taken off again leaves nothing."""


class Level(NamedTuple):
    """What stays as it is until the next sample."""

    queued: int
    in_flight: int
    backlog: int
    """Of the latest sample, where the others are the highest of the slot."""
    rate: int
    """Thousandths of an event a second; 0 for no limit."""
    free: int
    """1 for no limit."""


class Sheet:
    """Columns of slots.

    Counters run evenly from one sample to the next, so that all slots together have what was counted, wherever in a
    slot samples were taken. Behind a gap they run within one slot's width. What waits is the highest of each slot, and
    stays as it was where there is no sample.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        slots = grid.slots
        self._sums = [[0] * slots for _ in Sums._fields]
        self._tallies = {name: [0] * slots for name in _TALLIES}
        # Of each level by how much it goes up and down where a slot begins: what lasts for long costs no more.
        self._steps = [[0] * (slots + 1) for _ in Level._fields]
        self._ages = [-1] * slots
        self._counted_from = self._waited_from = _NEVER
        """When the first sample was taken, and when its slot began, in ms."""

    def plus(self, other: Self) -> Self:
        """What both have together; they are of one grid."""
        made = type(self)(self.grid)
        made._sums = [*map(_plus, self._sums, other._sums)]
        made._tallies = {name: _plus(column, other._tallies[name]) for name, column in self._tallies.items()}
        made._steps = [*map(_plus, self._steps, other._steps)]
        made._ages = [*map(max, self._ages, other._ages)]
        made._counted_from = min(self._counted_from, other._counted_from)
        made._waited_from = min(self._waited_from, other._waited_from)
        return made

    def move(self, grid: Grid) -> None:
        """Let go of the slots before a later grid's beginning."""
        by = min((grid.begin - self.grid.begin) // grid.width, grid.slots)
        if by <= 0:
            return
        self.grid, none = grid, [0] * by
        self._sums = [column[by:] + none for column in self._sums]
        self._tallies = {name: column[by:] + none for name, column in self._tallies.items()}
        self._steps = [[sum(column[: by + 1]), *column[by + 1 :], *none] for column in self._steps]
        self._ages = self._ages[by:] + [-1] * by

    def add(self, samples: Sequence[Sample], before: Sample | None = None) -> None:
        """Lay a source's samples, in order of time, behind the one of it that was laid last."""
        self._count(samples, before)
        self._wait(samples, before)
        for sample in samples:
            if sample.tallies:
                self._tally(sample)

    def stay(self, last: Sample) -> None:
        """Let what waits stay as a source's last sample has it, up to the sheet's end."""
        self._carry(last, self._place(last.slot) + 1, self.grid.slots)

    @property
    def series(self) -> Series:
        """The columns; slots of which nobody knows anything have None."""
        counted, waited = self._within(self._counted_from), self._within(self._waited_from)
        sums = [[None] * counted + column[counted:] for column in self._sums]
        levels = [[None] * waited + [*accumulate(column[:-1])][waited:] for column in self._steps]
        queued, in_flight, backlog, rates, free = levels
        return Series(
            **dict(zip(Sums._fields, sums, strict=True)),
            queued=queued,
            in_flight=in_flight,
            oldest_age_s=[None if age < 0 else age / 1000 for age in self._ages],
            rate_limit=[
                rate / _FINE if rate and not unbound else None for rate, unbound in zip(rates, free, strict=True)
            ],
            backlog=backlog,
            requests={name: self._tallies[name] for name in STATUS_CLASSES},
            retries=self._tallies[RETRIES],
            ages=[self._tallies[name] for name in _BUCKETS],
        )

    def _place(self, at: int) -> int:
        return (at - self.grid.begin) // self.grid.width

    def _within(self, at: int) -> int:
        return min(max(0, self._place(at)), self.grid.slots)

    def _count(self, samples: Sequence[Sample], before: Sample | None) -> None:
        """Spread what was counted over the slots; a counter that fell goes on from where it was."""
        width = self.grid.width
        for sample in samples:
            if before is None:
                self._counted_from = min(self._counted_from, sample.at)
            elif sample.at < before.at:
                continue
            elif sample.sums != before.sums:
                counts = [max(0, late - early) for early, late in zip(before.sums, sample.sums, strict=True)]
                begun = sample.at - width if sample.at - before.at > GAP * width else before.at
                self._spread(begun, sample.at, counts)
            before = sample

    def _spread(self, begun: int, ended: int, counts: Sequence[int]) -> None:
        """Add what was counted evenly between two moments."""
        begin, width, slots = self.grid
        last = (ended - 1 - begin) // width
        first = min((begun - begin) // width, last)
        if last < 0:
            return
        done: Sequence[int] = (0, 0, 0, 0)
        for place in range(max(first, -1), min(last, slots - 1) + 1):
            until = counts
            if place != last:
                share = (begin + (place + 1) * width - begun) / (ended - begun)
                until = [round(share * count) for count in counts]
            if place >= 0:
                for column, late, early in zip(self._sums, until, done, strict=True):
                    column[place] += late - early
            done = until

    def _wait(self, samples: Sequence[Sample], last: Sample | None) -> None:
        """Lay what waited: of each slot the highest, and where there is no sample what was last."""
        place, highest = (-1, None) if last is None else (self._place(last.slot), None)
        for sample in samples:
            at = self._place(sample.slot)
            if last is None:
                self._waited_from = min(self._waited_from, sample.slot)
            elif at > place:
                if highest is not None:
                    self._lay(last, highest, place)
                self._carry(last, place + 1, at)
                highest = None
            place = at if last is None else max(at, place)
            highest = sample.highest if highest is None else Waits(*map(max, highest, sample.highest))
            last = sample
        if last is not None and highest is not None:
            self._lay(last, highest, place)

    def _lay(self, last: Sample, highest: Waits, place: int) -> None:
        """Add what waited in one slot."""
        if 0 <= place < self.grid.slots:
            self._raise(last, highest, place, place + 1)
            self._ages[place] = max(self._ages[place], highest.age_ms)

    def _carry(self, last: Sample, first: int, stop: int) -> None:
        """Add what waited, as it was last, to slots without a sample; it grows older in them."""
        first, stop = max(0, first), min(stop, self.grid.slots)
        if first >= stop:
            return
        self._raise(last, last.waits, first, stop)
        if last.waits.age_ms >= 0:
            begin, width, _ = self.grid
            for place in range(first, stop):
                age = last.waits.age_ms + max(0, begin + (place + 1) * width - last.at)
                self._ages[place] = max(self._ages[place], age)

    def _raise(self, last: Sample, waits: Waits, first: int, stop: int) -> None:
        backlog = last.waits.queued + last.waits.in_flight
        level = (waits.queued, waits.in_flight, backlog, round(last.rate * _FINE), not last.rate)
        for column, by in zip(self._steps, level, strict=True):
            if by:
                column[first] += by
                column[stop] -= by

    def _tally(self, sample: Sample) -> None:
        place = self._place(sample.slot)
        if 0 <= place < self.grid.slots:
            for name, count in sample.tallies.items():
                column = self._tallies.get(name)
                if column is not None:
                    column[place] += count


def lay(sources: Sequence[Sequence[Sample]], grid: Grid) -> Series:
    """Lay the samples of sources, each in order of time, on a grid, and sum them."""
    sheet = Sheet(grid)
    for samples in sources:
        if samples:
            sheet.add(samples)
            sheet.stay(samples[-1])
    return sheet.series


def _plus(one: list[int], other: list[int]) -> list[int]:
    return [*map(add, one, other)]
