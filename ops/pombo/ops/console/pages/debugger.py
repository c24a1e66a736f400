"""Debugger: the events of a source as they pass, and what becomes of each."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console.cutjson import parsed, shallow
from pombo.ops.console.deeds import deed
from pombo.ops.console.forms import read_form, text
from pombo.ops.console.live import CrowdedError, EventStream
from pombo.ops.console.masking import masked, masked_event
from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import fragment, operator, page, url
from pombo.ops.console.state import session_of, sources_of, state_of
from pombo.ops.console.tailing import Grants, Marks, Tailing, Wanted, find, quiet
from pombo.ops.trace import Search
from pombo.ops.webhook import curl_line
from pombo.shared.deadletters.kind import normalised
from pombo.shared.errors import PomboError, UnknownSourceError
from pombo.shared.sources import Source
from pombo.shared.tail import FATES, Seen

nav = Nav("Debugger", "/debugger", "b", 30, "debugger")

TYPES: Final = ("track", "identify", "page", "screen", "group", "alias")
LOOK: Final = "X-Pombo-Look"
"""Header with what somebody looks for, percent-encoded JSON: it may be a person's id, and URLs are written down."""
GRANT: Final = "X-Pombo-Grant"
"""Header with the token by which values are shown."""
SEARCH_S: Final = 5.0
"""Seconds for which a queue is searched for one event."""
ROWS: Final = 200
"""Events shown at a time."""


async def show(request: Request) -> Response:
    """The page."""
    asked = request.query_params
    reading = await state_of(request).poller.reading()
    names = sources_of(request)
    name = asked.get("source", "") or (names[0] if len(names) == 1 else "")
    known = name in names
    if name and not known and reading.overview and not reading.away:
        known = await _known(request, name)
    fate = asked.get("fate", "")
    return page(
        request, "debugger.html", reading=reading, names=names, chosen=name if known else "",
        unknown=name if name and not known else "", fate=fate if fate in FATES else "", fates=FATES, types=TYPES,
        rows=ROWS, curl=curl_line(),
    )  # fmt: skip


async def _known(request: Request, name: str) -> bool:
    """Whether there is such a source, though the last look knows none: it was just added."""
    try:
        await state_of(request).registry.get(name)
    except PomboError:
        return False
    return True


async def stream(request: Request) -> Response:
    """The tail of a source, as server-sent events."""
    state, source = state_of(request), await _source(request, request.query_params.get("source", ""))
    if state.tails.full:
        raise CrowdedError
    grant = request.headers.get(GRANT, "")
    tailing = Tailing(state, session_of(request), source, _wanted(request.headers.get(LOOK, "")), grant)

    async def messages() -> AsyncGenerator[bytes, None]:
        with state.tails.seat():
            async with aclosing(tailing.messages()) as told:
                async for one in told:
                    yield one

    return EventStream(messages(), state.stopping)


def _wanted(header: str) -> Wanted:
    try:
        told = orjson.loads(unquote(header)) if header else {}
        return Wanted(str(told.get("text", "")).strip()[:200], str(told.get("type", ""))[:20])
    except (ValueError, AttributeError):
        raise HTTPException(400, f"{LOOK} is no percent-encoded JSON object") from None


async def event(request: Request) -> Response:
    """One event: its way, and its payload, masked unless a grant came along."""
    asked = request.query_params
    source = await _source(request, asked.get("source", ""))
    granted = _granted(request, source)
    return await _event(request, source, asked.get("id", ""), granted=granted)


async def reveal(request: Request) -> Response:
    """Grant an operator to see a source's values for a quarter of an hour, and show one event if one was named."""
    operator(request)
    state, session, form = state_of(request), session_of(request), await read_form(request)
    source = await _source(request, text(form, "source"))
    now = state.clock.now().timestamp()
    grant = Grants(state.secrets).give(session, source.name, now)
    await deed(request, "debugger.reveal", source.name)
    message_id = text(form, "id")
    response = await _event(request, source, message_id, granted=True) if message_id else Response(status_code=204)
    response.headers["HX-Trigger"] = orjson.dumps({"revealed": {"source": source.name, "grant": grant}}).decode()
    return response


async def trace(request: Request) -> Response:
    """Where one event is now."""
    state, asked = state_of(request), request.query_params
    source, message_id = await _source(request, asked.get("source", "")), asked.get("id", "")
    try:
        async with asyncio.timeout(SEARCH_S):
            places = await Search(state.redis, state.keys, source, message_id).run()
    except TimeoutError:
        return fragment(request, "debugger_trace.html", places=None, message_id=message_id, source=source)
    told = [replace(place, answer=normalised(place.answer)) if place.answer else place for place in places]
    return fragment(request, "debugger_trace.html", places=told, message_id=message_id, source=source)


def _granted(request: Request, source: Source) -> bool:
    state = state_of(request)
    now, token = state.clock.now().timestamp(), request.headers.get(GRANT, "")
    return bool(token) and Grants(state.secrets).holds(session_of(request), source.name, token, now)


async def _source(request: Request, name: str) -> Source:
    try:
        return await state_of(request).registry.get(name)
    except UnknownSourceError as error:
        raise HTTPException(404, str(error)) from None
    except PomboError as error:
        raise HTTPException(409, str(error)) from None


async def _event(request: Request, source: Source, message_id: str, *, granted: bool) -> Response:
    state = state_of(request)
    found = await find(state, source, message_id)
    latest = found[-1] if found else None
    user = latest.user or "" if latest else ""
    shown = _payload(latest, granted=granted) if latest else {"payload": None, "raw": None}
    return fragment(
        request, "debugger_event.html", source=source, message_id=message_id, fates=found, seen=latest,
        granted=granted, user=user if granted else Marks(state.secrets, source.name).of(user), took_s=_took(found),
        quiet=str if granted else quiet, letter=url("/dead", source=source.name, message_id=message_id), **shown,
    )  # fmt: skip


def _payload(seen: Seen, *, granted: bool) -> dict[str, Any]:
    """The payload as JSON, or, when it is none, as text for those who may see it."""
    try:
        value = shallow(parsed(seen.payload))
    except ValueError:
        return {"payload": None, "raw": seen.payload.decode("utf-8", "replace") if granted else ""}
    if granted:
        return {"payload": value, "raw": None}
    return {"payload": masked_event(value) if isinstance(value, dict) else masked(value), "raw": None}


def _took(found: list[Seen]) -> float | None:
    """Seconds from acceptance to the end, when both are known."""
    begun = next((one.at for one in found if one.fate == "accepted"), None)
    ended = next((one.at for one in reversed(found) if one.fate != "accepted"), None)
    return max(0.0, (ended - begun).total_seconds()) if begun and ended else None


routes = [
    Route("/debugger", show),
    Route("/debugger/stream", stream),
    Route("/debugger/event", event),
    Route("/debugger/trace", trace),
    Route("/debugger/reveal", reveal, methods=["POST"]),
]
