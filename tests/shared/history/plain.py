"""The charts' rules word for word, slot by slot and slowly: what the sheet's figures have to be."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pombo.shared.history.samples import Sample, Sums
from pombo.shared.history.series import Grid
from pombo.shared.history.sheet import GAP


def counted(samples: Sequence[Sample], grid: Grid) -> list[Sums | None]:
    """What one source's counters moved by in each slot; None before its first sample."""
    known = [sample for place, sample in enumerate(samples) if not any(s.at > sample.at for s in samples[:place])]
    if not known:
        return [None] * grid.slots
    edges = [_at(known, grid.begin + number * grid.width, grid.width) for number in range(grid.slots + 1)]
    moved = [Sums._make(b - a for a, b in zip(early, late, strict=True)) for early, late in pairwise(edges)]
    return [None if begin + grid.width <= known[0].at else by for begin, by in zip(grid.starts, moved, strict=True)]


def _at(samples: Sequence[Sample], moment: int, width: int) -> Sums:
    """The counters' rise up to a moment: even between two samples, within a width before one that came after a gap."""
    total = Sums()
    for early, late in pairwise(samples):
        begun = late.at - width if late.at - early.at > GAP * width else early.at
        rise = [max(0, b - a) for a, b in zip(early.sums, late.sums, strict=True)]
        share = 1.0 if moment >= late.at else max(0.0, (moment - begun) / (late.at - begun))
        total = Sums._make(a + round(share * b) for a, b in zip(total, rise, strict=True))
    return total


def waited(samples: Sequence[Sample], grid: Grid) -> list[tuple[int, int, int, float, int] | None]:
    """What waited of one source in each slot: queued, in flight, age in ms, rate, and the backlog at its end."""
    found: list[Any] = []
    for begin in grid.starts:
        end = begin + grid.width
        before = [sample for sample in samples if sample.slot < end]
        within = [sample.highest for sample in before if sample.slot >= begin]
        if not before:
            found.append(None)
            continue
        last = before[-1]
        age = last.waits.age_ms + max(0, end - last.at) if last.waits.age_ms >= 0 else -1
        queued, in_flight, age = [*map(max, *within, within[0])] if within else (*last.waits[:2], age)
        found.append((queued, in_flight, age, last.rate, last.waits.queued + last.waits.in_flight))
    return found
