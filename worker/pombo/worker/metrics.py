"""What a worker counts, for Prometheus; the reference in docs/ is made from these declarations."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pombo.shared.history import LATENCY_S

_LAGS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_WAITS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class Metrics:
    """A worker's metrics in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "pombo_requests_total",
            "Requests sent, by Segment's status; `error` when no answer came.",
            ["source", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "pombo_request_seconds",
            "Seconds from a request's first byte to its answer.",
            ["source"],
            registry=self.registry,
        )
        self.request_events = Histogram(
            "pombo_request_events",
            "Events in a request.",
            ["source"],
            buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500),
            registry=self.registry,
        )
        self.request_bytes = Histogram(
            "pombo_request_bytes",
            "Bytes of a request's body as sent (gzip).",
            ["source"],
            buckets=(500, 1000, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000),
            registry=self.registry,
        )
        self.end_to_end_seconds = Histogram(
            "pombo_end_to_end_seconds",
            "Seconds from acceptance to Segment's answer, on Redis' clock, one observation a record batch.",
            ["source"],
            buckets=LATENCY_S,
            registry=self.registry,
        )
        self.retries = Counter(
            "pombo_retries_total",
            "Requests that have to be sent again, by cause: failed, held, parked, refused.",
            ["source", "cause"],
            registry=self.registry,
        )
        self.takeovers = Counter(
            "pombo_lease_takeovers_total",
            "Leases taken over from workers that fell silent.",
            registry=self.registry,
        )
        self.redis_errors = Counter(
            "pombo_redis_errors_total", "Redis commands that failed.", ["operation"], registry=self.registry
        )
        self.resent = Counter(
            "pombo_suspected_duplicates_total",
            "Events that Segment took after an earlier send of theirs had ended without an answer: it may have had "
            "them already, and drops one of two by their messageId.",
            ["source"],
            registry=self.registry,
        )
        self.retry_wait_seconds = Histogram(
            "pombo_retry_wait_seconds",
            "Seconds until a request goes again, as decided at its answer: backoff, or what Segment asked for.",
            ["source"],
            buckets=_WAITS_S,
            registry=self.registry,
        )
        self.breaker_opened = Counter(
            "pombo_breaker_opened_total",
            "Times that this worker's report opened a source's breaker.",
            ["source"],
            registry=self.registry,
        )
        self.filled = Counter(
            "pombo_requests_filled_total",
            "Requests packed, by what ended the packing: drained (nothing more waited), events or bytes (Segment's "
            "limits), pace (ours: a quarter of the burst, or 0.1 s of the pace).",
            ["source", "reason"],
            registry=self.registry,
        )
        self._declare_process()
        # "max": a crew of several processes shows one version once, as 1.
        self.build_info = Gauge(
            "pombo_build_info", "Version of this pombo.", ["version"], registry=self.registry, multiprocess_mode="max"
        )
        self.build_info.labels(version("pombo")).set(1)

    def _declare_process(self) -> None:
        """What a process knows of itself; the figures of a crew are sums, also over members that were replaced."""
        self.loop_lag_seconds = Histogram(
            "pombo_loop_lag_seconds",
            "Seconds by which the event loop woke up late, one observation a second.",
            buckets=_LAGS_S,
            registry=self.registry,
        )
        self.buffer_bytes = self._sum("pombo_worker_buffer_bytes", "Bytes of events that the worker holds in memory.")
        self.buffer_limit_bytes = self._sum(
            "pombo_worker_buffer_limit_bytes", "Bytes of events from which on it reads nothing ahead."
        )
        self.resident_bytes = self._sum(
            "pombo_worker_resident_bytes",
            "Resident memory of the worker's processes; 0 where the system does not tell.",
        )
        self.cpu_seconds = Counter(
            "pombo_worker_cpu_seconds_total", "Seconds of CPU used; a process has one a second.", registry=self.registry
        )

    def _sum(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode="sum")
