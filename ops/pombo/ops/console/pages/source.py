"""One source: what is wrong with it, what flows, and all that can be done to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pombo.ops.closeup import Closeup, read_closeup
from pombo.ops.console import sourceform
from pombo.ops.console.charts import freshness
from pombo.ops.console.deeds import deed
from pombo.ops.console.forms import read_form, text
from pombo.ops.console.poller import Away, Reading
from pombo.ops.console.rendering import fragment, page, redirect
from pombo.ops.console.sparks import Spark
from pombo.ops.console.state import State, state_of
from pombo.ops.overview import SourceView, read_source
from pombo.ops.problems import Problem, problems
from pombo.ops.trial import REMINDER, try_source
from pombo.ops.webhook import curl_line
from pombo.shared import flow
from pombo.shared.errors import PomboError, SourceNotEmptyError, UnknownSourceError
from pombo.shared.history import History

TRIAL_S: Final = 15.0
"""Seconds for which a test event is followed: before a proxy's patience ends."""


@dataclass(frozen=True, slots=True)
class Near:
    """A source as it is now; while Redis is away, as it was last."""

    reading: Reading
    view: SourceView
    closeup: Closeup | None
    history: History | None
    problems: Sequence[Problem]

    @property
    def live(self) -> set[str]:
        """The ids of the workers that live."""
        overview = self.reading.overview
        return {one.id for one in overview.workers if one.alive(overview.now)} if overview else set()

    @property
    def spark(self) -> Spark | None:
        """What flowed over the last minute."""
        return Spark.of(self.history) if self.history else None


async def read(state: State, name: str) -> Near:
    """Read everything that the page shows.

    Raises:
        HTTPException: there is no such source.
        RedisError: Redis is away, and the source was never seen.
    """
    reading = await state.poller.reading()
    if reading.away is None:
        try:
            return await _read(state, name, reading)
        except RedisError as error:
            # It went away since the look; the next one says so, too.
            reading = replace(reading, away=Away(state.clock.now(), state.explain(error)))
    view = reading.overview.sources.get(name) if reading.overview else None
    if view is None:
        await state.redis.ping()
        raise HTTPException(404, f"there is no source {name!r}")
    return Near(reading, view, None, None, reading.problems)


async def _read(state: State, name: str, reading: Reading) -> Near:
    source = await _source(state, name)
    view = await read_source(state.redis, state.keys, source, await flow.redis_now(state.redis))
    closeup = await read_closeup(state.redis, state.keys, source)
    found: list[Problem] = []
    if reading.overview:
        alone = replace(reading.overview, sources={name: view})
        found = [one for one in problems(alone, reading.recent, view.flow.now) if one.source == name]
    return Near(reading, view, closeup, closeup.history, found)


async def _source(state: State, name: str) -> Any:
    try:
        return await state.registry.get(name)
    except UnknownSourceError as error:
        raise HTTPException(404, str(error)) from None
    except PomboError as error:
        raise HTTPException(409, str(error)) from None


# -- looking --


async def show(request: Request) -> Response:
    """The page."""
    return await _page(request)


async def live(request: Request) -> Response:
    """What of it moves."""
    near = await read(state_of(request), request.path_params["name"])
    part = "source_books.html" if request.query_params.get("part") == "books" else "source_live.html"
    return fragment(request, part, **_moving(near))


async def _page(
    request: Request,
    *,
    status: int = 200,
    filled: sourceform.Filled | None = None,
    seen: str = "",
    key_error: str = "",
    remove_error: str = "",
    intake_key: str = "",
) -> Response:
    state, name = state_of(request), request.path_params["name"]
    near = await read(state, name)
    values = sourceform.shown(near.view.source)
    return page(
        request, "source.html", status=status, **_moving(near), sections=sourceform.SECTIONS,
        values=filled.values if filled else values, errors=filled.errors if filled else {},
        seen=seen or orjson.dumps(values).decode(),
        key_problem="" if near.reading.away else await _key_problem(state, name), key_error=key_error,
        remove_error=remove_error, intake_key=intake_key, curl=curl_line(),
    )  # fmt: skip


def _moving(near: Near) -> dict[str, Any]:
    view = near.view
    return {
        "reading": near.reading, "near": near, "view": view, "source": view.source, "ledger": view.ledger,
        "fresh": freshness(near.history) if near.history else (None, None), "spark": near.spark,
        "drain_s": near.history.drain_s if near.history else None,
        "partitions": near.closeup.worst(near.live) if near.closeup else [], "now_ms": view.flow.now,
    }  # fmt: skip


async def _key_problem(state: State, name: str) -> str:
    """Why its write key cannot be read here, as a worker has to; "" when it can."""
    try:
        await state.registry.write_key(name)
    except PomboError as error:
        return str(error)
    return ""


# -- pausing and resuming --


