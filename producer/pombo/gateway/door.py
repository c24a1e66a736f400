"""The door of a route: from ASGI to a handler and back, with one answer and one log line for each request."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from pombo.gateway.answers import Answer, Refusal
from pombo.gateway.bodies import ClientGoneError
from pombo.gateway.bugs import told
from pombo.gateway.exchange import Exchange
from pombo.gateway.traffic import Traffic
from pombo.shared.clock import Clock
from pombo.shared.logs import get_logger

Handler = Callable[[Exchange], Awaitable[Answer]]

ORIGIN = (b"access-control-allow-origin", b"*")
EXPOSED = (b"access-control-expose-headers", b"Retry-After")
PREFLIGHT = (
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Content-Encoding, Idempotency-Key, X-Retry-Count",
    ),
    (b"access-control-max-age", b"86400"),
)
_OK = Answer(200, b'{"success": true}', PREFLIGHT)

log = get_logger("pombo.gateway")


class Door:
    """An ASGI application for one route.

    Browsers of any site may send: a page's SDK has the key that everybody can read there, and nothing but that.
    """

    def __init__(self, handler: Handler, methods: tuple[str, ...], clock: Clock, traffic: Traffic) -> None:
        self._handler = handler
        self._methods = methods
        self._clock = clock
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is answered to who went away."""
        begun = time.perf_counter()
        exchange = Exchange(scope, receive, dict(scope["headers"]), self._clock.now())
        try:
            answer = await self._answer(exchange)
        except ClientGoneError:
            self._traffic.note(exchange, 499, time.perf_counter() - begun)
            return
        try:
            await _send(send, answer)
        finally:
            self._traffic.note(exchange, answer.status, time.perf_counter() - begun)

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            if exchange.method in self._methods:
                return await self._handler(exchange)
            if exchange.method == "OPTIONS":
                return _OK
            raise _wrong_method(exchange.method, self._methods)
        except Refusal as refusal:
            exchange.notes["code"] = refusal.code
            return refusal.answer()
        except ClientGoneError:
            raise
        except Exception as error:
            log.error("request.failed", **told(error))
            return Refusal(500, "internal_error", "the gateway stumbled over a bug; its log says more").answer()


async def _send(send: Send, answer: Answer) -> None:
    headers: list[Any] = [
        answer.content_type,
        (b"content-length", str(len(answer.body)).encode()),
        ORIGIN,
        EXPOSED,
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _wrong_method(method: str, allowed: tuple[str, ...]) -> Refusal:
    wanted = ", ".join(one for one in allowed if one != "HEAD")
    message = f"{method} is no method of this route; use {wanted}"
    return Refusal(405, "method_not_allowed", message, headers=((b"allow", ", ".join((*allowed, "OPTIONS")).encode()),))
