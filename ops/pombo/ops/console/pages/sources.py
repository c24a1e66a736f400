"""Sources: all of them, those in trouble first, and the form that adds one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pombo.ops.console import sourceform
from pombo.ops.console.deeds import deed
from pombo.ops.console.forms import read_form, text
from pombo.ops.console.pages import Nav
from pombo.ops.console.poller import Entry, Reading
from pombo.ops.console.rendering import fragment, operator, page, url
from pombo.ops.console.sparks import Spark
from pombo.ops.console.state import state_of
from pombo.ops.webhook import curl_line, describe_webhook
from pombo.shared.errors import ConfigurationError, PomboError, SourceExistsError
from pombo.shared.options import check_write_key

nav = Nav("Sources", "/sources", "s", 20, "sources")

PAGE: Final = 50
STATES: Final = ("trouble", "active", "held", "parked", "paused", "broken")


async def show(request: Request) -> Response:
    """The page."""
    return page(request, "sources.html", **await _context(request))


async def live(request: Request) -> Response:
    """What of it moves."""
    return fragment(request, "sources_live.html", **await _context(request))


async def _context(request: Request) -> dict[str, Any]:
    state, asked = state_of(request), request.query_params
    reading = await state.poller.reading()
    q, wanted = asked.get("q", "").strip()[:64], asked.get("state", "")
    entries = [one for one in reading.entries if _fits(one, q.casefold(), wanted)]
    number = max(1, int(asked["page"])) if asked.get("page", "").isdecimal() and len(asked["page"]) < 6 else 1
    some = entries[(number - 1) * PAGE : number * PAGE]
    more = len(entries) > number * PAGE
    at = {"q": q, "state": wanted}
    return {
        "reading": reading, "overview": reading.overview, "q": q, "wanted": wanted, "states": STATES,
        "entries": some, "found": len(entries), "all": len(reading.rows),
        "sparks": await _sparks(request, reading, some),
        "first": (number - 1) * PAGE + 1, "last": (number - 1) * PAGE + len(some),
        "before": url("/sources", **at, page=number - 1 if number > 2 else None) if number > 1 else "",
        "next": url("/sources", **at, page=number + 1) if more else "",
        "live": url("/sources/-/live", **at, page=number if number > 1 else None),
    }  # fmt: skip


def _fits(entry: Entry, q: str, wanted: str) -> bool:
    view = entry.row.view
    if q and q not in view.name.casefold() and q not in (view.source.rate_group or "").casefold():
        return False
    return not wanted or (entry.problem is not None if wanted == "trouble" else view.state == wanted)


async def _sparks(request: Request, reading: Reading, entries: Sequence[Entry]) -> Mapping[str, Spark]:
    if reading.away:
        return {}
    try:
        return await state_of(request).sparks.read([one.row.view for one in entries])
    except RedisError:
        # It went away since the look; the next one says so.
        return {}


# -- adding --


async def form(request: Request) -> Response:
    """The form of a new source."""
    operator(request)
    return _form(request, "", sourceform.usual(), {})


async def add(request: Request) -> Response:
    """Add a source, and show its intake key: this once."""
    state, given = state_of(request), await read_form(request)
    name, key = text(given, "name"), text(given, "write_key")
    fields = [sourceform.PARTITIONS, *sourceform.FIELDS.values()]
    filled = sourceform.read(given, fields, name)
    if not filled.errors.get("write_key"):
        _check_key(key, filled)
    if filled.errors:
        return _form(request, name, filled.values, filled.errors, status=422)
    try:
        added = await state.registry.add(name, key, **filled.options)
    except PomboError as error:
        where = "name" if isinstance(error, SourceExistsError) else ""
        return _form(request, name, filled.values, {where: str(error)}, status=422)
    await deed(request, "sources.add", name, sourceform.told(_unusual(filled.options)))
    webhook = describe_webhook(added.source, added.intake_key) if added.source.blip else None
    return page(request, "source_added.html", added=added, webhook=webhook, curl=curl_line())


def _check_key(key: str, filled: sourceform.Filled) -> None:
    try:
        check_write_key(key)
    except ConfigurationError as error:
        filled.errors["write_key"] = str(error)


def _unusual(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is not as it would be anyway."""
    fields = {**sourceform.FIELDS, "partitions": sourceform.PARTITIONS}
    return {name: value for name, value in options.items() if value != fields[name].default}


def _form(
    request: Request, name: str, values: Mapping[str, str], errors: Mapping[str, str], status: int = 200
) -> Response:
    return page(
        request, "source_add.html", status=status, name=name, values=values, errors=errors,
        sections=sourceform.SECTIONS, partitions=sourceform.PARTITIONS,
    )  # fmt: skip


routes = [
    Route("/sources", show),
    Route("/sources/-/live", live),
    Route("/sources/-/add", form, methods=["GET"]),
    Route("/sources/-/add", add, methods=["POST"]),
]
