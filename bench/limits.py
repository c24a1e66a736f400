"""The machine's own limit: ready bytes to Redis, one command an event, and ready bytes to Segment."""

import socket
import zlib
from collections.abc import Callable
from itertools import cycle, islice
from urllib.parse import urlsplit

from isal import igzip
from redis import Redis

from bench.trial import Meter, Result, main, ready

_PIPELINE = 1_000
"""Commands sent before their answers are read."""
_COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "isal": lambda raw: igzip.compress(raw, 1),
    "zlib": lambda raw: zlib.compress(raw, 6, 31),
}
"""As a worker compresses; and zlib at its default level, as most programs do. 31 asks for gzip's frame."""
_STREAM = "bench:limit"


def xadd(*, redis: str, events: str, count: int) -> Result:
    """Append each event's ready bytes to a stream, a command each, a thousand in a pipeline."""
    bodies = ready(events, count)
    with Redis.from_url(redis) as client:
        client.ping()
        meter = Meter()
        for first in range(0, count, _PIPELINE):
            pipe = client.pipeline(transaction=False)
            for body in bodies[first : first + _PIPELINE]:
                pipe.execute_command("XADD", _STREAM, "*", "b", body)
            pipe.execute()
        return {"rate": count / meter.wall, "cpu_us": meter.cpu / count * 1e6}


def post(*, url: str, events: str, count: int, size: int, library: str) -> Result:
    """Compress ready bytes with `library`, and post them over one plain connection, `size` events a request.

    Raises:
        RuntimeError: the sink refused, or closed the connection.
    """
    compress = _COMPRESS[library]
    requests = _requests(ready(events, min(count, 20 * size)), size)
    where = urlsplit(url)
    head = b"POST /v1/batch HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    head = head % where.netloc.encode() + b"Content-Length: %d\r\n\r\n"
    with socket.create_connection((where.hostname or "", where.port or 80)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rounds = max(count // size, 1)
        meter = Meter()
        for raw in islice(cycle(requests), rounds):
            body = compress(raw)
            connection.sendall(head % len(body) + body)
            answer = connection.recv(1 << 16)
            if b" 200 " not in answer[:16]:
                raise RuntimeError(f"the sink answered {answer[:100]!r}")
        sent = rounds * size
        return {"rate": sent / meter.wall, "cpu_us": meter.cpu / sent * 1e6}


def _requests(bodies: list[bytes], size: int) -> list[bytes]:
    tail = b'],"sentAt":"2026-01-01T00:00:00.000Z","writeKey":"' + b"w" * 32 + b'"}'
    return [b'{"batch":[' + b",".join(bodies[at : at + size]) + tail for at in range(0, len(bodies), size)]


if __name__ == "__main__":
    main({"xadd": xadd, "post": post})
