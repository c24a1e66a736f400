"""Metrics of the whole installation, read from the ledger and the streams, so that no scrape counts twice."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from pombo.ops.overview import Overview, SourceView, read_overview
from pombo.ops.servermetrics import (
    JobsReading,
    ServerReading,
    jobs_families,
    read_jobs,
    read_server,
    server_families,
)
from pombo.shared.clock import Clock, SystemClock
from pombo.shared.connection import aconnect, redis_url
from pombo.shared.deadletters import REASONS
from pombo.shared.errors import ConfigurationError
from pombo.shared.flow import State
from pombo.shared.logs import get_logger
from pombo.shared.losses import Losses, read_fleet_losses
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from pombo.worker.membership import PACE, Membership, Pace

log = get_logger("pombo.fleet")

STATES: Final[Sequence[str]] = get_args(State)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scrape shows."""

    overview: Overview
    live: Set[str]
    """Ids of the workers that beat."""
    unowned: Mapping[str, int]
    """By source, the partitions with events that no living worker holds."""
    losses: Losses
    """What workers saw Redis lose, beside what sources tell themselves."""
    server: ServerReading
    jobs: JobsReading | None
    """None where jobs have no Redis, or theirs is away."""


class FleetCollector(Collector):
    """Read the installation anew at each scrape; without Redis it shows that alone, and no zeros for the rest.

    Whether a worker lives takes two looks, and scrapes are these: as workers do of each other, it believes
    that one lives until its beat has not moved for 8 s. The first scrape believes it of all, and so does the
    first after Redis was away.
    """

    def __init__(self, settings: Settings, secrets: Secrets, *, clock: Clock | None = None, pace: Pace = PACE) -> None:
        self._settings = settings
        self._secrets = secrets
        self._clock = clock or SystemClock()
        self._membership = Membership(pace)
        self._guard = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """The families without values, so that registering reads nothing."""
        return families(None)

    def collect(self) -> Iterable[Metric]:
        """The families with the values of this moment."""
        try:
            return families(asyncio.run(self._read()))
        except (RedisError, OSError) as error:
            log.warning("fleet.unreadable", error=f"{type(error).__name__}: {error}")
            with self._guard:
                self._membership.excuse(self._clock.monotonic())
            return families(None, up=False)

    async def _read(self) -> Reading:
        redis = aconnect(redis_url(self._settings))
        try:
            keys = self._settings.keys
            snapshot = await Registry(redis, keys, self._secrets).snapshot()
            overview = await read_overview(redis, keys, snapshot)
            live = self._live(overview)
            return Reading(
                overview, live, _unowned(overview, live), await read_fleet_losses(redis, keys),
                await read_server(redis), await asyncio.to_thread(self._jobs),
            )  # fmt: skip
        finally:
            await redis.aclose()

    def _jobs(self) -> JobsReading | None:
        with suppress(ConfigurationError, RedisError, OSError):
            return read_jobs(self._settings)
        return None

    def _live(self, overview: Overview) -> set[str]:
        # Scrapes may overlap, each in a thread of its own.
        with self._guard:
            now = self._clock.monotonic()
            beats = {worker.id: worker.beat for worker in overview.workers}
            self._membership.observe(beats, now)
            return {worker for worker in beats if not self._membership.dead(worker, now)}


def fleet_registry(settings: Settings, secrets: Secrets) -> CollectorRegistry:
    """A registry that shows the installation."""
    registry = CollectorRegistry()
    registry.register(FleetCollector(settings, secrets))
    return registry


def _unowned(overview: Overview, live: Set[str]) -> dict[str, int]:
    """Partitions that hold entries and whose lease is nobody's, or a worker's that does not live."""
    views = overview.sources.items()
    return {name: sum(head.owner not in live for head in view.heads) for name, view in views}


def families(reading: Reading | None, *, up: bool | None = None) -> list[Metric]:
    """Every family of the fleet; without values when there is no reading, but for whether Redis is `up`."""
    views = list(reading.overview.sources.values()) if reading else []
    unowned = _gauge(
        "pombo_partitions_unowned",
        "Partitions that hold events and that no living worker holds.",
        (((name,), count) for name, count in (reading.unowned if reading else {}).items()),
    )
    workers = GaugeMetricFamily("pombo_workers", "Workers whose beat moved lately.")
    noted = GaugeMetricFamily(
        "pombo_losses_noted", "Times that workers saw Redis emptied or older, until acknowledged by an audit."
    )
    if reading:
        workers.add_metric([], len(reading.live))
        noted.add_metric([], len(reading.losses.notes))
    server = server_families(up if reading is None else True, reading.server if reading else None)
    jobs = jobs_families(reading.jobs if reading else None)
    return [*_counters(views), *_gauges(views), unowned, workers, noted, *server, *jobs]


