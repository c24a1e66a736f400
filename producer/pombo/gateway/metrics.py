"""What the gateway shows at `/metrics`: its own counters and those of its producers, for all of its processes."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pombo.gateway.answers import Answer
from pombo.gateway.exchange import Exchange
from pombo.producer.metrics import SPOOL, PrometheusMetrics
from pombo.shared.crewmetrics import FOLDER, CrewCollector

_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_SPOOL = frozenset(name for name, _, _ in SPOOL)


class Metrics:
    """A gateway's metrics in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.producer = PrometheusMetrics(prometheus_client, self.registry)
        self.requests = Counter(
            "pombo_gateway_requests_total",
            "Requests answered, by status; 499: the client went away.",
            ["status"],
            registry=self.registry,
        )
        folder = os.environ.get(FOLDER)
        self._shown = self.registry if folder is None else _crew(Path(folder))

    async def __call__(self, exchange: Exchange) -> Answer:
        """The metrics in Prometheus' text format; whichever process of a crew is asked shows those of all."""
        body = await asyncio.to_thread(generate_latest, self._shown)
        return Answer(200, body, content_type=_TEXT)


def _crew(folder: Path) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Crew(folder))
    return registry


class _Crew(Collector):
    """The sums of a crew; the spool, which all of them share, as this process sees it."""

    def __init__(self, folder: Path) -> None:
        self._files = CrewCollector(folder)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering reads nothing."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        yield from (family for family in self._files.collect() if family.name not in _SPOOL)
        for name, text, value in SPOOL:
            yield GaugeMetricFamily(name, text, value())
