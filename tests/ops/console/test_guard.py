"""The guard, by real requests to a real console: who may ask what, from where."""

import pytest
from starlette.routing import Route

from ops.console.rig import HTML, OPERATOR, VIEWER, Running, bare, token_of
from pombo.ops.console.guard import CSRF_FIELD, CSRF_HEADER, FORM_BYTES, POLICY

PAGES = ("/", "/overview/live", "/overview/history", "/workers", "/workers/live", "/trail")


@pytest.mark.parametrize("path", PAGES)
def test_strangers_are_led_to_the_login(guarded: Running, path: str) -> None:
    """Every page wants a session, and after the login one is where one wanted to be."""
    with guarded.client() as client:
        answer = client.get(path)
    assert 303 == answer.status_code
    assert {"/": "/login"}.get(path, f"/login?next={path}") == answer.headers["location"]


@pytest.mark.parametrize("path", [*PAGES, "/live", "/nowhere"])
def test_programs_without_a_session_are_refused(guarded: Running, path: str) -> None:
    """What asks for no page gets no redirect, and none of the data."""
    answer = bare("GET", f"{guarded.url}{path}")
    assert (401, "your session is over; log in again\n") == (answer.status_code, answer.text)


@pytest.mark.parametrize("role", [OPERATOR, VIEWER])
@pytest.mark.parametrize("path", PAGES)
def test_both_roles_may_look(guarded: Running, role: str, path: str) -> None:
    """Viewers see every page."""
    with guarded.client(role) as client:
        assert 200 == client.get(path).status_code


def test_only_operators_may_change_things(guarded: Running) -> None:
    """Whatever is no GET is refused to viewers before it reaches a page; an operator reaches even one that is not."""
    with guarded.client(VIEWER) as viewer, guarded.client(OPERATOR) as operator:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            for client, expected in ((viewer, 403), (operator, 404)):
                token = token_of(client.get("/").text)
                assert expected == client.request(method, "/nowhere", headers={CSRF_HEADER: token}).status_code
        token = token_of(viewer.get("/").text)
        assert "Viewers may look" in viewer.post("/x", headers={CSRF_HEADER: token}).text


def test_a_form_brings_its_token_in_a_field(guarded: Running) -> None:
    """Without scripts a form works too, and the page gets the whole body all the same."""
    with guarded.client(OPERATOR) as client:
        token = token_of(client.get("/").text)
        assert 404 == client.post("/x", data={CSRF_FIELD: token, "big": "x" * 100_000}).status_code
        assert 303 == client.post("/logout", data={CSRF_FIELD: token}).status_code


@pytest.mark.parametrize("headers", [{}, {CSRF_HEADER: ""}, {CSRF_HEADER: "forged"}])
def test_without_the_right_csrf_token_nothing_is_changed(guarded: Running, headers: dict[str, str]) -> None:
    """An absent, an empty and a forged token are refused, for operators too."""
    with guarded.client(OPERATOR) as client:
        answer = client.post("/logout", headers=headers)
        assert (403, True) == (answer.status_code, "no valid CSRF token" in answer.text)
        assert 200 == client.get("/").status_code


def test_another_sessions_csrf_token_is_refused(guarded: Running) -> None:
    """A viewer's token does not serve an operator."""
    with guarded.client(VIEWER) as viewer, guarded.client(OPERATOR) as operator:
        stolen = token_of(viewer.get("/").text)
        assert 403 == operator.post("/logout", data={CSRF_FIELD: stolen}).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://[evil"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_a_request_from_another_site_is_refused(local: Running, headers: dict[str, str]) -> None:
    """Even with the right token: no other page has any business here."""
    with local.client() as client:
        token = token_of(client.get("/").text)
        answer = client.post("/logout", headers={CSRF_HEADER: token, **headers})
        assert (403, True) == (answer.status_code, "another site" in answer.text)


def test_a_request_from_here_passes(local: Running) -> None:
    """Where browsers tell the site, that decides; elsewhere the origin, and programs tell neither."""
    with local.client() as client:
        for told in ({"Origin": local.url}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}):
            token = token_of(client.get("/").text)
            assert 303 == client.post("/logout", headers={CSRF_HEADER: token, **told}).status_code


