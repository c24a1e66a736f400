"""Sending through a proxy: httpx, which knows how proxies are named and asked."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from pombo.worker.answers import Answer
from pombo.worker.http1 import MAX_ANSWER_BYTES
from pombo.worker.transport import CONNECT_TIMEOUT_S, KEEP_ALIVE, KEEP_ALIVE_S, REFRESH_S, TIMEOUT_S, Request

_CERTAINLY_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class HttpxTransport:
    """Transport over httpx: HTTP/1.1, kept-alive connections, made anew hourly.

    Args:
        timeout_s: for each step of a request, and twice that for the whole.
        monotonic: seconds, for the hourly renewal.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        # No ceiling: each partition has one request in flight at most, and a wait here would outlive its gate.
        self._limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=KEEP_ALIVE, keepalive_expiry=KEEP_ALIVE_S
        )
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._busy: dict[httpx.AsyncClient, int] = {}
        self._open()

    def _open(self) -> None:
        timeout = httpx.Timeout(self._timeout_s, connect=min(CONNECT_TIMEOUT_S, self._timeout_s))
        # A load balancer's cookies would travel from one source's answers to another's requests.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx.AsyncClient(
            limits=self._limits, timeout=timeout, follow_redirects=False, cookies=no_cookies
        )
        self._busy[self._client] = 0
        self._opened = self._monotonic()

    async def post(self, request: Request) -> Answer:
        """Send `request` once; see `Transport`."""
        if self._monotonic() - self._opened > REFRESH_S:
            await self._refresh()
        client = self._client
        self._busy[client] = self._busy.get(client, 0) + 1
        try:
            async with asyncio.timeout(2 * self._timeout_s):
                return await self._exchange(client, request)
        except TimeoutError:
            return Answer(None, failure=f"no whole answer within {2 * self._timeout_s:g} s", unknown=True, late=True)
        finally:
            await self._leave(client)

    async def _exchange(self, client: httpx.AsyncClient, request: Request) -> Answer:
        try:
            sending = client.stream("POST", request.url, headers=dict(request.headers), content=request.body)
            async with sending as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, headers, await _body(response, self._timeout_s))
        except httpx.UnsupportedProtocol as error:
            return Answer(None, failure=str(error), unusable=True)
        except httpx.HTTPError as error:
            failure = f"{type(error).__name__}: {error}".rstrip(": ")
            late = isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
            return Answer(None, failure=failure, unknown=not isinstance(error, _CERTAINLY_UNSENT), late=late)
        except (httpx.InvalidURL, ValueError) as error:
            return Answer(None, failure=f"{type(error).__name__}: {error}", unusable=True)
        except (OSError, RuntimeError) as error:
            return Answer(None, failure=f"{type(error).__name__}: {error}")

    async def _leave(self, client: httpx.AsyncClient) -> None:
        if client not in self._busy:
            return
        self._busy[client] -= 1
        if client is not self._client and not self._busy[client]:
            del self._busy[client]
            await client.aclose()

    async def _refresh(self) -> None:
        old = self._client
        self._open()
        if not self._busy.get(old):
            self._busy.pop(old, None)
            await old.aclose()

    async def close(self) -> None:
        """Close all connections, also those of requests under way."""
        for client in list(self._busy):
            await client.aclose()
        self._busy.clear()


async def _body(response: httpx.Response, timeout_s: float) -> bytes:
    """The start of an answer's body; what breaks off, drips or cannot be decoded changes nothing about its status."""
    found = b""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            async for piece in response.aiter_bytes():
                found += piece
                if len(found) >= MAX_ANSWER_BYTES:
                    break
    return found[:MAX_ANSWER_BYTES]
