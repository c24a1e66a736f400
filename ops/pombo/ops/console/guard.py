"""Guard: what every request passes before a page sees it, and what every answer carries.

In this order: the Host, when no token protects the console (a page elsewhere may have a name of its own lead here);
who asks; for everything but GET and HEAD where the request comes from, the session's CSRF token, and whether they are
an operator. Pages change nothing at a GET.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pombo.ops.console.sessions import Session
from pombo.ops.console.state import State
from pombo.shared.logs import get_logger

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf"
FORM_BYTES: Final = 1 << 20
"""Of a form without the header: what is read to find its token. Larger ones bring it in the header."""
FORM_S: Final = 60.0
"""Seconds in which such a form has to come."""
_FORM: Final = "application/x-www-form-urlencoded"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_SAFE: Final = frozenset({"GET", "HEAD"})
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OPEN: Final = ("/static/", "/login", "/healthz", "/metrics", "/favicon.ico")
"""Where strangers may ask; `/metrics` looks for a token of its own."""
_ANYONES: Final = frozenset({"/login", "/logout", "/dead/-/find"})
"""What viewers and strangers may post to: what comes in, goes, or asks, and changes nothing."""

_FOREIGN_HOST: Final = (
    "without a token the console answers only to localhost; set POMBO_CONSOLE_TOKEN to reach it by other names"
)

log = get_logger("pombo.console")

Refuse = Callable[[Request, int, str], Response]
"""Makes the answer to a refused or failed request: status, and a sentence that says why and what to do."""


class Guard:
    """Let a request through to the pages, or refuse it.

    Args:
        app: the pages.
        state: the console.
        refuse: makes the answer to what is refused.
    """

    def __init__(self, app: ASGIApp, state: State, refuse: Refuse) -> None:
        self._app, self._state, self._refuse = app, state, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; websockets are refused."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        known = self._state.sessions.read(request.cookies.get(self._state.sessions.cookie))
        session = known or self._newcomer()
        scope["pombo.session"] = session
        answer = _Answer(send, self._cookie(request, session) if known is None else None, scope["path"])
        try:
            refused, receive = await self._judge(request, session, receive)
            await (refused or self._app)(scope, receive, answer.send)
        except Exception as error:
            # A client that went away is nobody's mistake.
            if isinstance(error, asyncio.CancelledError) or answer.begun:
                raise
            log.exception("console.failed", path=scope["path"], method=scope["method"])
            words = "this page failed; the console's log says where"
            await self._refuse(request, 500, words)(scope, receive, answer.send)

    def _newcomer(self) -> Session:
        """Who comes without a session: where no token is set, the operator at this machine."""
        if self._state.tokens.open:
            return self._state.sessions.begin("local", "operator")
        return self._state.sessions.begin("", "stranger")

    def _cookie(self, request: Request, session: Session) -> str:
        response = Response()
        keep(request, response, self._state, session)
        return response.headers["set-cookie"]

    async def _judge(self, request: Request, session: Session, receive: Receive) -> tuple[Response | None, Receive]:
        """The refusal, if it is one, and what the page may read the body from."""
        # Not the URL's path, into which some versions of Starlette take what the Host header has behind a slash.
        path, safe = request.scope["path"], request.method in _SAFE
        if self._state.tokens.open and not _at_home(request):
            return self._refuse(request, HTTPStatus.MISDIRECTED_REQUEST, _FOREIGN_HOST), receive
        if session.role == "stranger" and not path.startswith(_OPEN):
            return self._to_login(request, path, safe=safe), receive
        if safe:
            return None, receive
        token, receive = await _token(request, receive, stranger=session.role == "stranger")
        words = self._objection(request, session, token)
        return (self._refuse(request, HTTPStatus.FORBIDDEN, words) if words else None), receive

    def _objection(self, request: Request, session: Session, token: str | None) -> str:
        """Why a request may not change anything; "" when it may."""
        if not _from_here(request):
            return "this came from another site; nothing was changed"
        if not self._state.sessions.proves(session, token):
            return "this page is too old, or came from elsewhere (no valid CSRF token); load it again and repeat"
        if not session.operator and request.scope["path"] not in _ANYONES:
            return "viewers may look and change nothing; log in with the operator's token"
        return ""

    def _to_login(self, request: Request, path: str, *, safe: bool) -> Response:
        """A stranger asks for a page: to the login, and back from there."""
        page = "text/html" in request.headers.get("Accept", "") and request.headers.get("HX-Request") is None
        if not safe or not page:
            response = self._refuse(request, 401, "your session is over; log in again")
            came = urlsplit(request.headers.get("HX-Current-URL", ""))
            response.headers["HX-Redirect"] = f"/login?over=1&next={_quoted(came.path or '/', came.query)}"
            return response
        asked = _quoted(path, request.url.query)
        where = "/login" if asked == "/" else f"/login?next={asked}"
        return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": where})


def _quoted(path: str, query: str) -> str:
    """A page's address as a value in another's."""
    return quote(f"{path}?{query}" if query else path, safe="/")


class _Answer:
    """Sends an answer with the headers that each one carries."""

    def __init__(self, send: Send, cookie: str | None, path: str) -> None:
        self._send, self._cookie, self._static = send, cookie, path.startswith("/static/")
        self.begun = False

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if not self._static:
                headers.setdefault("Cache-Control", "no-store")
                if self._cookie and "set-cookie" not in headers and "html" in headers.get("content-type", ""):
                    headers.append("Set-Cookie", self._cookie)
        await self._send(message)


def keep(request: Request, response: Response, state: State, session: Session) -> None:
    """Have the browser keep the session: for no script, no other site, and never in the clear once it was by TLS."""
    response.set_cookie(
        state.sessions.cookie,
        state.sessions.dump(session),
        max_age=max(0, session.until - int(state.clock.now().timestamp())),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def _at_home(request: Request) -> bool:
    """Whether the Host is this machine's own name; a name that somebody's DNS leads here is not."""
    try:
        return urlsplit(f"//{request.headers.get('Host', '')}").hostname in _LOCAL
    except ValueError:
        return False


def _from_here(request: Request) -> bool:
    """Whether a page of this console sent the request, as far as browsers tell; a program that is none says nothing."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site == "same-origin"
    # Beyond TLS and localhost browsers tell no site, but the origin.
    return origin is None or origin.partition("://")[2] == request.headers.get("Host", "")


async def _token(request: Request, receive: Receive, *, stranger: bool) -> tuple[str | None, Receive]:
    """The CSRF token in the header, else in a form's hidden field; and the body once more.

    Strangers send forms alone, which are read here, so that nobody whom the console does not know sends it more.
    """
    token = request.headers.get(CSRF_HEADER)
    form = request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == _FORM
    if not form or (token is not None and not stranger):
        return None if stranger else token, receive
    try:
        async with asyncio.timeout(FORM_S):
            return await _token_of_form(receive)
    except TimeoutError:
        return None, receive


async def _token_of_form(receive: Receive) -> tuple[str | None, Receive]:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or len(body) > FORM_BYTES:
            return None, receive
        if not message.get("more_body"):
            break
    found = parse_qs(body.decode("utf-8", "replace"), max_num_fields=1000).get(CSRF_FIELD)
    return (found[0] if found else None), _again(body, receive)


def _again(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Receive a body that was read already, and then what comes."""
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