def test_a_form_too_large_to_look_into_is_refused(local: Running) -> None:
    """A token is looked for in the first megabyte; nobody fills the memory on the way."""
    with local.client() as client:
        token = token_of(client.get("/").text)
        body = b"big=" + b"x" * FORM_BYTES + f"&{CSRF_FIELD}={token}".encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        assert 403 == client.post("/x", content=body, headers=kind).status_code


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/static/console.css", "/healthz", "/metrics", "/live?x"])
def test_every_answer_carries_the_policy(local: Running, path: str) -> None:
    """No script, style or frame but the console's own, whatever the page or the error."""
    with local.client() as client, client.stream("GET", path) as answer:
        assert POLICY == answer.headers["content-security-policy"]
        assert "nosniff" == answer.headers["x-content-type-options"]
        assert "same-origin" == answer.headers["referrer-policy"]
        kept = "no-store" if not path.startswith("/static") else "no-cache"
        assert kept == answer.headers["cache-control"]


def test_the_policy_allows_no_inline_code() -> None:
    """What an attacker could write into a page would not run."""
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none';")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8081", 200),
        ("127.0.0.1", 200),
        ("[::1]:8081", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_an_open_console_answers_to_local_names_alone(local: Running, host: str, expected: int) -> None:
    """A page elsewhere whose name leads to 127.0.0.1 gets nothing: no token protects the console from it."""
    answer = bare("GET", f"{local.url}/workers", headers=HTML | {"Host": host})
    assert expected == answer.status_code


@pytest.mark.parametrize("host", ["x/login?", "x/static/?", "x/metrics#", "x\\login"])
def test_what_is_asked_for_is_not_in_the_host(guarded: Running, host: str) -> None:
    """A path in the Host header, which some servers read a URL from, opens no page and makes no viewer an operator."""
    with guarded.client(VIEWER) as viewer:
        assert 303 == bare("GET", f"{guarded.url}/workers", headers=HTML | {"Host": host}).status_code
        cookies = {"Cookie": f"{guarded.state.sessions.cookie}={viewer.cookies[guarded.state.sessions.cookie]}"}
        headers = cookies | {"Host": host, CSRF_HEADER: token_of(viewer.get("/").text)}
        assert 403 == bare("POST", f"{guarded.url}/sources/bot/pause", headers=headers).status_code


def test_a_console_with_tokens_has_any_name(guarded: Running) -> None:
    """Behind a proxy it is called as the proxy is; cookies are of one name, so another name has none."""
    assert 303 == bare("GET", f"{guarded.url}/", headers=HTML | {"Host": "pombo.example"}).status_code


def test_an_open_console_takes_everyone_for_the_operator(local: Running) -> None:
    """Whoever is on the machine may do all, and still has a session with a token of its own."""
    with local.client() as client:
        shown = client.get("/")
        cookie = shown.headers["set-cookie"]
        assert "<b>local</b>" in shown.text
        assert "set-cookie" not in client.get("/").headers
    assert ("HttpOnly" in cookie, "SameSite=strict" in cookie, "Secure" in cookie) == (True, True, False)


def test_websockets_and_odd_methods_find_nothing(local: Running) -> None:
    """There is nothing to upgrade to, and TRACE echoes no cookie."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x" * 24}
    assert 200 == bare("GET", f"{local.url}/", headers=upgrade).status_code
    assert 403 == bare("TRACE", f"{local.url}/").status_code


def test_a_page_that_fails_is_told_and_carries_the_policy(local: Running) -> None:
    """The reader learns that the log says more, and not what was in the exception."""

    async def break_down(request: object) -> None:
        raise ValueError("secret detail")

    route = Route("/broken", break_down)
    local.app.router.routes.insert(0, route)
    with local.client() as client:
        answer = client.get("/broken")
    local.app.router.routes.remove(route)
    assert (500, POLICY) == (answer.status_code, answer.headers["content-security-policy"])
    assert "secret detail" not in answer.text
    assert "This page failed; the console&#39;s log says where" in answer.text