async def pause(request: Request) -> Response:
    """Stop its sending."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    changed = await flow.pause(state.redis, state.keys, name)
    await deed(request, "sources.pause", name)
    words = "is paused: its events are accepted, and wait" if changed else "was paused already"
    return redirect(request, f"/sources/{name}", f"{name} {words}", "good" if changed else "note")


async def resume(request: Request) -> Response:
    """End its pause, its park and its open breaker."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    changed = await flow.resume(state.redis, state.keys, name)
    await deed(request, "sources.resume", name)
    words = "sends again" if changed else "was neither paused, parked nor broken"
    return redirect(request, f"/sources/{name}", f"{name} {words}", "good" if changed else "note")


# -- settings --


async def set_(request: Request) -> Response:
    """Change what somebody changed in the form."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    form = await read_form(request)
    seen = text(form, "seen")
    filled = sourceform.read(form, sourceform.FIELDS.values(), name)
    if not filled.errors:
        options = sourceform.changes(filled, _before(seen))
        if not options:
            return redirect(request, f"/sources/{name}", "nothing was changed", "note")
        try:
            await state.registry.check_keys(name)
            await state.registry.set(name, **options)
        except PomboError as error:
            filled.errors[""] = str(error)
        else:
            await deed(request, "sources.set", name, sourceform.told(options))
            labels = ", ".join(sourceform.FIELDS[one].label.lower() for one in options)
            return redirect(request, f"/sources/{name}", f"{name}: {labels} changed; workers follow within a second")
    return await _page(request, status=422, filled=filled, seen=seen)


def _before(text: str) -> dict[str, str]:
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


# -- keys --


async def rotate(request: Request) -> Response:
    """Replace its write key, which ends its park."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    form = await read_form(request)
    key = text(form, "write_key")
    force = bool(text(form, "force"))
    try:
        warnings = await state.registry.rotate_key(name, key, force=force)
    except PomboError as error:
        return await _page(request, status=422, key_error=str(error))
    await deed(request, "sources.rotate-key", name, {"write_key": "given"} | ({"force": True} if force else {}))
    words = "; ".join((f"{name} has a new write key", *warnings))
    return redirect(request, f"/sources/{name}", words, "note" if warnings else "good")


async def rotate_intake(request: Request) -> Response:
    """Make a new intake key, and show it: this once."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    try:
        intake_key = await state.registry.rotate_intake_key(name)
    except PomboError as error:
        return await _page(request, status=422, key_error=str(error))
    await deed(request, "sources.rotate-key", name, {"intake": True})
    return await _page(request, intake_key=intake_key)


# -- a test event --


async def test(request: Request) -> Response:
    """Send one test event, and show how it fared."""
    state, name = state_of(request), request.path_params["name"]
    source = await _source(state, name)
    problem, trial = "", None
    try:
        trial = await try_source(state.settings, state.redis, source, TRIAL_S)
    except PomboError as error:
        problem = str(error)
    await deed(request, "sources.test", name, {"outcome": trial.outcome} if trial else {"refused": True})
    return fragment(request, "source_trial.html", trial=trial, problem=problem, name=name, reminder=REMINDER)


# -- removing --


async def remove(request: Request) -> Response:
    """Remove it, if its name was typed, and if it is empty or what it holds is to go too."""
    state, name = state_of(request), request.path_params["name"]
    await _source(state, name)
    form = await read_form(request)
    discard = bool(text(form, "discard"))
    if text(form, "confirm") != name:
        return await _page(request, status=422, remove_error=f"type {name} to confirm; nothing was removed")
    try:
        await state.registry.remove(name, discard=discard)
    except SourceNotEmptyError as error:
        words = str(error).replace("remove it with --discard", "tick the box to discard them")
        return await _page(request, status=422, remove_error=words)
    await deed(request, "sources.remove", name, {"discard": True} if discard else None)
    return redirect(request, "/sources", f"{name} was removed")


async def back(request: Request) -> Response:
    """To the source: somebody loaded the address to which a form was sent."""
    return RedirectResponse(f"/sources/{request.path_params['name']}", 303)


_AT: Final = "/sources/{name}"
routes = [
    Route(_AT, show),
    Route(f"{_AT}/live", live),
    Route(f"{_AT}/pause", pause, methods=["POST"]),
    Route(f"{_AT}/resume", resume, methods=["POST"]),
    Route(f"{_AT}/settings", set_, methods=["POST"]),
    Route(f"{_AT}/key", rotate, methods=["POST"]),
    Route(f"{_AT}/intake", rotate_intake, methods=["POST"]),
    Route(f"{_AT}/test", test, methods=["POST"]),
    Route(f"{_AT}/remove", remove, methods=["POST"]),
    *[Route(f"{_AT}/{form}", back, methods=["GET"]) for form in ("settings", "key", "intake", "remove")],
]
