"""A Segment that only counts: the cheapest HTTP server that keeps connections open, in a process of its own.

`python -m bench.sink` prints its port. Every POST is answered 200 as Segment does, its body is thrown away unread.
`GET /` tells what came since the last GET, and forgets it. The sink must not be what is measured: a request costs
it some ten microseconds.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass

_ANSWER = b'{\n  "success": true\n}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_KEPT = _HEAD % len(_ANSWER) + _ANSWER
_LENGTH = b"\r\ncontent-length:"


@dataclass(slots=True)
class Tally:
    """Requests, bytes of their bodies, and seconds from the first one's head to the last one's end."""

    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Sink:
    """What all connections share."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._first = 0.0

    def begun(self) -> None:
        """Note that a request begins."""
        if not self.tally.requests and not self._first:
            self._first = time.monotonic()

    def ended(self, size: int) -> None:
        """Count a whole request."""
        self.tally.requests += 1
        self.tally.bytes += size
        self.tally.seconds = time.monotonic() - self._first

    def tell(self) -> bytes:
        """The tally as an HTTP answer; a new one begins."""
        told = json.dumps(asdict(self.tally)).encode()
        self.tally, self._first = Tally(), 0.0
        return _HEAD % len(told) + told


class Connection(asyncio.Protocol):
    """One client: heads are searched for their length, bodies are skipped."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._size = self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what came: the rest of a body, heads, or parts of them."""
        while data:
            if self._left:
                data = self._skip(data)
                continue
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            self._begin(head)

    def _begin(self, head: bytes) -> None:
        if head.startswith(b"GET"):
            self._transport.write(self._sink.tell())
            return
        self._sink.begun()
        self._size = self._left = _length(head)
        if b"100-continue" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left:
            self._end()

    def _skip(self, data: bytes) -> bytes:
        taken = min(self._left, len(data))
        self._left -= taken
        if not self._left:
            self._end()
        return data[taken:]

    def _end(self) -> None:
        self._sink.ended(self._size)
        self._transport.write(_KEPT)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b"\r\n")[0]) if found else 0


async def _serve() -> None:
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(sink), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Whoever started it holds the other end: when that is gone, so is the sink.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
