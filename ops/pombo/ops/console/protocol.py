"""HTTP on one connection: uvicorn's, which does not wait for ever for a request that was begun."""

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 10.0
"""Seconds in which a request's head has to come: from the connection's start, or from its first byte."""


class Protocol(H11Protocol):
    """One connection; it is closed without a word when a head does not come."""

    head_s = HEAD_S
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and wait for its first request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take what came; see whether a head is still to be waited for."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._expected()
        elif self._late is None and self.conn.trailing_data[0]:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._expected()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(self.head_s, self._close)

    def _expected(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
