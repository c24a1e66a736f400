"""Which worker holds which partition."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.assignment import assign

_names = st.text(st.characters(codec="utf-8"), max_size=6)
_partitions = st.builds("{}/{}".format, st.sampled_from(["a", "b", "source"]), st.integers(0, 63))


def partitions(count: int, source: str = "bot") -> list[str]:
    return [f"{source}/{number}" for number in range(count)]


def workers(count: int) -> list[str]:
    return [f"host-{number}-abc{number}" for number in range(count)]


def moves(before: dict[str, str], after: dict[str, str]) -> int:
    """Partitions that changed hands."""
    return sum(after[partition] != owner for partition, owner in before.items() if partition in after)


def test_nobody_gets_anything_without_workers() -> None:
    """Without workers nothing is assigned, and nothing fails."""
    assert {} == assign(partitions(8), [])
    assert {} == assign([], workers(3))


@settings(deadline=None)
@given(st.lists(_partitions), st.lists(_names, min_size=1, max_size=12))
def test_assignment_is_total_and_level(wanted: list[str], names: list[str]) -> None:
    """Every partition has one of the workers, and their counts differ by one at most."""
    owners = assign(wanted, names)
    assert set(wanted) == owners.keys()
    assert set(owners.values()) <= set(names)
    counts = {name: [*owners.values()].count(name) for name in names}
    assert max(counts.values()) - min(counts.values()) <= 1


@settings(deadline=None)
@given(
    st.lists(_partitions, max_size=40),
    st.lists(_names, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_and_repeats_of_the_input_do_not_matter(wanted: list[str], names: list[str], rng: Random) -> None:
    """Two workers that list the same sets in other orders come to the same answer."""
    shuffled, others = wanted + wanted[:3], names + names[:2]
    rng.shuffle(shuffled)
    rng.shuffle(others)
    assert assign(wanted, names) == assign(iter(shuffled), iter(others))


def test_assignment_is_the_same_in_every_process() -> None:
    """No hash depends on the process: pinned, so that old and new workers agree during an upgrade."""
    assert {"bot/0": "w3", "bot/1": "w2", "bot/2": "w3", "bot/3": "w1"} == assign(partitions(4), ["w1", "w2", "w3"])


@pytest.mark.parametrize(("count", "fleet"), [(8, 2), (64, 5), (64, 7), (256, 10), (256, 40)])
def test_few_move_when_a_worker_comes(count: int, fleet: int) -> None:
    """A newcomer takes its share; level counts cost as much again, and more only where a share is tiny."""
    total = 0
    for trial in range(20):
        wanted, names = partitions(count, f"s{trial}"), [f"{name}-{trial}" for name in workers(fleet + 1)]
        total += moves(assign(wanted, names[:-1]), assign(wanted, names))
    share = count / (fleet + 1)
    assert share * 0.7 <= total / 20 <= (2 if share > 8 else 4) * share + 1


@pytest.mark.parametrize(("count", "fleet"), [(8, 2), (64, 5), (64, 7), (256, 10), (256, 40)])
def test_few_move_when_a_worker_goes(count: int, fleet: int) -> None:
    """What the one that left had held moves; little else does."""
    total = 0
    for trial in range(20):
        wanted, names = partitions(count, f"s{trial}"), [f"{name}-{trial}" for name in workers(fleet)]
        before, after = assign(wanted, names), assign(wanted, names[:-1])
        total += sum(owner != after[partition] for partition, owner in before.items() if owner != names[-1])
    share = count / fleet
    assert total / 20 <= (1 if share > 8 else 3) * share + 1


def test_few_move_when_a_partition_becomes_active() -> None:
    """A partition more or less disturbs few of the others."""
    total = 0
    for extra in range(64, 96):
        wanted = partitions(extra + 1)
        total += moves(assign(wanted[:-1], workers(6)), assign(wanted, workers(6)))
    assert total / 32 <= 6


def test_sources_spread_over_all_workers() -> None:
    """Many sources with one partition each are shared out as evenly as one source with many."""
    owners = assign([f"source-{number}/0" for number in range(90)], workers(9))
    assert {10} == set(Counter(owners.values()).values())
