"""Dashboard *Fleet and Redis*: what the sources run on."""

from typing import Final

from pombo.ops.dashboards import parts
from pombo.ops.dashboards.grafana import Dashboard, Panel, Query, Row

_RATE: Final = "$__rate_interval"
_EACH: Final = "{{instance}}"
_LAGS: Final = f"sum by (instance, le) (rate(pombo_loop_lag_seconds_bucket[{_RATE}]))"
_ENQUEUED: Final = f"sum by (job, le) (rate(pombo_enqueue_seconds_bucket[{_RATE}]))"


def _worker(name: str) -> str:
    return f"sum by (instance) (pombo_worker_{name})"


def _switch(title: str, about: str, expr: str, *, off: str, on: str) -> Panel:
    words = {0: (off, "red"), 1: (on, "green")}
    return Panel(title, about, "short", [Query(expr)], kind="stat", width=6, height=4, words=words)


_WORKERS: Final = [
    Panel(
        "Workers", "Processes whose beat moved lately.", "short", [Query("max(pombo_workers)", "workers")], width=6,
        console="/workers",
    ),
    Panel(
        "CPU", "Processors in use by each worker; one process uses one at most.", "short",
        [Query(f"sum by (instance) (rate(pombo_worker_cpu_seconds_total[{_RATE}]))", _EACH)], width=6,
    ),
    Panel("Memory", "Resident, of each worker.", "bytes", [Query(_worker("resident_bytes"), _EACH)], width=6),
    Panel(
        "Events in memory", "Share of what a worker may hold; at 100 % it reads nothing ahead.", "percentunit",
        [Query(f"{_worker('buffer_bytes')} / {_worker('buffer_limit_bytes')}", _EACH)], width=6,
    ),
    Panel(
        "Lateness of the loop, p99", "By how much a worker wakes up late. Seconds of it cost it its partitions.", "s",
        [Query(f"histogram_quantile(0.99, {_LAGS})", _EACH)],
        width=6, steps=((None, "green"), (0.5, "red")),
    ),
    Panel(
        "Partitions taken over", "In five minutes, from workers that fell silent.", "short",
        [Query("sum by (instance) (increase(pombo_lease_takeovers_total[5m]))", _EACH)], width=6,
    ),
    Panel(
        "Partitions without a worker", "They hold events and nobody delivers them.", "short",
        [Query("max by (source) (pombo_partitions_unowned)", "{{source}}")], width=6,
    ),
    Panel(
        "Versions", "Workers by their version of pombo.", "short",
        [Query("count by (version) (pombo_build_info)", "{{version}}")], width=6, stacked=True,
    ),
]  # fmt: skip
_REDIS: Final = [
    _switch("Redis", "Whether it answers.", "min(pombo_redis_up)", off="away", on="answers"),
    _switch(
        "Append-only file", "Whether what is acknowledged is written to a file.", "min(pombo_redis_append_only)",
        off="off", on="on",
    ),
    _switch(
        "Last write", "Of its files and snapshots.", "min(pombo_redis_last_write_ok)", off="failed", on="well",
    ),
    Panel(
        "Losses noted", "Events that Redis lost, and times that it was emptied or older, until acknowledged.", "short",
        [Query("sum(max by (source) (pombo_lost_events)) + max(pombo_losses_noted)")], kind="stat", width=6, height=4,
        steps=parts.NONE_IS_GOOD,
    ),
    Panel(
        "Memory against maxmemory", "When it is full, events are refused; 0 is no limit.", "bytes",
        [Query("max(pombo_redis_memory_bytes)", "used"), Query("max(pombo_redis_memory_limit_bytes)", "limit")],
    ),
    Panel(
        "Commands", "A second.", "ops", [Query(f"max(rate(pombo_redis_commands_total[{_RATE}]))", "commands")],
    ),
    Panel(
        "Round trip", "Of one PING at each scrape.", "s", [Query("max(pombo_redis_round_trip_seconds)", "round trip")],
    ),
    Panel(
        "Failed commands", "A second, as workers saw them, by what they were for.", "ops",
        [Query(f"sum by (operation) (rate(pombo_redis_errors_total[{_RATE}]))", "{{operation}}")], stacked=True,
    ),
    Panel(
        "Evictions", "Keys thrown away in five minutes: each may be events.", "short",
        [Query("max(increase(pombo_redis_evicted_keys_total[5m]))", "keys")], steps=parts.NONE_IS_GOOD,
    ),
    Panel("Connections", "To Redis.", "short", [Query("max(pombo_redis_clients)", "connections")]),
]  # fmt: skip
_PRODUCERS: Final = [
    Panel(
        "Enqueueing", "From an event's entry into a producer until it is durable.", "s",
        [
            Query(f"histogram_quantile({share}, {_ENQUEUED})", legend)
            for share, legend in ((0.5, "{{job}} p50"), (0.99, "{{job}} p99"))
        ],
        width=6,
    ),
    Panel(
        "The gateway's answers", "Requests a second by status; 499: the client went away.", "reqps",
        [Query(f"sum by (status) (rate(pombo_gateway_requests_total[{_RATE}]))", "{{status}}")], width=6, stacked=True,
    ),
    Panel(
        "Refused events", "A second, by reason; who sent them was told.", "eps",
        [Query(f"sum by (reason) (rate(pombo_rejected_events_total[{_RATE}]))", "{{reason}}")], width=6, stacked=True,
    ),
    Panel(
        "Age of the spool", "How long the oldest event has waited on a disk for Redis.", "s",
        [Query("max by (instance) (pombo_spool_age_seconds)", _EACH)], width=6, steps=parts.LATE,
    ),
    Panel(
        "Events in spools", "On the disks of gateways and bots.", "short",
        [Query("max by (instance) (pombo_spooled_events)", _EACH)], width=12,
    ),
    Panel(
        "Bytes in spools", "Of 1 GiB a folder, unless a producer's spool_bytes says otherwise.", "bytes",
        [Query("max by (instance) (pombo_spooled_bytes)", _EACH)], width=12,
    ),
]  # fmt: skip
_JOBS: Final = [
    Panel(
        "Jobs", "Redrives, exports and others by state; failed ones are kept for a week.", "short",
        [Query("max by (state) (pombo_jobs)", "{{state}}")], width=12, stacked=True, console="/jobs",
    ),
    Panel("Job workers", "Processes that run them.", "short", [Query("max(pombo_job_workers)", "workers")], width=6),
    Panel(
        "Scrapes", "Targets that answer Prometheus, by job.", "short",
        [Query('sum by (job) (up{job=~"pombo-.+"})', "{{job}}")], width=6,
    ),
]  # fmt: skip

FLEET: Final = Dashboard(
    "pombo-fleet",
    "pombo: Fleet and Redis",
    "What the sources run on: workers, Redis, producers, jobs.",
    [Row("Workers", _WORKERS), Row("Redis", _REDIS), Row("Producers", _PRODUCERS), Row("Jobs and scrapes", _JOBS)],
    sources="none",
)
