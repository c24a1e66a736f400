"""Sending: the seam to HTTP, and the requests that go through it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Protocol

import orjson
from isal import igzip

from pombo.shared.clock import iso
from pombo.worker.answers import Answer

TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
KEEP_ALIVE = 100
"""Idle connections kept open."""
KEEP_ALIVE_S = 5.0
"""For so long; the shortest time after which servers usually close theirs."""
REFRESH_S = 3600.0
"""Connections are made anew this often, because Segment's addresses change."""

_GZIP_LEVEL = 1
_USER_AGENT = f"pombo/{version('pombo')}"


@dataclass(frozen=True, slots=True)
class Request:
    """One POST: `body` is gzip."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Carry one request; what goes wrong comes back in the answer."""

    async def post(self, request: Request) -> Answer:
        """Send `request` once and read the answer; never follows a redirect, never raises for the network."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def make_request(url: str, write_key: str, bodies: Sequence[bytes], *, sends: int, now: datetime) -> Request:
    """Build the POST of serialised events, without parsing them.

    Args:
        url: the source's batch route.
        write_key: its write key; goes into the body and Basic auth, as Segment's SDKs do.
        bodies: the events.
        sends: how often they were sent before; the first retry carries 1.
        now: becomes `sentAt`, which Segment corrects timestamps with.
    """
    tail = b'],"sentAt":"%s","writeKey":%s}' % (iso(now).encode(), orjson.dumps(write_key))
    raw = b'{"batch":[' + b",".join(bodies) + tail
    headers = {
        "Content-Type": "application/json",
        "Content-Encoding": "gzip",
        "Authorization": "Basic " + base64.b64encode(f"{write_key}:".encode()).decode(),
        "User-Agent": _USER_AGENT,
    }
    if sends:
        headers["X-Retry-Count"] = str(sends)
    return Request(url, headers, igzip.compress(raw, _GZIP_LEVEL))
