"""Sending: the seam to HTTP, and httpx behind it."""

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Protocol

import httpx
import orjson
from isal import igzip

from pombo.worker.answers import Answer

TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
KEEP_ALIVE = 100
"""Idle connections kept open."""
REFRESH_S = 3600.0
"""Connections are made anew this often, because Segment's addresses change."""

_CERTAINLY_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
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
    sent_at = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    tail = b'],"sentAt":"%s","writeKey":%s}' % (sent_at.encode(), orjson.dumps(write_key))
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


class HttpxTransport:
    """Transport over httpx: HTTP/1.1, kept-alive connections, made anew hourly."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        # No ceiling: each partition has one request in flight at most, and a wait here would outlive its gate.
        self._limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEEP_ALIVE)
        self._monotonic = monotonic
        self._busy: dict[httpx.AsyncClient, int] = {}
        self._open()

    def _open(self) -> None:
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._client = httpx.AsyncClient(limits=self._limits, timeout=timeout, follow_redirects=False)
        self._busy[self._client] = 0
        self._opened = self._monotonic()

    async def post(self, request: Request) -> Answer:
        """Send `request` once; see `Transport`."""
        if self._monotonic() - self._opened > REFRESH_S:
            await self._refresh()
        client = self._client
        self._busy[client] += 1
        try:
            return await self._post(client, request)
        finally:
            self._busy[client] -= 1
            if client is not self._client and not self._busy[client]:
                del self._busy[client]
                await client.aclose()

    async def _post(self, client: httpx.AsyncClient, request: Request) -> Answer:
        try:
            response = await client.post(request.url, headers=dict(request.headers), content=request.body)
        except httpx.HTTPError as error:
            failure = f"{type(error).__name__}: {error}".rstrip(": ")
            return Answer(None, failure=failure, unknown=not isinstance(error, _CERTAINLY_UNSENT))
        except (httpx.InvalidURL, OSError) as error:
            return Answer(None, failure=f"{type(error).__name__}: {error}")
        return Answer(
            response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content
        )

    async def _refresh(self) -> None:
        old = self._client
        self._open()
        if not self._busy[old]:
            del self._busy[old]
            await old.aclose()

    async def close(self) -> None:
        """Close all connections, also those of requests under way."""
        for client in list(self._busy):
            await client.aclose()
        self._busy.clear()
