import prometheus_client

from pombo.producer.metrics import NoMetrics, PrometheusMetrics, default_metrics
from producer.rig import Bench, Server


def test_prometheus() -> None:
    """The metrics count outcomes under the contract's names."""
    registry = prometheus_client.CollectorRegistry()
    metrics = PrometheusMetrics(prometheus_client, registry)
    for server in (Server(), Server(source=None)):
        bench = Bench(server, metrics=metrics)
        bench.put(3)
        bench.clock.at += 0.5
        bench.settle()
    labels = {"source": "bot", "reason": "unknown_source"}
    assert 3.0 == registry.get_sample_value("pombo_rejected_events_total", labels)
    assert 3.0 == registry.get_sample_value("pombo_enqueue_seconds_count")
    assert 1.5 == registry.get_sample_value("pombo_enqueue_seconds_sum")
    assert 3.0 == registry.get_sample_value("pombo_event_bytes_count", {"source": "bot"})


def test_made_once() -> None:
    """All producers of a process share one set of metrics: a registry takes each name once."""
    assert default_metrics() is default_metrics()


def test_nothing_without_prometheus() -> None:
    """Without prometheus-client nothing is counted and nothing fails."""
    bench = Bench(metrics=NoMetrics())
    bench.put()
    bench.settle()
    assert ["m0"] == bench.server.ids
