"""Sending straight to Segment: HTTP/1.1 over connections of our own, kept alive.

A general client spends more on a small request than all the rest of a delivery. This one knows one method, follows
nothing, keeps no cookies, and is as careful as `transport.Transport` has to be about what may have arrived.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

from pombo.worker.answers import Answer
from pombo.worker.httpconnection import Connection
from pombo.worker.transport import (
    CONNECT_TIMEOUT_S,
    KEEP_ALIVE,
    KEEP_ALIVE_S,
    REFRESH_S,
    TIMEOUT_S,
    Request,
    Transport,
)

_RACE_S: Final = 0.25
"""After which the next address of a host is tried beside the last one (RFC 8305)."""
_AS_THEY_ARE: Final = "!#$%&'()*+,/:;=?@[]~"
"""Characters of a path that are sent as they are, percent signs included."""


class Place(NamedTuple):
    """Where requests go: one for all that may share connections."""

    tls: bool
    host: str
    port: int


@lru_cache(maxsize=4096)
def read_url(url: str) -> tuple[Place, bytes]:
    """Where a URL's requests go, and the first lines of their head; sources' URLs have no query.

    Raises:
        ValueError: it is no URL that anything can be sent to.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"{url!r} is no URL of http or https")
    tls = parts.scheme == "https"
    # As the resolver and TLS write a name, there and back: a label that cannot be one is found out here.
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    host.encode().decode("idna")
    place = Place(tls, host, parts.port or (443 if tls else 80))
    named = f"[{host}]" if ":" in host else host
    port = "" if place.port == (443 if tls else 80) else f":{place.port}"
    path = quote(parts.path or "/", safe=_AS_THEY_ARE)
    head = f"POST {path} HTTP/1.1\r\nHost: {named}{port}\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
    return place, head.encode("ascii")


def trust() -> ssl.SSLContext:
    """Verify as httpx does: by SSL_CERT_FILE, by SSL_CERT_DIR, else by certifi's authorities.

    Raises:
        OSError: they cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not (file or folder):
        import certifi

        file = certifi.where()
    try:
        context = ssl.create_default_context(cafile=file, capath=None if file else folder)
    except OSError as error:
        raise OSError(f"the authorities in {file or folder!r} cannot be read: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


class DirectTransport:
    """Transport over connections of its own: kept alive, made anew hourly, as many as there are requests at a time.

    Args:
        timeout_s: for each step of a request, and twice that for the whole.
        monotonic: seconds, for the hourly renewal.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s = timeout_s
        self._connect_s = min(CONNECT_TIMEOUT_S, timeout_s)
        self._monotonic = monotonic
        self._all: set[Connection] = set()
        self._idle: dict[Place, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._trust: ssl.SSLContext | None = None
        self._opened = monotonic()
        self._closed = False

    async def post(self, request: Request) -> Answer:
        """Send `request` once; see `Transport`."""
        try:
            place, head = read_url(request.url)
        except ValueError as error:
            return Answer(None, failure=f"{type(error).__name__}: {error}", unusable=True)
        if self._monotonic() - self._opened > REFRESH_S:
            self._renew()
        opened = self._opened
        try:
            connection = self._kept(place) or await self._connect(place)
        except TimeoutError:
            return Answer(None, failure=f"ConnectTimeout: no connection within {self._connect_s:g} s")
        except OSError as error:
            return Answer(None, failure=f"ConnectError: {error}")
        try:
            return await connection.exchange(_written(head, request), self._timeout_s)
        finally:
            if opened == self._opened and not self._closed:
                self._keep(place, connection)
            else:
                connection.close()

    # -- connections ----------------------------------------------------------------------------------------------

    async def _connect(self, place: Place) -> Connection:
        """Connect; raises OSError or TimeoutError, and then nothing was sent."""
        if self._closed:
            raise OSError("the transport is closed")
        if place.tls and self._trust is None:
            self._trust = trust()
        async with asyncio.timeout(self._connect_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, place.host, place.port,
                ssl=self._trust if place.tls else None, happy_eyeballs_delay=_RACE_S,
            )  # fmt: skip
        if self._closed:
            connection.close()
            raise OSError("the transport was closed meanwhile")
        self._all.add(connection)
        connection.lost.add_done_callback(lambda _: self._all.discard(connection))
        return connection

    def _kept(self, place: Place) -> Connection | None:
        """The connection used last among those kept alive: the others may be let go."""
        idle = self._idle.get(place, [])
        while idle:
            connection = idle.pop()
            if connection.usable():
                return connection
            connection.close()
        return None

    def _keep(self, place: Place, connection: Connection) -> None:
        if not connection.reusable or sum(map(len, self._idle.values())) >= KEEP_ALIVE:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.setdefault(place, []).append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(KEEP_ALIVE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what was idle for long; servers do so too, and might just when the next request is on its way."""
        loop = asyncio.get_running_loop()
        ends = loop.time() - KEEP_ALIVE_S
        for place, idle in list(self._idle.items()):
            for connection in [one for one in idle if one.idle_since <= ends]:
                idle.remove(connection)
                connection.close()
            if not idle:
                del self._idle[place]
        since = min((idle[0].idle_since for idle in self._idle.values()), default=None)
        self._sweeper = None if since is None else loop.call_at(since + KEEP_ALIVE_S, self._sweep)

    def _renew(self) -> None:
        """Connect anew from now on; requests under way end on the connections that they have."""
        self._opened = self._monotonic()
        self._trust = None
        self._drop_idle()

    def _drop_idle(self) -> None:
        for connection in [one for idle in self._idle.values() for one in idle]:
            connection.close()
        self._idle.clear()

    async def close(self) -> None:
        """Close all connections, also those of requests under way."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._idle.clear()
        ending = list(self._all)
        for connection in ending:
            connection.close()
        await asyncio.gather(*(connection.lost for connection in ending))


def open_transport() -> Transport:
    """The transport for this process: httpx's where its environment, or system, names a proxy, else our own."""
    if getproxies().keys() & {"http", "https", "all"}:
        from pombo.worker.proxied import HttpxTransport

        return HttpxTransport()
    return DirectTransport()


def _written(head: bytes, request: Request) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return b"%s%sContent-Length: %d\r\n\r\n%s" % (head, fields.encode("latin-1"), len(request.body), request.body)
