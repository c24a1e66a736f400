"""Series: samples of one source laid on evenly spaced slots, and the series of many sources summed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Self

from pombo.shared.history.samples import LATENCY_S, RETRIES, STATUS_CLASSES, Sample, Sums, Waits

Width = Literal["15m", "24h"]


class Grid(NamedTuple):
    """Slots side by side; times in ms of Redis' clock."""

    begin: int
    width: int
    slots: int

    @classmethod
    def until(cls, now: int, span: Width) -> Self:
        """The slots of a span up to the one in which `now` lies."""
        width, count = SPANS[span]
        return cls(now - now % width - (count - 1) * width, width, count)

    @property
    def starts(self) -> list[int]:
        """When each slot begins."""
        return [self.begin + number * self.width for number in range(self.slots)]


SPANS: Final[dict[Width, tuple[int, int]]] = {"15m": (10_000, 90), "24h": (300_000, 288)}
"""Of each span: a slot's width in ms, and how many there are."""
_GAP: Final = 1.5
"""Samples so many slots apart have nothing between them: until then nothing happened that was worth a sample."""
_BUCKETS: Final = [f"b{number}" for number in range(len(LATENCY_S) + 1)]


@dataclass(slots=True)
class Series:
    """Slot by slot, what happened within it, and the highest of what waited. None: nobody knows."""

    accepted: list[int | None]
    delivered: list[int | None]
    deduplicated: list[int | None]
    dead: list[int | None]
    queued: list[int | None]
    in_flight: list[int | None]
    oldest_age_s: list[float | None]
    """The highest of all sources; None also when nothing waits."""
    rate_limit: list[float | None]
    """Events a second that might be sent; None also when a source has no limit."""
    backlog: list[int | None] = field(repr=False)
    """Queued and in flight at the end of each slot."""
    requests: dict[str, list[int]]
    """By status class."""
    retries: list[int]
    """Requests that had to be sent again."""
    ages: list[list[int]] = field(repr=False)
    """Record batches delivered, by class of age, as `LATENCY_S` has them."""

    def quantile(self, share: float) -> list[float | None]:
        """The age in seconds at delivery that `share` of a slot's record batches did not exceed; None without any."""
        return [quantile(counts, share) for counts in zip(*self.ages, strict=True)]


def lay(sources: Iterable[Sequence[Sample]], grid: Grid) -> Series:
    """Lay the samples of sources, each in order of time, on a grid, and sum them.

    Counters run evenly from one sample to the next, so that all slots together have what was counted, wherever in a
    slot samples were taken. Behind a gap they run within one slot's width. What waits is the highest of each slot, and
    stays as it was where there is no sample.
    """
    sums: dict[str, list[int | None]] = {name: [None] * grid.slots for name in Sums._fields}
    waits: list[_Wait | None] = [None] * grid.slots
    tallies = {name: [0] * grid.slots for name in (*STATUS_CLASSES, RETRIES, *_BUCKETS)}
    for samples in sources:
        _sum(samples, grid, sums)
        waits = [_beside(a, b) for a, b in zip(waits, _waits(samples, grid), strict=True)]
        _count(samples, grid, tallies)
    return Series(
        **sums,
        queued=[one and one.queued for one in waits],
        in_flight=[one and one.in_flight for one in waits],
        oldest_age_s=[None if one is None or one.age_ms < 0 else one.age_ms / 1000 for one in waits],
        rate_limit=[(one and one.rate) or None for one in waits],
        backlog=[one and one.backlog for one in waits],
        requests={name: tallies[name] for name in STATUS_CLASSES},
        retries=tallies[RETRIES],
        ages=[tallies[name] for name in _BUCKETS],
    )


def quantile(counts: Sequence[int], share: float) -> float | None:
    """The value that `share` of what was counted in the classes of `LATENCY_S` did not exceed; None for nothing.

    Within a class all are taken to lie evenly, as Prometheus does; of the last one only its lower bound is known.
    """
    wanted, below = share * sum(counts), 0
    for number, count in enumerate(counts):
        if count and below + count >= wanted:
            lower = LATENCY_S[number - 1] if number else 0.0
            upper = LATENCY_S[number] if number < len(LATENCY_S) else lower
            return lower + (upper - lower) * (wanted - below) / count
        below += count
    return None