def _counters(views: Sequence[SourceView]) -> Iterator[Metric]:
    yield _counter(
        "pombo_accepted_events",
        "Events accepted into the queue.",
        (((v.name, kind), count) for v in views for kind, count in v.ledger.accepted_by_type.items()),
        ["type"],
    )
    yield _counter(
        "pombo_delivered_events",
        "Events that Segment accepted.",
        (((v.name,), v.ledger.delivered) for v in views),
    )
    yield _counter(
        "pombo_deduplicated_events",
        "Events whose messageId was remembered, and that were not sent.",
        (((v.name,), v.ledger.deduplicated) for v in views),
    )
    yield _counter(
        "pombo_dead_events",
        "Events that became dead letters, ever.",
        # Zeros too: a counter that begins with its first event has no increase to alert on.
        (
            ((v.name, reason), count)
            for v in views
            for reason, count in (dict.fromkeys(REASONS, 0) | dict(v.ledger.died_by_reason)).items()
        ),
        ["reason"],
    )
    yield _counter(
        "pombo_discarded_events",
        "Dead letters that an operator discarded.",
        (((v.name,), v.ledger.discarded) for v in views),
    )


def _hold(view: SourceView) -> float:
    return max(0.0, ((view.flow.hold_until or 0) - view.flow.now) / 1000)


def _lost(view: SourceView) -> int:
    return max(view.ledger.forgotten, view.ledger.fallen)


def _imbalance(view: SourceView) -> int:
    ledger = view.ledger
    became = (ledger.delivered, ledger.deduplicated, ledger.dead, ledger.discarded, ledger.erased)
    return ledger.accepted - sum(became) - ledger.queued - ledger.in_flight + _lost(view)


_SIMPLE: Final[Sequence[tuple[str, str, Callable[[SourceView], float]]]] = (
    ("pombo_queue_events", "Events that wait to be claimed.", lambda v: v.ledger.queued),
    (
        "pombo_queue_bytes",
        "Compressed bytes of record batches in Redis.",
        lambda v: v.ledger.queued_bytes,
    ),
    (
        "pombo_queue_limit_bytes",
        "Bytes of record batches that the source may have in Redis; 0 is no limit.",
        lambda v: v.source.backlog_bytes,
    ),
    (
        "pombo_in_flight_events",
        "Events that a worker claimed and has not settled.",
        lambda v: v.ledger.in_flight,
    ),
    (
        "pombo_oldest_event_age_seconds",
        "Age of the oldest record batch; 0 when there is none.",
        lambda v: v.oldest_age_s or 0,
    ),
    ("pombo_hold_seconds", "Seconds until the hold ends; 0 without one.", _hold),
    (
        "pombo_send_rate_limit",
        "Events per second that may be sent; 0 is no limit.",
        lambda v: v.rate_limit or 0,
    ),
    (
        "pombo_ledger_imbalance",
        "Accepted events less all that they became, and what Redis forgot unacknowledged; not 0 is a defect.",
        _imbalance,
    ),
    (
        "pombo_lost_events",
        "Events that Redis is known to have lost, at least, until an audit acknowledges it.",
        _lost,
    ),
    ("pombo_dead_letter_bytes", "Bytes of the dead letters held now.", lambda v: v.ledger.dead_bytes),
    (
        "pombo_dead_letter_limit_bytes",
        "Bytes of dead letters at which the source is parked; 0 is no limit.",
        lambda v: v.source.dead_bytes,
    ),
    (
        "pombo_partitions_blocked",
        "Partitions that wait for a person, as what they hold cannot be read; 1 if it is the source's key.",
        lambda v: len(v.flow.blocked),
    ),
)


def _gauges(views: Sequence[SourceView]) -> Iterator[Metric]:
    for name, text, value in _SIMPLE:
        yield _gauge(name, text, (((view.name,), value(view)) for view in views))
    yield _gauge(
        "pombo_last_success_age_seconds",
        "Seconds since Segment last took a request; not there before the first.",
        (((v.name,), (v.flow.now - v.flow.last_success) / 1000) for v in views if v.flow.last_success is not None),
    )
    yield _gauge(
        "pombo_dead_letters",
        "Events held as dead letters now.",
        (((v.name, reason), count) for v in views for reason, count in v.ledger.dead_by_reason.items()),
        ["reason"],
    )
    yield _gauge(
        "pombo_source_state",
        "1 for the state that the source is in.",
        (((v.name, state), int(v.state == state)) for v in views for state in STATES),
        ["state"],
    )


_Rows = Iterable[tuple[tuple[str, ...], float]]


def _counter(name: str, text: str, rows: _Rows, labels: Sequence[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=["source", *labels]), rows)


def _gauge(name: str, text: str, rows: _Rows, labels: Sequence[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=["source", *labels]), rows)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: _Rows) -> Metric:
    for labels, value in rows:
        family.add_metric(list(labels), value)
    return family
