"""A Segment that only counts: the cheapest HTTP server that keeps connections open, in a process of its own.

`python -m bench.sink` prints its port. Every POST is answered 200 as Segment does, its body is thrown away unread.
`GET /` tells what came since the last GET, and forgets it. `--delay` makes each answer wait; `--keep` makes it note
when each messageId came. A request costs it some ten microseconds.
"""

import argparse
import asyncio
import gzip
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

_ROOT = Path(__file__).resolve().parents[1]
_ANSWER = b'{\n  "success": true\n}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_KEPT = _HEAD % len(_ANSWER) + _ANSWER
_LENGTH = b"\r\ncontent-length:"


@dataclass(slots=True)
class Tally:
    """Requests, bytes of their bodies, when the first began and the last ended (wall clock, s)."""

    requests: int = 0
    bytes: int = 0
    first: float = 0.0
    last: float = 0.0
    arrivals: dict[str, float] = field(default_factory=dict)
    """By messageId, when it had arrived (monotonic, s), if that is kept."""

    @property
    def seconds(self) -> float:
        """From the first request's head to the last one's end."""
        return self.last - self.first

    def note(self, begun: float, ended: float, size: int) -> None:
        """Count a request."""
        self.first = min(self.first, begun) if self.requests else begun
        self.last = max(self.last, ended)
        self.requests += 1
        self.bytes += size


class Sink:
    """What all connections share."""

    def __init__(self, *, delay_s: float = 0.0, keep: bool = False) -> None:
        self.delay_s = delay_s
        self.keep = keep
        self._tally = Tally()
        self._kept: list[tuple[float, bytes]] = []

    def ended(self, begun: float, size: int, body: bytes) -> None:
        """Count a whole request."""
        self._tally.note(begun, time.time(), size)
        if self.keep:
            self._kept.append((time.monotonic(), body))

    def tell(self) -> bytes:
        """The tally as an HTTP answer; a new one begins."""
        for at, body in self._kept:
            for event in json.loads(gzip.decompress(body))["batch"]:
                self._tally.arrivals.setdefault(event["messageId"], at)
        told = json.dumps(asdict(self._tally)).encode()
        self._tally, self._kept = Tally(), []
        return _HEAD % len(told) + told


class Connection(asyncio.Protocol):
    """One client: heads are searched for their length, bodies are skipped."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._body = b""
        self._size = self._left = 0
        self._begun = 0.0

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
        self._begun, self._body = time.time(), b""
        self._size = self._left = _length(head)
        if b"100-continue" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._left:
            self._end()

    def _skip(self, data: bytes) -> bytes:
        taken = min(self._left, len(data))
        self._left -= taken
        if self._sink.keep:
            self._body += data[:taken]
        if not self._left:
            self._end()
        return data[taken:]

    def _end(self) -> None:
        self._sink.ended(self._begun, self._size, self._body)
        if self._sink.delay_s:
            asyncio.get_running_loop().call_later(self._sink.delay_s, self._transport.write, _KEPT)
        else:
            self._transport.write(_KEPT)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b"\r\n")[0]) if found else 0


class PythonSink:
    """This sink, running."""

    def __init__(self, *, delay_s: float = 0.0, keep: bool = False) -> None:
        argv = [sys.executable, "-m", "bench.sink", "--delay", str(delay_s), *(["--keep"] if keep else [])]
        self._process = subprocess.Popen(argv, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            self.close()
            raise OSError("the sink did not start; its words are above")
        self.url = f"http://127.0.0.1:{port}"

    def take(self) -> Tally:
        """What came since the last time."""
        with urlopen(self.url, timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
        return Tally(**told)

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.terminate()


async def _serve(sink: Sink) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(sink), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Whoever started it holds the other end: when that is gone, so is the sink.
    await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser("python -m bench.sink")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds that each answer waits")
    parser.add_argument("--keep", action="store_true", help="note when each messageId came")
    told = parser.parse_args()
    asyncio.run(_serve(Sink(delay_s=told.delay, keep=told.keep)))


if __name__ == "__main__":
    main()
