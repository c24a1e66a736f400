"""How much is measured: enough for a figure, or only so much as shows that the benchmark works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run; every `…events` and `…jobs` counts those of one trial."""

    rounds: int
    warm_rounds: int
    """Go first, and are not counted."""
    warm: int
    """Calls before the clock starts, in the same process."""
    enqueue_events: int
    sdk_events: int
    rq_jobs: int
    drain_events: int
    single_events: int
    """Queued in record batches of one."""
    backlogs: tuple[int, int, int]
    """A worker's memory is looked at with these; remembered ids are counted after the last."""


FULL = Plan(
    rounds=7,
    warm_rounds=1,
    warm=500,
    enqueue_events=30_000,
    sdk_events=20_000,
    rq_jobs=1_000,
    drain_events=200_000,
    single_events=10_000,
    backlogs=(10_000, 100_000, 1_000_000),
)
QUICK = Plan(
    rounds=1,
    warm_rounds=0,
    warm=50,
    enqueue_events=2_000,
    sdk_events=1_000,
    rq_jobs=50,
    drain_events=2_000,
    single_events=200,
    backlogs=(500, 1_000, 2_000),
)
