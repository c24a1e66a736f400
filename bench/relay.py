"""A relay in front of Redis: holds every piece back for a while, and counts the commands that pass.

A thread with one `select` loop, because asyncio's timers round up to whole milliseconds. Each direction is late by
`delay_s`; nothing waits for what came before it, so a relay adds latency and takes no throughput but its CPU.
"""

import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hiredis import Reader

_PIECE = 1 << 18
_SLACK = Path("/proc/thread-self/timerslack_ns")


@dataclass(slots=True, eq=False)
class _Way:
    """One direction of one connection: pieces with the moment (monotonic) from which each may go on."""

    source: socket.socket
    target: socket.socket
    commands: Any = None
    """The parser that counts what passes; None on the way back."""
    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    ended: bool = False


class Relay:
    """A context that listens on a port of this machine and passes all on to a server's Unix socket."""

    def __init__(self, server: str, *, delay_s: float = 0.0, count: bool = False) -> None:
        self._server = server
        self._delay_s = delay_s
        self._count = count
        self._ways: list[_Way] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self.commands = 0
        """Commands from clients so far, if they are counted; those inside scripts do not pass here."""
        self.bytes = 0
        """In both directions."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def redis_url(self) -> str:
        """The server behind it, as clients name it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.close()
        self._thread.join()
        for way in self._ways:
            way.source.close()
        self._listener.close()
        self._stopped.close()

    def _run(self) -> None:
        with suppress(OSError):  # By default the kernel adds 50 µs to every wait.
            _SLACK.write_text("1")
        while True:
            reading: list[socket.socket] = [way.source for way in self._ways if not way.ended]
            ready, _, _ = select.select([self._stopped, self._listener, *reading], [], [], self._wait())
            if self._stopped in ready:
                return
            if self._listener in ready:
                self._accept()
            arrived = set(ready)
            for way in list(self._ways):
                if way.source in arrived and not way.ended:
                    self._read(way)
            self._pass_on()

    def _wait(self) -> float | None:
        """Seconds until the next piece is due; None when none waits."""
        due = min((way.pieces[0][0] for way in self._ways if way.pieces), default=None)
        return None if due is None else max(due - time.monotonic(), 0.0)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._server)
        reader = Reader() if self._count else None
        self._ways += [_Way(client, server, reader), _Way(server, client)]

    def _read(self, way: _Way) -> None:
        try:
            piece = way.source.recv(_PIECE)
        except OSError:
            piece = b""
        way.pieces.append((time.monotonic() + self._delay_s, piece))
        way.ended = not piece
        self.bytes += len(piece)
        if way.commands is not None and piece:
            way.commands.feed(piece)
            while way.commands.gets() is not False:
                self.commands += 1

    def _pass_on(self) -> None:
        for way in list(self._ways):
            while way.pieces and way.pieces[0][0] <= time.monotonic():
                _, piece = way.pieces.popleft()
                if not piece:
                    self._part(way)
                    break
                try:
                    way.target.sendall(piece)
                except OSError:
                    self._part(way)
                    break

    def _part(self, way: _Way) -> None:
        """Close a connection on both sides."""
        self._ways = [one for one in self._ways if one.source not in {way.source, way.target}]
        way.source.close()
        way.target.close()
