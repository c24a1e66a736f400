"""What a worker counts, for Prometheus; the reference in docs/ is made from these declarations."""

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pombo.shared.history import LATENCY_S


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
        # "max": a crew of several processes shows one version once, as 1.
        self.build_info = Gauge(
            "pombo_build_info", "Version of this pombo.", ["version"], registry=self.registry, multiprocess_mode="max"
        )
        self.build_info.labels(version("pombo")).set(1)