class _Wait(NamedTuple):
    """What waits in one slot, of one source or of several."""

    queued: int
    in_flight: int
    age_ms: int
    rate: float
    backlog: int


def _beside(a: _Wait | None, b: _Wait | None) -> _Wait | None:
    if a is None or b is None:
        return a or b
    rate = a.rate + b.rate if a.rate and b.rate else 0
    return _Wait(a[0] + b[0], a[1] + b[1], max(a[2], b[2]), rate, a.backlog + b.backlog)


def _knots(samples: Sequence[Sample], width: int) -> Iterator[tuple[int, Sums]]:
    """The moments between which counters run evenly; a counter that fell goes on from where it was."""
    before, so_far = None, Sums()
    for sample in samples:
        if before is not None and sample.at < before.at:
            continue
        if before is not None:
            if sample.at - before.at > _GAP * width:
                yield sample.at - width, so_far
            if sample.sums != before.sums:
                rows = zip(so_far, before.sums, sample.sums, strict=True)
                so_far = Sums._make([count + max(0, late - early) for count, early, late in rows])
        yield sample.at, so_far
        before = sample


def _sum(samples: Sequence[Sample], grid: Grid, sums: Mapping[str, list[int | None]]) -> None:
    """Add what was counted in each slot."""
    knots = [*_knots(samples, grid.width)]
    if not knots:
        return
    before, *edges = _edges(knots, grid)
    # Slots that ended before the first sample are left out: nobody knows of them.
    known = max(0, (knots[0][0] - grid.begin) // grid.width)
    for place, edge in enumerate(edges):
        if place >= known:
            for column, late, early in zip(sums.values(), edge, before, strict=True):
                column[place] = (column[place] or 0) + late - early
        before = edge


def _edges(knots: Sequence[tuple[int, Sums]], grid: Grid) -> Iterator[Sums]:
    """The counters where the first slot begins and where each ends."""
    (at, counts), *rest = knots
    later = iter(rest)
    after = next(later, None)
    for border in range(grid.begin, grid.begin + (grid.slots + 1) * grid.width, grid.width):
        while after is not None and after[0] <= border:
            (at, counts), after = after, next(later, None)
        yield counts if after is None or border <= at or after[1] is counts else _between(at, counts, after, border)


def _between(at: int, counts: Sums, after: tuple[int, Sums], border: int) -> Sums:
    share = (border - at) / (after[0] - at)
    return Sums._make([early + round(share * (late - early)) for early, late in zip(counts, after[1], strict=True)])


def _waits(samples: Sequence[Sample], grid: Grid) -> list[_Wait | None]:
    """What waited in each slot."""
    found: list[_Wait | None] = []
    at, last = 0, None
    for begin in grid.starts:
        end, highest = begin + grid.width, None
        while at < len(samples) and samples[at].slot < end:
            last, at = samples[at], at + 1
            if last.slot >= begin:
                highest = last.highest if highest is None else Waits(*map(max, highest, last.highest))
        found.append(None if last is None else _wait(last, highest or _later(last, end)))
    return found


def _later(sample: Sample, at: int) -> Waits:
    """What waits at a later moment, when nothing has happened since."""
    age = sample.waits.age_ms
    return sample.waits if age < 0 else sample.waits._replace(age_ms=age + max(0, at - sample.at))


def _wait(last: Sample, highest: Waits) -> _Wait:
    return _Wait(*highest, last.rate, last.waits.queued + last.waits.in_flight)


def _count(samples: Sequence[Sample], grid: Grid, tallies: dict[str, list[int]]) -> None:
    for sample in samples:
        place = (sample.slot - grid.begin) // grid.width
        if 0 <= place < grid.slots:
            for name, count in sample.tallies.items():
                if name in tallies:
                    tallies[name][place] += count
