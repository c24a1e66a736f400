"""The console as an ASGI application."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from pombo.ops.console.assets import FOLDER, Assets
from pombo.ops.console.guard import Guard
from pombo.ops.console.live import CrowdedError, EventStream
from pombo.ops.console.pages import pages
from pombo.ops.console.rendering import refuse
from pombo.ops.console.state import State, session_of, state_of
from pombo.shared.clock import Clock, SystemClock, iso
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings


def create_app(settings: Settings, secrets: Secrets, *, clock: Clock | None = None) -> Starlette:
    """A console, which connects to Redis when it is first asked; its state is at `app.state.console`."""
    state = State(settings, secrets, clock or SystemClock())
    found = [route for one in pages() for route in one.routes]
    app = Starlette(
        routes=[
            *found,
            Route("/live", _live),
            Route("/healthz", _healthz),
            Route("/metrics", _metrics),
            Route("/favicon.ico", _favicon),
            Mount("/static", Assets()),
        ],
        middleware=[Middleware(Guard, state=state, refuse=refuse)],
        exception_handlers={HTTPException: _http_error, RedisError: _redis_away, CrowdedError: _crowded},
        lifespan=partial(_lifespan, state),
    )
    app.state.console = state
    return app


@asynccontextmanager
async def _lifespan(state: State, app: Starlette) -> AsyncIterator[None]:
    polling = asyncio.create_task(state.poller.run())
    try:
        yield
    finally:
        state.stopping.set()
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling
        await state.close()


async def _live(request: Request) -> Response:
    """Ticks, for as long as the session lasts."""
    state, session = state_of(request), session_of(request)

    place = ExitStack()
    # Taken before the answer begins: who gets none is told so.
    watcher = place.enter_context(state.hub.watcher())

    async def ticks() -> AsyncGenerator[bytes, None]:
        while state.sessions.live(session):
            yield await watcher.take()

    return EventStream(ticks(), state.stopping, place=place)


async def _healthz(request: Request) -> Response:
    """Whether the console lives; that Redis is away is told, and no failure of the console."""
    away = state_of(request).poller.latest.away
    return JSONResponse({"ok": True, "redis": {"away_since": iso(away.since)} if away else "up"})


async def _metrics(request: Request) -> Response:
    """The fleet's metrics; where tokens are set, for who brings one as a Bearer's, or is logged in."""
    state = state_of(request)
    if not state.tokens.open and session_of(request).role == "stranger":
        address = request.client.host if request.client else ""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if state.attempts.wait_s(address) > 0:
            return PlainTextResponse("too many wrong tokens; wait a little\n", 429)
        if scheme.lower() != "bearer" or state.tokens.role_of(token.strip()) == "stranger":
            if token:
                state.attempts.failed(address)
            words = "give POMBO_CONSOLE_TOKEN or POMBO_CONSOLE_VIEWER_TOKEN as `Authorization: Bearer TOKEN`\n"
            return PlainTextResponse(words, 401, headers={"WWW-Authenticate": "Bearer"})
    return Response(await asyncio.to_thread(generate_latest, state.metrics), media_type=CONTENT_TYPE_LATEST)


async def _favicon(request: Request) -> Response:
    return Response((FOLDER / "pombo.svg").read_bytes(), media_type="image/svg+xml")


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "there is no such page", 405: "this page cannot be used so"}.get(error.status_code, error.detail)
    # A page's own words win over ours.
    own = error.detail if error.detail and not _is_phrase(error) else words
    return refuse(request, error.status_code, own)


def _is_phrase(error: HTTPException) -> bool:
    """Whether it has no words but the status' own."""
    return error.detail == HTTPException(error.status_code).detail


def _redis_away(request: Request, error: Exception) -> Response:
    assert isinstance(error, RedisError)
    return refuse(request, 503, state_of(request).explain(error))


def _crowded(request: Request, error: Exception) -> Response:
    return refuse(request, 503, "too many pages are open; close some")
