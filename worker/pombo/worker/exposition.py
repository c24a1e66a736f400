"""`/metrics` over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from pombo.shared.logs import get_logger

log = get_logger("pombo.metrics")


@contextmanager
def exposed(registry: CollectorRegistry, port: int, host: str = "0.0.0.0") -> Iterator[bool]:  # noqa: S104 - scraped
    """Serve a registry on `port` (0: not at all) until the context ends; whether it is served.

    A port in use is a warning: metrics are no reason to deliver nothing.
    """
    if not port:
        yield False
        return
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        log.warning(
            "metrics.off", port=port, error=str(error), remedy="set POMBO_METRICS_PORT to a free port, or 0"
        )
        yield False
        return
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
