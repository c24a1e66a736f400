"""The capacity model: its arithmetic, and its page."""

import pytest
from bench.capacity import EXAMPLES, Costs, Load, needs, page, size

COSTS = Costs(
    delivery_us=5, delivery_server_us=3, request_ms=1.5, request_server_ms=0.2, enqueue_server_us=1, queued_bytes=50,
    lone_bytes=140, id_bytes=9, worker_bytes=80e6,
)  # fmt: skip
MEDIANS = {
    "delivery_cpu": 5.0, "delivery_server_cpu": 3.0, "request_cpu": 1.5, "request_server_cpu": 0.2,
    "enqueue_server_cpu": 1.0, "queued_full": 50.0, "queued_single": 140.0, "remembered": 9.0, "rss_peak": 80.0,
    "delivery_rate": 150_000.0, "crew_rate": 140_000.0, "slow_rate": 60_000.0, "slow_request_events": 1000.0,
}  # fmt: skip


def test_costs_are_the_figures_of_the_benchmarks() -> None:
    """Each cost is a figure's median, in the model's units."""
    assert COSTS == Costs.of(MEDIANS)
    with pytest.raises(KeyError):
        Costs.of({})


@pytest.mark.parametrize(
    ("load", "requests"),
    [(Load(10, 1), 10), (Load(1000, 1), 80), (Load(1000, 1, partitions=2), 20), (Load(1000, 10, latency_s=1), 80)],
)
def test_requests(load: Load, requests: float) -> None:
    """A partition has one request under way at most, and none without an event."""
    assert requests == pytest.approx(load.requests)


def test_needs() -> None:
    """Requests and events are paid for, ids are kept for a window and a half, an hour waits in the queue."""
    found = needs(Load(1000, 1, window_s=1000), COSTS)
    assert 80 * 0.0015 + 1000 * 5e-6 == pytest.approx(found.worker_cores)
    assert 80 * 0.0002 + 1000 * 4e-6 == pytest.approx(found.server_cores)
    assert (1000 * 1500 * 9, 1000 * 3600 * 50) == (found.id_bytes, found.queue_bytes)
    assert (1, 1, 12.5) == (found.workers, found.nodes, found.request_events)


def test_a_source_has_one_node() -> None:
    """However much one source needs, more nodes than sources are of no use."""
    assert 1 == needs(Load(10_000_000, 1), COSTS).nodes
    assert 1 < needs(Load(10_000_000, 1000), COSTS).nodes


def test_the_page_has_every_example() -> None:
    """Each worked example is a row, and the model stands beside what was measured."""
    told = page(COSTS, MEDIANS, {"made_at": "2026-01-01", "machine": "a machine"})
    assert len(EXAMPLES) == sum(told.count(f"\n| {name} |") for name in {name for name, _ in EXAMPLES})
    assert "| two processes, with Redis on the same 2 cores | 250,000 events/s | 140,000 events/s |" in told


@pytest.mark.parametrize(("count", "told"), [(12, "12.0 B"), (999_000, "999 kB"), (2e9, "2 GB"), (3e15, "3,000 TB")])
def test_sizes(count: float, told: str) -> None:
    """Bytes are told in the unit that fits."""
    assert told == size(count)
