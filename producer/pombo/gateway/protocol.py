"""HTTP on one connection: uvicorn's, with limits that it lacks, and JSON also where it answers by itself.

A connection's phases, and how long each may last:

1. IDLE: nothing of a request has come. `IDLE_S`; then it is closed without a word.
2. HEAD: a request has begun. `HEAD_S` for all of its head, and `HEAD_BYTES` of it.
3. BUSY: the application has it. It limits the body's time itself; `BUSY_S` is for clients that take no answer.
4. DRAIN: it was answered before its body had come. What comes is thrown away, for `DRAIN_S`.

Timers for each phase of each request would cost more than the phases: `sweep` looks at all connections every second.
"""

import asyncio
from collections.abc import Iterable
from enum import Enum
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pombo.gateway.answers import problem
from pombo.gateway.traffic import Traffic

HEAD_BYTES = 32_768
"""Of a request's line and headers, trailers included."""
HEAD_S = 10.0
IDLE_S = 75.0
"""Longer than the 60 s for which load balancers keep a connection, so that it is theirs to close it."""
BUSY_S = 180.0
DRAIN_S = 10.0
PIPELINED = 32
"""Requests that may wait on one connection for the answer of the one before."""
SWEEP_S = 1.0
_OFFERS = frozenset({b"connection", b"upgrade", b"http2-settings"})


class Phase(Enum):
    """Where a connection is, and how many seconds it may be there."""

    IDLE = IDLE_S
    HEAD = HEAD_S
    BUSY = BUSY_S
    DRAIN = DRAIN_S


class TooMuchError(Exception):
    """A head is too large; raised through the parser."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        traffic: Traffic,
        most_connections: int,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._traffic = traffic
        self._most_connections = most_connections
        self.phase = Phase.IDLE
        self.since = 0.0
        self._head_bytes = 0
        self._unparsed_bytes = 0
        """Of a head that has not come to its end, in the pieces after the first: the parser keeps them unseen."""
        self._coming = False
        """Whether a request has begun to come, and not come to its end."""
        self._too_much = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless there are too many: descriptors are needed for Redis and the spool too."""
        super().connection_made(transport)
        self._enter(Phase.IDLE)
        if len(self.connections) > self._most_connections:
            self._refuse(503, "too_many_connections", "this gateway has as many connections as it can take", 5)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse what is no HTTP, or too much."""
        if self.parser is None or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        in_head = self.phase is Phase.HEAD
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            if self._too_much:
                self._refuse_head()
            else:
                self._refuse(400, "malformed_http", "this is no HTTP request")
            return
        if in_head and self.phase is Phase.HEAD:
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > HEAD_BYTES:
                self._refuse_head()
        elif len(self.pipeline) > PIPELINED:
            self._refuse(
                429, "too_many_requests", "the connection has too many requests that wait for their answers", 1
            )

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._head_bytes = self._unparsed_bytes = 0
        self._coming = True
        if self.cycle is None or self.cycle.response_complete:
            self._enter(Phase.HEAD)

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._measure(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self._head_bytes = 0
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._enter(Phase.BUSY)

    def on_message_complete(self) -> None:
        """Note that a request has come to its end."""
        if self.parser.should_upgrade():
            return
        self._coming = False
        super().on_message_complete()
        if self.phase is Phase.DRAIN:
            self._enter(Phase.IDLE)

    def on_response_complete(self) -> None:
        """Note that a request is answered."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.cycle.response_complete:
            self._enter(Phase.DRAIN if self._coming else Phase.IDLE)

    def overdue(self, now: float) -> None:
        """End the connection if it has been in its phase for too long."""
        if now - self.since < self.phase.value:
            return
        if self.phase is Phase.HEAD:
            self._refuse(408, "too_slow", "the request's head did not come in time")
        elif self.phase is Phase.IDLE:
            self.transport.close()
        else:
            self.transport.abort()

    def _decline(self, rest: bytes) -> None:
        """Take a request that offers another protocol, as Java's client does with HTTP/2, as if it offered none.

        The parser stops at its head, whether a body follows or not. So that is read anew, without the offer.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(405, "method_not_allowed", "this is no proxy")
            return
        kept = [(name, value) for name, value in self.headers if name not in _OFFERS]
        if any(b"close" in value.lower() for name, value in self.headers if name == b"connection"):
            kept.append((b"connection", b"close"))
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in kept]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self.loop.time()

    def _measure(self, size: int) -> None:
        """Count bytes of the head.

        Raises:
            TooMuchError: it has too many.
        """
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            self._too_much = True
            raise TooMuchError

    def _refuse_head(self) -> None:
        self._refuse(431, "headers_too_large", f"the request's head has more than {HEAD_BYTES:,} bytes")

    def _refuse(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        """Answer without the application, and close; in the midst of another answer, close only."""
        self._traffic.refused(status, code)
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_response(status, problem(code, message), retry_after_s))
        self.transport.close()


def _response(status: int, body: bytes, retry_after_s: int | None) -> bytes:
    retry = b"" if retry_after_s is None else b"retry-after: %d\r\n" % retry_after_s
    head = b"HTTP/1.1 %d \r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (status, len(body))
    return b"".join((head, retry, b"access-control-allow-origin: *\r\nconnection: close\r\n\r\n", body))


async def sweep(connections: Iterable[Any]) -> None:
    """Once a second, end the connections that are overdue; for ever."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        now = loop.time()
        for connection in list(connections):
            connection.overdue(now)
