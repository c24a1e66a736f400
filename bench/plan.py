"""How much is measured: enough for a figure, or only so much as shows that the benchmark works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run; every `…events` and `…jobs` counts those of one trial, `…_s` are seconds."""

    rounds: int
    """Of enqueueing and delivering, where ratios are judged."""
    few_rounds: int
    """Of what takes longer."""
    warm_rounds: int
    """Go first, and are not counted."""
    warm: int
    """Calls before the clock starts, in the same process."""
    enqueue_events: int
    sdk_events: int
    jobs: int
    paced_rate: int
    """Events a second of a bot whose calls are timed."""
    paced_s: float
    drain_events: int
    slow_events: int
    """Delivered to the sink that takes 100 ms."""
    arrival_rate: int
    arrival_s: float
    queued_events: int
    single_events: int
    """Queued in record batches of one."""
    backlog_events: int
    """Drained while the worker's memory is watched."""
    remembered_ids: int
    claimed_events: int
    """Claimed while Redis' time for it is looked at, once the ids above are remembered."""
    sources: int
    busy_sources: int
    rest_s: float
    busy_s: float
    gateway_s: float
    """For which the gateway is under load, each way."""
    starts: int
    imports: int
    steady: tuple[float, float] = (0.1, 0.95)
    """The part of a delivery that is measured: its start and its end are left out."""


FULL = Plan(
    rounds=5,
    few_rounds=3,
    warm_rounds=1,
    warm=500,
    enqueue_events=60_000,
    sdk_events=20_000,
    jobs=1_000,
    paced_rate=2_000,
    paced_s=6.0,
    drain_events=300_000,
    slow_events=300_000,
    arrival_rate=1_000,
    arrival_s=10.0,
    queued_events=100_000,
    single_events=10_000,
    backlog_events=3_000_000,
    remembered_ids=5_000_000,
    claimed_events=200_000,
    sources=1_000,
    busy_sources=10,
    rest_s=60.0,
    busy_s=20.0,
    gateway_s=5.0,
    starts=5,
    imports=9,
)
QUICK = Plan(
    rounds=1,
    few_rounds=1,
    warm_rounds=0,
    warm=50,
    enqueue_events=2_000,
    sdk_events=1_000,
    jobs=50,
    paced_rate=1_000,
    paced_s=0.3,
    drain_events=20_000,
    slow_events=40_000,
    arrival_rate=500,
    arrival_s=0.5,
    queued_events=1_000,
    single_events=200,
    backlog_events=20_000,
    remembered_ids=30_000,
    claimed_events=2_000,
    sources=10,
    busy_sources=3,
    rest_s=1.0,
    busy_s=1.0,
    gateway_s=0.3,
    starts=1,
    imports=1,
    steady=(0.0, 1.0),  # So few events may be delivered between two looks.
)
