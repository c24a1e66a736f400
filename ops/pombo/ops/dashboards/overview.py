"""Dashboard *Overview*: whether all is well, and if not, where."""

from typing import Final

from pombo.ops.dashboards import parts
from pombo.ops.dashboards.grafana import Dashboard, Panel, Query, Row
from pombo.ops.dashboards.parts import MINE

_ALERTS: Final = Panel(
    "Alerts that fire",
    "Each has its section in the runbook.",
    "short",
    [Query('ALERTS{alertname=~"Pombo.+", alertstate="firing"}')],
    kind="table",
    width=24,
    height=6,
)
_QUEUED: Final = Panel(
    "Events that wait",
    "In Redis, not yet claimed by a worker.",
    "short",
    [Query(f"max by (source) (pombo_queue_events{MINE})", "{{source}}")],
    width=6,
    stacked=True,
    console="/",
)
_CLASSES: Final = Panel(
    "Segment's answers",
    "Requests a second by the class of their status; error where no answer came.",
    "reqps",
    [Query(f"sum by (class) (source_class:pombo_requests:rate1m{MINE})", "{{class}}")],
    width=6,
    stacked=True,
)
_SLOW: Final = Panel(
    "Segment's answer time, p95",
    "From a request's first byte to its answer.",
    "s",
    [Query(f"source:pombo_request_seconds:p95_5m{MINE}", "{{source}}")],
    width=6,
)
_LETTERS: Final = Panel(
    "Dead letters held",
    "What waits for a redrive or a discard, by source; the console groups them by fingerprint.",
    "short",
    [Query(f"sum by (source) (max by (source, reason) (pombo_dead_letters{MINE}))", "{{source}}")],
    width=16,
    stacked=True,
    console="/dead",
)


def _stat(
    title: str, about: str, unit: str, expr: str, *, steps: tuple[tuple[float | None, str], ...], to: str = "/"
) -> Panel:
    return Panel(title, about, unit, [Query(expr)], kind="stat", width=4, height=4, steps=steps, console=to)


_WORKERS: Final = _stat(
    "Workers", "Processes whose beat moved lately.", "short", "max(pombo_workers)",
    steps=((None, "red"), (1, "green")), to="/workers",
)  # fmt: skip
_UNOWNED: Final = _stat(
    "Partitions without a worker", "They hold events and nobody delivers them.", "short",
    f"sum(max by (source) (pombo_partitions_unowned{MINE}))", steps=parts.NONE_IS_GOOD, to="/workers",
)  # fmt: skip
_REDIS: Final = _stat(
    "Redis", "1 while it answers.", "short", "min(pombo_redis_up)",
    steps=((None, "red"), (1, "green")),
)  # fmt: skip
_MEMORY: Final = _stat(
    "Redis' memory", "Of its maxmemory; when it is full, events are refused. Nothing without a limit.", "percentunit",
    "max(pombo_redis_memory_bytes / (pombo_redis_memory_limit_bytes > 0))", steps=parts.SHARE,
)  # fmt: skip
_SPOOLED: Final = _stat(
    "Events in spools", "On the disks of gateways and bots, because Redis did not take them.", "short",
    "sum(pombo_spooled_events)", steps=parts.NONE_IS_GOOD,
)  # fmt: skip
_ENQUEUE: Final = _stat(
    "Enqueueing, p99", "From an event's entry into a producer until it is durable.", "s",
    "histogram_quantile(0.99, sum by (le) (rate(pombo_enqueue_seconds_bucket[5m])))",
    steps=((None, "green"), (0.25, "orange"), (0.5, "red")),
)  # fmt: skip

OVERVIEW: Final = Dashboard(
    "pombo-overview",
    "pombo: Overview",
    "Whether all is well, and if not, where: from the promise down to its parts.",
    [
        Row("Is all well", [parts.FRESHNESS, parts.SUCCESS, parts.BUDGET, parts.LEDGER, _ALERTS]),
        Row("Flow", [parts.FLOW, parts.BY_TYPE]),
        Row("Backlog", [_QUEUED, parts.BYTES, parts.AGE, parts.DRAIN]),
        Row("Segment", [parts.TIMELINE, _CLASSES, _SLOW]),
        Row("Dead letters", [parts.DYING, _LETTERS]),
        Row("Workers, Redis, producers", [_WORKERS, _UNOWNED, _REDIS, _MEMORY, _SPOOLED, _ENQUEUE]),
    ],
    sources="many",
)
