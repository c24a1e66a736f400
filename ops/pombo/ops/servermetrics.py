"""Metrics of what is under the installation: the server, and the queue of jobs."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from redis.asyncio import Redis

from pombo.ops.jobcount import failed_of
from pombo.shared.connection import connect, jobs_url, primaries
from pombo.shared.settings import Settings
from pombo.worker.jobs import queue, worker_count


@dataclass(frozen=True, slots=True)
class ServerReading:
    """The servers that hold data, read at one moment; of several in a cluster the worst, or the sum."""

    seconds: float
    """A round trip to the slowest."""
    memory: int
    """Bytes used, of the fullest."""
    memory_limit: int
    """`maxmemory` of the same, bytes; 0 is no limit."""
    evicted: int
    commands: int
    clients: int
    appends: bool
    """Whether all write what they acknowledge to a file."""
    writes_well: bool
    """Whether the last write of all to their files succeeded."""


async def read_server(redis: Redis) -> ServerReading:
    """Ask each server for its state; raises what the client raises."""
    infos, slowest = [], 0.0
    for server in await primaries(redis):
        begun = time.monotonic()
        await server.ping()
        slowest = max(slowest, time.monotonic() - begun)
        infos.append(await server.info())
    return digest(infos, slowest)


def digest(infos: list[dict[str, Any]], seconds: float) -> ServerReading:
    """The reading of what servers answered to INFO."""

    def total(name: str) -> int:
        return sum(int(info.get(name, 0)) for info in infos)

    fullest = max(infos, key=_fullness)
    return ServerReading(
        seconds, int(fullest.get("used_memory", 0)), int(fullest.get("maxmemory", 0)),
        total("evicted_keys"), total("total_commands_processed"), total("connected_clients"),
        appends=all(info.get("aof_enabled") for info in infos),
        writes_well=all(info.get(f"{kind}_status", "ok") == "ok" for info in infos for kind in _WRITES),
    )  # fmt: skip


_WRITES: Final = ("aof_last_write", "aof_last_bgrewrite", "rdb_last_bgsave")


def _fullness(info: Mapping[str, Any]) -> float:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    return used / limit if limit else 0.0


def server_families(up: bool | None, reading: ServerReading | None) -> Iterator[Metric]:
    """The families of the server; `up` None: without values, and without a reading only whether it answers."""
    answers = GaugeMetricFamily("pombo_redis_up", "1 while Redis answers; else 0, and nothing else is shown.")
    if up is not None:
        answers.add_metric([], int(up))
    yield answers
    for name, text, value in _GAUGES:
        gauge = GaugeMetricFamily(name, text)
        if reading is not None:
            gauge.add_metric([], value(reading))
        yield gauge
    for name, text, count in _COUNTERS:
        counter = CounterMetricFamily(name, text)
        if reading is not None:
            counter.add_metric([], count(reading))
        yield counter


_GAUGES: Final[Sequence[tuple[str, str, Callable[[ServerReading], float]]]] = (
    ("pombo_redis_round_trip_seconds", "Seconds of one PING at this scrape.", lambda r: r.seconds),
    ("pombo_redis_memory_bytes", "Memory that Redis uses; of a cluster's servers the fullest.", lambda r: r.memory),
    ("pombo_redis_memory_limit_bytes", "Its maxmemory; 0 is no limit.", lambda r: r.memory_limit),
    ("pombo_redis_clients", "Connections to Redis.", lambda r: r.clients),
    ("pombo_redis_append_only", "1 if Redis appends what it acknowledges to a file.", lambda r: int(r.appends)),
    (
        "pombo_redis_last_write_ok",
        "1 if the last write, rewrite and snapshot of its files succeeded.",
        lambda r: int(r.writes_well),
    ),
)
_COUNTERS: Final[Sequence[tuple[str, str, Callable[[ServerReading], float]]]] = (
    ("pombo_redis_commands", "Commands that Redis has run.", lambda r: r.commands),
    ("pombo_redis_evicted_keys", "Keys that Redis forgot to have room; each may be events.", lambda r: r.evicted),
)


@dataclass(frozen=True, slots=True)
class JobsReading:
    """The queue of jobs at one moment."""

    by_state: Mapping[str, int]
    workers: int


def read_jobs(settings: Settings) -> JobsReading:
    """Count jobs by state, as RQ's registries have them; blocking.

    Raises:
        ConfigurationError: no Redis for jobs is configured where a cluster holds the events.
        RedisError: it is away.
    """
    with connect(jobs_url(settings)) as connection:
        jobs = queue(connection, settings.namespace)
        counts = {
            "queued": jobs.count,
            "running": connection.zcard(jobs.started_job_registry.key),
            "scheduled": connection.zcard(jobs.scheduled_job_registry.key),
            "failed": failed_of(connection, jobs.failed_job_registry.get_job_ids(cleanup=False)),
        }
        return JobsReading({state: int(count) for state, count in counts.items()}, worker_count(jobs))


def jobs_families(reading: JobsReading | None) -> Iterator[Metric]:
    """The families of the jobs; without values when there is no reading."""
    jobs = GaugeMetricFamily("pombo_jobs", "Jobs by state; failed ones are kept for a week.", labels=["state"])
    workers = GaugeMetricFamily("pombo_job_workers", "Processes that run jobs.")
    if reading is not None:
        for state, count in reading.by_state.items():
            jobs.add_metric([state], count)
        workers.add_metric([], reading.workers)
    yield from (jobs, workers)
