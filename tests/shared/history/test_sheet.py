"""Sheets: the same figures as by the rules' word, whatever is laid on them in whatever parts."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.history.samples import Sample, Sums, Waits
from pombo.shared.history.series import Grid
from pombo.shared.history.sheet import Sheet, lay
from shared.history.plain import counted, waited

GRID = Grid(600_000, 10_000, 12)


@st.composite
def taken(draw: st.DrawFn) -> list[Sample]:
    """One source's samples, at most one a slot, from before the grid to its end."""
    slots = sorted(draw(st.sets(st.integers(40, 71), max_size=12)))
    found: list[Sample] = []
    sums: tuple[int, ...] = (0, 0, 0, 0)
    for slot in slots:
        sums = tuple(count + draw(st.integers(-3, 40)) for count in sums)
        waits = Waits(draw(st.integers(0, 9)), draw(st.integers(0, 9)), draw(st.sampled_from([-1, 0, 7, 60_000])))
        highest = Waits(*(one + draw(st.integers(0, 5)) for one in waits))
        at = slot * 10_000 + draw(st.integers(0, 9999))
        rate = draw(st.sampled_from([0, 12.5, 1000]))
        tallies = draw(st.dictionaries(st.sampled_from(["2xx", "retries", "b3", "unheard-of"]), st.integers(1, 9)))
        found.append(Sample(slot * 10_000, at, Sums(*sums), waits, highest, rate, tallies))
    return found


sources = st.lists(taken(), min_size=1, max_size=4)


@given(sources)
def test_the_figures_are_those_of_the_rules(some: Sequence[Sequence[Sample]]) -> None:
    """Counters, what waited, and since when anybody knows, of several sources summed."""
    series = lay(some, GRID)
    by_source = [counted(samples, GRID) for samples in some]
    for place, name in enumerate(Sums._fields):
        expected = [_sum([one and one[place] for one in column]) for column in zip(*by_source, strict=True)]
        assert expected == getattr(series, name)
    slots = zip(*(waited(samples, GRID) for samples in some), strict=True)
    waits = [[one for one in column if one] for column in slots]
    for place, column in enumerate([series.queued, series.in_flight]):
        assert [_sum([one[place] for one in known]) for known in waits] == column
    assert [_sum([one[4] for one in known]) for known in waits] == series.backlog
    ages = [max((one[2] for one in known), default=-1) for known in waits]
    assert [None if age < 0 else age / 1000 for age in ages] == series.oldest_age_s
    rates = [sum(one[3] for one in known) if all(one[3] for one in known) else 0 for known in waits]
    assert [rate or None for rate in rates] == series.rate_limit
    sent = [sum(s.tallies.get("2xx", 0) for samples in some for s in samples if s.slot == at) for at in GRID.starts]
    assert sent == series.requests["2xx"]


@given(sources, st.integers(40, 71), st.integers(0, 31))
def test_parts_add_up_to_the_whole(some: Sequence[Sequence[Sample]], cut: int, back: int) -> None:
    """What was laid before, on a grid that has moved on since, and what is laid behind it on another sheet."""
    grid = GRID._replace(begin=GRID.begin - back * GRID.width)
    base, cut = Sheet(grid), min(cut, grid.begin // grid.width + grid.slots)
    for samples in some:
        if early := [sample for sample in samples if sample.slot < cut * 10_000]:
            base.add(early)
    base.move(GRID)
    top = Sheet(GRID)
    for samples in some:
        before = next((sample for sample in reversed(samples) if sample.slot < cut * 10_000), None)
        late = [sample for sample in samples if sample.slot >= cut * 10_000]
        if late:
            top.add(late, before)
        if samples:
            top.stay(samples[-1])
    assert lay(some, GRID) == base.plus(top).series


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
