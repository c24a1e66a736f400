"""The seam of the producer's metrics: prometheus-client where the bot has it, nothing where it has not."""

import importlib
import math
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from pombo.producer import spools
from pombo.producer.buffer import Pending
from pombo.producer.receipts import Reason

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BYTES = (128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)


SPOOL: Sequence[tuple[str, str, Callable[[], float]]] = (
    ("pombo_spooled_events", "Events in the spools that this process shares.", lambda: float(spools.totals()[0])),
    (
        "pombo_spooled_bytes",
        "Bytes of the events in the spools that this process shares.",
        lambda: float(spools.totals()[1]),
    ),
    (
        "pombo_spool_age_seconds",
        "Age of the oldest event in these spools; 0 when there is none.",
        lambda: float(spools.age_s()),
    ),
)
"""Gauges of the spool: name, meaning, and what is asked for the value of this moment."""


# Held at a fork, so that no child inherits a lock of prometheus-client that the flusher had taken.
_observing = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_observing.acquire, after_in_parent=_observing.release, after_in_child=_observing.release
    )


class Metrics(Protocol):
    """Count what a producer did. Called once a flush, off the bot's path; must not raise."""

    def accepted(self, source: str, events: Sequence[Pending], now: float) -> None:
        """Events became durable at the monotonic time `now`."""
        ...

    def rejected(self, source: str, reason: Reason) -> None:
        """One event was refused."""
        ...


class NoMetrics:
    """Count nothing."""

    def accepted(self, source: str, events: Sequence[Pending], now: float) -> None:
        """Do nothing."""

    def rejected(self, source: str, reason: Reason) -> None:
        """Do nothing."""


class PrometheusMetrics:
    """What a producer knows of itself, in one registry of prometheus-client."""

    def __init__(self, client: Any, registry: Any) -> None:
        self._rejected = client.Counter(
            "pombo_rejected_events_total",
            "Events that a producer refused, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self._seconds = client.Histogram(
            "pombo_enqueue_seconds",
            "Seconds from an event's entry into the producer's buffer until it is durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._bytes = client.Histogram(
            "pombo_event_bytes",
            "Serialised bytes of one accepted event.",
            ["source"],
            buckets=_BYTES,
            registry=registry,
        )
        self._spool = [client.Gauge(name, text, registry=registry) for name, text, _ in SPOOL]
        for gauge, (_, _, value) in zip(self._spool, SPOOL, strict=True):
            gauge.set_function(value)

    def accepted(self, source: str, events: Sequence[Pending], now: float) -> None:
        """Observe each event's wait and size."""
        with _observing:
            _observe_all(self._seconds, [now - pending.at for pending in events])
            _observe_all(self._bytes.labels(source), [len(pending.body) for pending in events])

    def rejected(self, source: str, reason: Reason) -> None:
        """Count one refusal."""
        with _observing:
            self._rejected.labels(source, reason).inc()


def _observe_all(histogram: Any, values: Sequence[float]) -> None:
    """Observe many values at once, a tenth of the time of one by one.

    prometheus-client has no public way to do so; where its insides are not as they have been for years, one by one.
    """
    try:
        bounds, buckets, total = histogram._upper_bounds, histogram._buckets, histogram._sum
    except AttributeError:
        for value in values:
            histogram.observe(value)
        return
    ordered = sorted(values)
    below = 0
    for bound, bucket in zip(bounds, buckets, strict=True):
        up_to = bisect_right(ordered, bound, below)
        if up_to > below:
            bucket.inc(up_to - below)
        below = up_to
    total.inc(math.fsum(values))


@cache
def default_metrics() -> Metrics:
    """This process's metrics, in prometheus-client's own registry; made once, shared by all producers."""
    try:
        # By name: `import pombo.producer` stays light, and the layers' contract holds for what is imported
        # there.
        client = importlib.import_module("prometheus_client")
        return PrometheusMetrics(client, client.REGISTRY)
    except (ImportError, ValueError):  # ValueError: the bot has metrics of these names.
        return NoMetrics()
