"""Every route there is, found by itself: who may use it, and that no address breaks it."""

import re
from collections.abc import Iterator

import httpx
import pytest
from starlette.routing import Route

from ops.console.letterbox import add
from ops.console.rig import OPERATOR, VIEWER, Running, bare, token_of
from pombo.ops.console.guard import CSRF_HEADER
from pombo.ops.console.pages import pages

ROUTES = [(method, route.path) for page in pages() for route in page.routes if isinstance(route, Route)
          for method in sorted((route.methods or set()) - {"HEAD"})]  # fmt: skip
LOOKS = [path for method, path in ROUTES if method == "GET"]
DEEDS = [path for method, path in ROUTES if method != "GET"]
OPEN = {"/login", "/logout"}
ASKS = {"/dead/-/find"}
"""What viewers may send, as it changes nothing and is no GET only to keep persons out of addresses."""
QUERIES = ("page", "before", "since", "until", "source", "id")
ODD = ("²", "bot/0-0", "0-0", "0001-01-01T00:00+23:59", "<script>alert(1)</script>")


def filled(path: str) -> str:
    """The route with something in its places."""
    return re.sub(r"\{(\w+)\}", lambda place: {"stream_id": "1-1"}.get(place[1], "bot"), path)


def test_there_are_routes() -> None:
    """What follows looks at something: pages, and what changes things."""
    assert (True, True) == (len(LOOKS) > 20, len(DEEDS) > 10)


@pytest.mark.parametrize("path", sorted({*LOOKS} - OPEN))
def test_a_stranger_sees_no_page(guarded: Running, path: str) -> None:
    """Without a session every page leads to the login, for people, and refuses programs."""
    shown = [bare("GET", f"{guarded.url}{filled(path)}", headers={"Accept": kind}) for kind in ("text/html", "*/*")]
    assert [303, 401] == [answer.status_code for answer in shown]
    assert shown[0].headers["location"].startswith("/login")


@pytest.fixture(scope="module")
def both(guarded_of_module: Running) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """A viewer's browser and an operator's."""
    with guarded_of_module.client(VIEWER) as viewer, guarded_of_module.client(OPERATOR) as operator:
        yield viewer, operator


@pytest.mark.parametrize("path", sorted({*DEEDS} - OPEN))
def test_nobody_changes_a_thing_without_a_right_to(guarded: Running, both: tuple[httpx.Client, ...], path: str) -> None:
    """A stranger, a viewer with a token of the session, and an operator's browser without one are all refused."""
    guarded.clock.by = 0
    viewer, operator = both
    token = token_of(viewer.get("/workers").text)
    told = [
        bare("POST", f"{guarded.url}{filled(path)}").status_code,
        viewer.post(filled(path), headers={CSRF_HEADER: token}).status_code,
        operator.post(filled(path)).status_code,
    ]
    assert [401, 303 if path in ASKS else 403, 403] == told


@pytest.mark.parametrize("path", sorted({*LOOKS} - OPEN - {"/debugger/stream"}))
def test_no_address_breaks_a_page(local: Running, redis_url: str, path: str) -> None:
    """Whatever somebody writes behind the question mark is answered, with markup as text, and never blamed on Redis."""
    add(redis_url, "bot")
    with local.client() as client:
        for name in QUERIES:
            for value in ODD:
                answer = client.get(filled(path), params={"source": "bot", name: value})
                assert answer.status_code < 500, (name, value, answer.text)
                assert "<script>alert" not in answer.text
