"""A request's body: read within limits of size and time, and inflated within the same."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pombo.gateway.answers import Refusal
from pombo.gateway.room import Share

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

GRACE_S = 10.0
"""Seconds that a body may take to come, however short it is."""
LEAST_BYTES_PER_S = 65_536
"""How fast it must come beyond that; 5 MB get 90 s."""
MOST_MEMBERS = 32
"""Members of a gzip body: SDKs send one. What follows each is copied, so many empty ones would take many seconds."""
_GZIP = 16 + zlib.MAX_WBITS
_PLAIN = frozenset({b"", b"identity"})
_GZIPPED = frozenset({b"gzip", b"x-gzip"})


class ClientGoneError(Exception):
    """The client went away before its body had come; there is nobody to answer."""


async def read(
    receive: Receive, headers: dict[bytes, bytes], share: Share, limit: int, *, grace_s: float = GRACE_S
) -> bytes:
    """Read the body, as the client meant it.

    Args:
        receive: ASGI's.
        headers: of the request, names in lower case.
        share: the room that it takes; what it holds is given back with it.
        limit: bytes of the body, as sent and inflated.
        grace_s: seconds that it may take to come, however short it is.

    Raises:
        Refusal: it is too large, too slow, or no gzip; or there is no room.
        ClientGoneError: the connection was closed.
    """
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in _PLAIN and encoding not in _GZIPPED:
        raise Refusal(415, "unsupported_encoding", "the body's Content-Encoding is not known here; use gzip or none")
    told = headers.get(b"content-length", b"")
    if told.isdigit() and int(told) > limit:
        raise _too_large(limit)
    body = await _received(receive, share, limit, grace_s)
    return body if encoding in _PLAIN else _inflated(body, share, limit)


async def _received(receive: Receive, share: Share, limit: int, grace_s: float) -> bytes:
    begun = asyncio.get_running_loop().time()
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(grace_s) as scope:
            share.begin(scope)
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientGoneError
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
                size += len(parts[-1])
                if size > limit:
                    raise _too_large(limit)
                share.take(len(parts[-1]))
                if more:
                    scope.reschedule(begun + grace_s + size / LEAST_BYTES_PER_S)
    except TimeoutError:
        raise Refusal(408, "too_slow", f"the body did not come in time; {size:,} bytes did: send it again") from None
    finally:
        share.end()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inflated(body: bytes, share: Share, limit: int) -> bytes:
    """Inflate gzip, also of several members; stops at the limits, however much there would be."""
    parts: list[bytes] = []
    size = 0
    while body or not parts:
        if len(parts) == MOST_MEMBERS:
            raise Refusal(400, "malformed_gzip", f"the body has more than {MOST_MEMBERS} gzip members; send one")
        inflater = zlib.decompressobj(wbits=_GZIP)
        try:
            part = inflater.decompress(body, limit + 1 - size)
        except zlib.error:
            raise _no_gzip() from None
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not inflater.eof:
            raise _no_gzip()
        share.take(len(part))
        parts.append(part)
        body = inflater.unused_data
    return b"".join(parts)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413, "body_too_large", f"the body has more than {limit:,} bytes; send fewer events at once (Segment: 500 KB)"
    )


def _no_gzip() -> Refusal:
    return Refusal(400, "malformed_gzip", "the body says to be gzip, and cannot be inflated")
