"""Load on an HTTP server, as cheap as Python can make it: ready bytes over plain sockets, one loop of `select`.

`flat_out` keeps each connection busy; `paced` sends each request at its moment, whoever is late, and counts its time
from that moment.
"""

import base64
import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from uuid import uuid4

from bench.trial import Event, Result, main, read

_STAMP = b'"sentAt":"2026-01-01T00:00:00.000Z"'
_END = b'"success": true}'
"""How the answer ends: the server's whole, as its body is this short."""
_DISTINCT = 6_000
"""Events in the requests, which go round; many more than one write to Redis holds."""


@dataclass(slots=True)
class _Connection:
    """One connection, and the moment from which its request counts (0: it is free)."""

    socket: socket.socket
    since: float = 0.0
    answer: bytes = b""


@dataclass(slots=True)
class _Load:
    """Connections to one server, and how long its answers took."""

    requests: Iterator["tuple[bytes, bytes]"]
    connections: list[_Connection]
    selector: selectors.BaseSelector
    seconds: list[float] = field(default_factory=list)

    def send(self, one: _Connection, since: float) -> None:
        """Send the next request, stamped with the time as SDKs do."""
        head, tail = next(self.requests)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")[:23].encode()
        one.since = since
        one.socket.sendall(b'%b"sentAt":"%bZ"%b' % (head, now, tail))

    def answered(self, wait_s: float) -> Iterator[_Connection]:
        """Connections whose answers came within so long.

        Raises:
            RuntimeError: an answer is none of success.
        """
        for key, _ in self.selector.select(wait_s):
            one: _Connection = key.data
            one.answer += one.socket.recv(65_536)
            if not one.answer.endswith(_END):
                if one.answer and one.answer.startswith(b"HTTP/1.1 200"[: len(one.answer)]):
                    continue
                raise RuntimeError(f"the server answered {one.answer[:300]!r}")
            self.seconds.append(time.perf_counter() - one.since)
            one.since, one.answer = 0.0, b""
            yield one


def flat_out(*, port: int, key: str, events: str, size: int, connections: int, warm_s: float, seconds: float) -> Result:
    """Keep all connections busy, with `size` events a request, and count the events that were answered well."""
    load = _load(port, key, events, size, connections)
    sent = _busy(load, warm_s)
    load.seconds.clear()
    begun = time.perf_counter()
    counted = _busy(load, seconds)
    lasted = time.perf_counter() - begun
    return {"rate": counted * size / lasted, "events": (sent + counted) * size, **_times(load.seconds)}


def _busy(load: _Load, seconds: float) -> int:
    """Send for so long, then wait for the last answers; the number of requests."""
    ends, count = time.perf_counter() + seconds, len(load.connections)
    for one in load.connections:
        load.send(one, time.perf_counter())
    waiting = count
    while waiting:
        for one in load.answered(10.0):
            now = time.perf_counter()
            if now < ends:
                load.send(one, now)
                count += 1
            else:
                waiting -= 1
    return count


def paced(
    *, port: int, key: str, events: str, size: int, connections: int, warm_s: float, seconds: float, rate: float
) -> Result:
    """Send `rate` events a second, in requests of `size`; a request that finds no free connection waits, and that counts."""
    load = _load(port, key, events, size, connections)
    pace, free = size / rate, deque(load.connections)
    begun = time.perf_counter()
    warm, total = int(warm_s / pace), int((warm_s + seconds) / pace)
    number = answered = 0
    while answered < total:
        now = time.perf_counter()
        while number < total and free and now >= begun + number * pace:
            load.send(free.popleft(), begun + number * pace)
            number += 1
        wait = begun + number * pace - time.perf_counter() if number < total and free else 10.0
        for one in load.answered(max(wait, 0.0)):
            free.append(one)
            answered += 1
            if answered == warm:
                load.seconds.clear()
    return {"rate": total * size / (time.perf_counter() - begun), "events": total * size, **_times(load.seconds)}


def _times(seconds: list[float]) -> Result:
    ordered = sorted(seconds)
    return {f"p{share}_ms": ordered[min(len(ordered) * share // 100, len(ordered) - 1)] * 1000 for share in (50, 99)}


def _load(port: int, key: str, events: str, size: int, connections: int) -> _Load:
    made = [_Connection(_connected(port)) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    for one in made:
        selector.register(one.socket, selectors.EVENT_READ, one)
    return _Load(cycle(_requests(key, read(events, _DISTINCT), size)), made, selector)


def _connected(port: int) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _requests(key: str, events: list[Event], size: int) -> list[tuple[bytes, bytes]]:
    """Requests as Segment's SDK for Node makes them, cut in two where the time of sending goes."""
    make: Callable[[list[Event]], Event] = _single if size == 1 else _batch
    path = b"/v1/track" if size == 1 else b"/v1/batch"
    basic = base64.b64encode(f"{key}:".encode())
    found = []
    for at in range(0, len(events) - size + 1, size):
        whole = [_dressed(event) for event in events[at : at + size]]
        body = json.dumps({**make(whole), "writeKey": key}, separators=(",", ":")).encode()
        before, _, after = body.partition(_STAMP)
        head = (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"
            % path
        )
        head += b"User-Agent: analytics-node-next/latest\r\nAuthorization: Basic %b\r\nAccept: */*\r\n" % basic
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        found.append((head + before, after))
    return found


def _batch(events: list[Event]) -> Event:
    return {"batch": events, "sentAt": "2026-01-01T00:00:00.000Z"}


def _single(events: list[Event]) -> Event:
    event = {name: value for name, value in events[0].items() if name != "type"}
    # Identify goes where track goes: what it costs is its bytes.
    return {"event": "Message Sent", **event, "sentAt": "2026-01-01T00:00:00.000Z"}


def _dressed(event: Event) -> Event:
    """An event with all that the SDK adds."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    return {
        "timestamp": now,
        "integrations": {},
        **event,
        "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
        "messageId": f"node-next-{time.time_ns() // 1_000_000}-{uuid4()}",
        "_metadata": {"nodeVersion": "v20.20.2", "jsRuntime": "node"},
    }


if __name__ == "__main__":
    main({"flat_out": flat_out, "paced": paced})
