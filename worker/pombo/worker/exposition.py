"""`/metrics` over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from pombo.shared.logs import get_logger

AGAIN_S = 5.0
"""Between two tries to get a port that is in use."""
POLL_S = 0.25

log = get_logger("pombo.metrics")


@contextmanager
def exposed(
    registry: CollectorRegistry,
    port: int,
    host: str = "0.0.0.0",  # noqa: S104 - scraped from other machines
    *,
    remedy: str = "set POMBO_METRICS_PORT to a free port, or 0",
    again_s: float = AGAIN_S,
) -> Iterator[bool]:
    """Serve a registry on `port` (0: not at all) until the context ends; whether it is served at once.

    A port in use is a warning with the `remedy`, as metrics are no reason to deliver nothing. It is tried
    again every `again_s` seconds, for its owner may be a predecessor that is about to end.
    """
    if not port:
        yield False
        return
    exposition = _Exposition(registry, host, port)
    served = exposition.bind()
    if not served:
        log.warning("metrics.off", port=port, error=exposition.error, remedy=remedy)
    thread = threading.Thread(target=exposition.serve, args=(again_s,), name="metrics", daemon=True)
    thread.start()
    try:
        yield served
    finally:
        exposition.stop()
        thread.join(5)


class _Exposition:
    """A server that may still have to get its port."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        self._app = make_wsgi_app(registry)
        self._address = (host, port)
        self._server: _Server | None = None
        self._stopped = threading.Event()
        self.error = ""

    def bind(self) -> bool:
        """Try to get the port."""
        try:
            server = _Server(self._address, _Handler)
        except OSError as error:
            self.error = error.strerror or str(error)
            return False
        server.timeout = POLL_S
        server.set_app(self._answer)
        self._server = server
        return True

    def serve(self, again_s: float) -> None:
        """Answer scrapes until `stop`."""
        while self._server is None:
            if self._stopped.wait(again_s):
                return
            if self.bind():
                log.info("metrics.on", port=self._address[1])
        with self._server as server:
            while not self._stopped.is_set():
                server.handle_request()

    def stop(self) -> None:
        """End `serve`."""
        self._stopped.set()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        try:
            return self._app(environ, start_response)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            log.warning("metrics.failed", port=self._address[1], error=words)
            start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"# the metrics cannot be read now: {words}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a scrape; quiet, and without a look at the name service for its own name."""

    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("metrics.client_gone", exc_info=True)


class _Handler(WSGIRequestHandler):
    """Log no requests."""

    timeout = 30
    """Seconds in which a client has to say what it wants."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
