"""Dead letters: those alike as groups, and a list by a filter that the URL carries."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pombo.ops.console.forms import read_form, text
from pombo.ops.console.letterquery import LetterQuery
from pombo.ops.console.mailroom import Mailroom, Survey
from pombo.ops.console.pages import Nav
from pombo.ops.console.rendering import fragment, page, url
from pombo.ops.console.state import State, state_of
from pombo.ops.remedies import REMEDIES, remedy
from pombo.shared.clock import moment
from pombo.shared.deadletters import Counts, DeadLetter, Group
from pombo.shared.deadletters.letter import is_id
from pombo.shared.flow import redis_now

nav = Nav("Dead letters", "/dead", "l", 40, "dead")

PAGE: Final = 50
FEW_GROUPS: Final = 6
"""Groups shown before somebody asks for all."""
MOST_GROUPS: Final = 200
_REASONS: Final = [[str(name), told.title] for name, told in REMEDIES.items()]
LONGEST_WORD: Final = 120
"""Characters shown of what an event says of itself."""


async def show(request: Request) -> Response:
    """The page."""
    state, asked = state_of(request), request.query_params
    room, query, sources = await look(state, asked)
    if asked.get("user"):
        # Somebody typed the address, or has it from an older console: it is not kept as it is.
        return RedirectResponse(query.url(), 303)
    held = await room.held()
    within = [name for name in held if query.wanted.source in {None, name}]
    before = asked.get("before") or None
    if before is not None and (not is_id(before.rpartition("/")[2]) or before.endswith("/0-0")):
        before = None
    mail = None if query.errors else await room.newest(within, query.wanted, before, PAGE)
    survey = Survey([], []) if query.errors else await room.survey(within, query.wanted)
    groups = survey.groups
    shown = MOST_GROUPS if asked.get("groups") else FEW_GROUPS
    known = sum(held[name] for name in within) if not query.searches else None
    return page(
        request, "dead.html", status=422 if query.errors else 200,
        query=query, sources=sources, held=held, reason_options=_REASONS, remedy=remedy,
        groups=groups[:shown], more_groups=max(0, len(groups) - shown), all_groups=len(groups),
        chosen=_chosen(groups, query),
        rows=[row(letter, query.now) for letter in mail.letters] if mail else [], before=before,
        next=mail and mail.next and query.url(before=mail.next), first=before and query.url(),
        cut=mail is not None and mail.cut, making=survey.making,
        making_url=url("/dead/-/making", source=query.wanted.source),
        known=known, count_url=query.url("/dead/-/count"),
    )  # fmt: skip


async def find(request: Request) -> Response:
    """Take a filter that may name a person, and lead on to the address that does not."""
    form = await read_form(request)
    _, query, _ = await look(state_of(request), {name: text(form, name) for name in form})
    return RedirectResponse(query.url(), 303)


async def count(request: Request) -> Response:
    """How many letters match: beside the list, as it may take longer than that."""
    state = state_of(request)
    room, query, _ = await look(state, request.query_params)
    total, within = Counts(), await chosen_sources(room, query)
    making = await room.making(within)
    if not query.errors and not making:
        for counts in (await room.count(within, query.wanted, query.now)).values():
            total += counts
    return fragment(request, "dead_count.html", counts=None if making else total)


async def making(request: Request) -> Response:
    """How far the tables are that the page waits for; when they are there the page is loaded anew."""
    room, query, _ = await look(state_of(request), request.query_params)
    found = await room.making(await chosen_sources(room, query))
    at = url("/dead/-/making", source=query.wanted.source)
    headers = {} if found else {"HX-Refresh": "true"}
    return fragment(request, "dead_making.html", headers=headers, making=found, making_url=at)


async def of_source(request: Request) -> Response:
    """The letters of one source."""
    return RedirectResponse(url("/dead", source=request.path_params["source"]), 303)


async def look(state: State, asked: Mapping[str, Any]) -> tuple[Mailroom, LetterQuery, list[str]]:
    """Where to read, what was asked, and the names of all sources."""
    sources = sorted((await state.registry.snapshot()).sources)
    now = moment(await redis_now(state.redis))
    return (
        Mailroom(state.redis, state.keys, sources, state.tables),
        LetterQuery.parse(asked, sources, now, state.people),
        sources,
    )


async def chosen_sources(room: Mailroom, query: LetterQuery) -> list[str]:
    """The sources with letters that the query allows."""
    return [name for name in await room.held() if query.wanted.source in {None, name}]


def row(letter: DeadLetter, now: datetime) -> dict[str, Any]:
    """A letter as the list shows it: nothing of what the event says of a person."""
    kind, told = letter.kind, letter.describe()
    return {
        "id": letter.id, "href": f"/dead/{letter.id}", "at": letter.died_at, "source": letter.source,
        "reason": kind.reason, "status": kind.status, "answer": kind.answer, "group": letter.fingerprint,
        "what": cut(told["event"] or told["type"]), "type": cut(told["type"]), "events": letter.events,
        "message_id": cut(told["message_id"]), "attempts": letter.header.attempts,
        "older": letter.older_than_window(now), "redrivable": letter.redrivable,
    }  # fmt: skip


def cut(text: str | None) -> str | None:
    """The start of a text of any length."""
    return text if text is None or len(text) <= LONGEST_WORD else f"{text[: LONGEST_WORD - 1]}…"


def _chosen(groups: Sequence[Group], query: LetterQuery) -> Group | None:
    """The group that was asked for."""
    return next((group for group in groups if group.fingerprint == query.wanted.group), None)


routes = [
    Route("/dead", show),
    Route("/dead/-/find", find, methods=["POST"]),
    Route("/dead/-/count", count),
    Route("/dead/-/making", making),
    Route("/dead/{source}", of_source),
]
