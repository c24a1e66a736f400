"""Samples laid on slots: nothing counted is lost or made up, wherever samples were taken."""

from collections.abc import Sequence
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.history.samples import LATENCY_S, Sample, Sums, Waits
from pombo.shared.history.series import Grid, quantile
from pombo.shared.history.sheet import lay

NOON = 1_767_268_800_000
GRID = Grid(NOON, 10_000, 6)


def sample(second: float, accepted: int = 0, *, queued: int = 0, age_s: float = -0.001, **more: object) -> Sample:
    """A sample taken `second` s after noon; what was accepted and does not wait was delivered."""
    at = NOON + round(second * 1000)
    waits = Waits(queued, 0, round(age_s * 1000))
    given: dict[str, object] = {"highest": waits, **more}
    return Sample(at - at % 10_000, at, Sums(accepted, accepted - queued), waits, **given)  # type: ignore[arg-type]


def test_the_present_slot_is_the_last() -> None:
    """A span ends with the slot of this moment, and begins at a whole one."""
    grid = Grid.until(NOON + 3, "15m")
    assert (90, NOON, NOON - 890_000) == (len(grid.starts), grid.starts[-1], grid.starts[0])
    day = Grid.until(NOON + 299_999, "24h")
    assert (288, NOON, 300_000) == (len(day.starts), day.starts[-1], day.width)


def test_what_was_counted_lies_where_it_was() -> None:
    """Between two samples counters run evenly, so a slot has its share of what was counted across its edge."""
    series = lay([[sample(5), sample(15, 100), sample(25, 100)]], GRID)
    assert [50, 50, 0, 0, 0, 0] == series.accepted
    assert series.accepted == series.delivered


def test_before_the_first_sample_nobody_knows() -> None:
    """Slots before anything was seen have no value: a chart shows a gap there, and no zero."""
    series = lay([[sample(22, 7), sample(32, 9)]], GRID)
    assert [None, None, 2, 0, 0, 0] == [series.accepted[0], series.accepted[1], *series.accepted[2:]]
    assert [None, None, 0, 0, 0, 0] == series.queued
    assert [None] * 6 == lay([[]], GRID).accepted


def test_after_a_rest_all_is_new() -> None:
    """A source that nobody sampled had nothing to tell: what its next sample counts came within one slot before it."""
    series = lay([[sample(-600), sample(55, 30)]], GRID)
    assert [0, 0, 0, 0, 15, 15] == series.accepted


def test_what_waits_stays_as_it_was() -> None:
    """Without a sample what waits is what waited last, and grows older; with some it is the highest."""
    highest = {"highest": Waits(9, 0, 2000)}
    series = lay([[sample(2, 5, queued=5, age_s=1), sample(12, 5, queued=3, age_s=1, **highest)]], GRID)
    assert [5, 9, 3, 3, 3, 3] == series.queued
    assert [1, 2, 19, 29, 39, 49] == series.oldest_age_s
    assert [5, 3, 3, 3, 3, 3] == series.backlog


def test_a_counter_that_fell_adds_nothing() -> None:
    """When an older state of Redis came back, the chart shows no negative events, and goes on from there."""
    series = lay([[sample(0, 100), sample(10, 40), sample(20, 60)]], GRID)
    assert [0, 20, 0, 0, 0, 0] == series.accepted


def test_several_sources_are_summed() -> None:
    """Counters and tallies add up, the oldest age is the highest; who has no limit leaves the sum without one."""
    one = [sample(0), sample(10, 10, queued=4, age_s=3, rate=100, tallies={"2xx": 2, "b3": 1})]
    two = [sample(0), sample(10, 6, queued=1, age_s=7, rate=50, tallies={"2xx": 1, "429": 1, "retries": 1})]
    series = lay([one, two], GRID)
    assert (16, 5, 7, 150) == (series.accepted[0], series.queued[1], series.oldest_age_s[1], series.rate_limit[1])
    assert (3, 1, 1) == (series.requests["2xx"][1], series.requests["429"][1], series.retries[1])
    free = [sample(0), sample(10, rate=0)]
    assert lay([one, free], GRID).rate_limit[1] is None


@given(
    st.lists(st.tuples(st.integers(1, 14_000), st.integers(0, 10_000)), min_size=2, max_size=20),
    st.integers(-30_000, 30_000),
)
def test_all_slots_together_have_what_was_counted(steps: Sequence[tuple[int, int]], begin: int) -> None:
    """Whenever samples are taken, the slots' sum is what the counters moved by between the edges."""
    moments = [NOON + begin + after for after in accumulate(step for step, _ in steps)]
    counts = [*accumulate(by for _, by in steps)]
    samples = [sample((at - NOON) / 1000, count) for at, count in zip(moments, counts, strict=True)]
    grid = Grid(NOON - 60_000, 10_000, 60)
    found = lay([samples], grid).accepted
    assert counts[-1] - counts[0] == sum(filter(None, found))
    assert all(count is None or count >= 0 for count in found)


@given(st.lists(st.lists(st.integers(0, 1000), min_size=6, max_size=6), min_size=1, max_size=4))
def test_order_of_sources_does_not_matter(all_counts: list[list[int]]) -> None:
    """Merging is a sum: whichever source comes first."""
    sources = [[sample(3 + 10 * place, sum(counts[: place + 1])) for place in range(6)] for counts in all_counts]
    assert lay(sources, GRID) == lay(sources[::-1], GRID)


def test_quantiles_are_those_of_a_histogram() -> None:
    """Within a class values lie evenly; beyond the last bound only that is known; of nothing there is none."""
    counts = [0] * (len(LATENCY_S) + 1)
    assert quantile(counts, 0.5) is None
    counts[LATENCY_S.index(1)] = 10  # 0.5 to 1 s
    assert (0.75, 1) == (quantile(counts, 0.5), quantile(counts, 1))
    counts[-1] = 90
    assert LATENCY_S[-1] == quantile(counts, 0.99)


@given(st.lists(st.integers(0, 50), min_size=len(LATENCY_S) + 1, max_size=len(LATENCY_S) + 1), st.floats(0.01, 1))
def test_a_quantile_is_in_the_class_that_holds_it(counts: list[int], share: float) -> None:
    """At most that share of what was counted is in classes wholly below it, at least that share in those up to it."""
    found = quantile(counts, share)
    if found is None:
        assert sum(counts) == 0
        return
    upper = [*LATENCY_S, float("inf")]
    below = sum(count for count, bound in zip(counts, upper, strict=True) if bound < found)
    lower = [0.0, *LATENCY_S]
    upto = sum(count for count, bound in zip(counts, lower, strict=True) if bound <= found)
    wanted = share * sum(counts)
    assert below <= wanted + 1e-9
    assert upto >= wanted - 1e-9
