"""Rendering: pages and fragments from templates, and the answers to what fails.

A template gets, beside what its page gives: `session`, `csrf`, `operator` (whether they may change things), `nav`,
`here` (the entry of the page), `reading` (the last look), `flash`, `problem_headline`; the functions `asset(name)`,
`there(path)` (whether a page serves it), `url(path, **query)`; and the filters `count`, `size`, `age`, `rate`, `iso`.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode, urlsplit

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Match

from pombo.ops import wording
from pombo.ops.console.assets import asset
from pombo.ops.console.cutjson import unturned
from pombo.ops.console.pages import Nav, pages
from pombo.ops.console.state import session_of, state_of
from pombo.ops.problems import foremost, headline, worst
from pombo.ops.top.columns import figure
from pombo.shared.clock import iso, moment

FLASH: Final = "pombo_flash"
FLASH_S: Final = 60
_INDENT: Final = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
_JSON_PART: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")|(?P<plain>-?\d[\d.eE+-]*|\btrue\b|\bfalse\b|\bnull\b)'
)

Kind = Literal["good", "bad", "note"]


def page(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """A whole page; what was flashed is shown, and shown no more."""
    made = fragment(request, template, status=status, headers=headers, **context)
    if FLASH in request.cookies:
        made.delete_cookie(FLASH)
    return made


def fragment(
    request: Request, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> HTMLResponse:
    """A part of a page, for htmx."""
    return HTMLResponse(render(request, template, **context), status, headers=dict(headers or {}))


def render(request: Request, template: str, **context: Any) -> str:
    """A template's text."""
    return environment().get_template(template).render(_common(request) | context)


def toast(response: Response, text: str, kind: Kind = "good") -> Response:
    """Have htmx show a short word in the corner of the page that asked."""
    response.headers["HX-Trigger"] = orjson.dumps({"toast": {"text": text, "kind": kind}}).decode("ascii", "replace")
    return response


def redirect(request: Request, path: str, text: str = "", kind: Kind = "good") -> Response:
    """Lead on to another page after something was done, and say there what; for htmx and for plain forms."""
    asked_by_htmx = request.headers.get("HX-Request") is not None
    response = (
        Response(headers={"HX-Redirect": path}) if asked_by_htmx else RedirectResponse(path, HTTPStatus.SEE_OTHER)
    )
    if text:
        told = base64.urlsafe_b64encode(orjson.dumps([text, kind])).decode()
        secure = request.url.scheme == "https"
        response.set_cookie(FLASH, told, max_age=FLASH_S, httponly=True, samesite="strict", secure=secure)
    return response


def refuse(request: Request, status: int, words: str) -> Response:
    """The answer to what is refused or failed: a page for people, a line for htmx and for programs."""
    wants_page = "text/html" in request.headers.get("Accept", "") and request.headers.get("HX-Request") is None
    if not wants_page:
        return PlainTextResponse(f"{words}\n", status)
    return page(request, "error.html", status=status, code=status, phrase=HTTPStatus(status).phrase, words=words,
                again=_again(request))  # fmt: skip


def _again(request: Request) -> str:
    """Where to try again: the page itself, or, for what was sent by a form, the page of the form."""
    if request.method in {"GET", "HEAD"}:
        path, query = request.scope["path"], request.url.query
    else:
        came = urlsplit(request.headers.get("Referer", ""))
        path, query = (came.path, came.query) if came.netloc == request.headers.get("Host") else ("/", "")
    # Two slashes would lead to another host.
    return f"/{quote(path.lstrip('/'))}{f'?{query}' if query else ''}"


def operator(request: Request) -> None:
    """See that an operator asks: for what only they may read. What changes things, the guard keeps from others.

    Raises:
        HTTPException: somebody else asks.
    """
    if not session_of(request).operator:
        raise HTTPException(403, "only operators may see this; log in with the operator's token")


def _common(request: Request) -> dict[str, Any]:
    state, session = state_of(request), session_of(request)
    reading = state.poller.latest
    found = reading.problems
    looked = reading.look is not None or reading.away is not None
    return {
        "request": request,
        "session": session,
        "operator": session.operator,
        "open": state.tokens.open,
        "csrf": state.sessions.csrf(session),
        "nav": [one.nav for one in pages() if one.nav],
        "here": _here(request.url.path),
        "reading": reading,
        "problem_headline": headline(found) if looked else "",
        "problem_foremost": foremost(found),
        "severity": worst(found) or "well" if looked else "unknown",
        "flash": _flash(request),
        "now": state.clock.now(),
        "namespace": state.settings.namespace,
    }


def _here(path: str) -> Nav | None:
    """The entry whose path leads nearest to this one."""
    entries = [one.nav for one in pages() if one.nav]
    fitting = [one for one in entries if path == one.path or path.startswith(f"{one.path.rstrip('/')}/")]
    return max(fitting, key=lambda one: len(one.path), default=None)


def _flash(request: Request) -> tuple[str, str] | None:
    """What was flashed. Anybody who can set this host's cookies can say it; it is text, and no more."""
    try:
        text, kind = orjson.loads(base64.urlsafe_b64decode(request.cookies.get(FLASH, "")))
        return str(text)[:500], kind if kind in ("good", "bad") else "note"
    except (ValueError, TypeError):
        return None


@cache
def there(path: str) -> bool:
    """Whether a page of this console serves the path; its query does not matter. A part of the same page is there."""
    if path.startswith("#"):
        return True
    scope = {"type": "http", "method": "GET", "path": path.partition("?")[0].partition("#")[0], "headers": []}
    return any(route.matches(scope)[0] == Match.FULL for one in pages() for route in one.routes)


def url(path: str, **query: Any) -> str:
    """A path with a query of what is neither None nor empty."""
    told = urlencode({name: value for name, value in query.items() if value not in (None, "")})
    return f"{path}?{told}" if told else path


@cache
def environment() -> Environment:
    """The templates, with escaping always on and no silent gaps."""
    made = Environment(
        loader=PackageLoader("pombo.ops.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, cache_size=200, auto_reload=False,
    )  # fmt: skip
    made.globals |= {"asset": asset, "there": there, "url": url, "icon": _icon, "moment": moment}
    filters: dict[str, Callable[..., Any]] = {
        "count": _count, "size": wording.size, "age": wording.age, "rate": figure, "iso": iso, "plural": wording.plural,
        "ago": _ago, "span": _span, "exact": _exact, "sentence": _sentence, "coded": _coded, "json_marked": _marked,
    }  # fmt: skip
    made.filters |= filters
    return made


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _sentence(words: str) -> str:
    """With a capital letter in front; the others stay as they are."""
    return words[:1].upper() + words[1:]


def _coded(words: str) -> Markup:
    """A sentence for terminals, with what it has between backticks as code."""
    parts = words.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(one) if at % 2 else escape(one) for at, one in enumerate(parts)
    )


def _span(seconds: float) -> str:
    """A short span, also below a second: `3 ms`, `0.4 s`, `2 min`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.0995 else wording.age(seconds)


def _exact(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@pass_context
def _ago(context: Context, at: datetime) -> str:
    """How long ago, or in how long, as `console.js` says it too."""
    seconds = (context["now"] - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {wording.age(-seconds)}" if seconds < 0 else f"{wording.age(seconds)} ago"


def _marked(value: Any) -> Markup:
    """A JSON value, indented, with its parts marked for colours."""
    text = (
        value.decode("utf-8", "replace") if isinstance(value, bytes) else orjson.dumps(value, option=_INDENT).decode()
    )
    text = unturned(text)
    parts, at = [], 0
    for found in _JSON_PART.finditer(text):
        parts.append(escape(text[at : found.start()]))
        kind = "k" if found["key"] else "s" if found["text"] else "n"
        parts.append(Markup('<span class="{}">{}</span>').format(kind, found[0]))
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def _icon(name: str) -> Markup:
    """A symbol of `static/icons.svg`, which screen readers pass over."""
    return Markup('<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>').format(
        asset("icons.svg"), name
    )
