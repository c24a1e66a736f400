"""Login and logout, as browsers do them."""

import pytest

from ops.console.rig import HTML, OPERATOR, VIEWER, Running, bare, log_in, token_of
from pombo.ops.console.access import BURST
from pombo.ops.console.guard import CSRF_HEADER, FORM_BYTES
from pombo.ops.console.sessions import LIFE_S


@pytest.mark.parametrize(
    ("token", "role"), [(OPERATOR, "operator"), (VIEWER, "viewer"), (f" {OPERATOR}\n", "operator")]
)
def test_a_token_logs_in(guarded: Running, token: str, role: str) -> None:
    """Pasted with blanks around it or not, it leads to the overview, which says who one is."""
    with guarded.client() as client:
        answer = log_in(client, token, name=" Ana  Lú ")
        assert (303, "/") == (answer.status_code, answer.headers["location"])
        shown = client.get("/").text
    assert "<b>Ana Lú</b>" in shown
    assert f">{role}</span>" in shown


def test_without_a_name_one_is_called_by_the_role(guarded: Running) -> None:
    """The trail has something to say."""
    with guarded.client(VIEWER) as client:
        assert "<b>viewer</b>" in client.get("/").text


def test_a_wrong_token_is_refused(guarded: Running) -> None:
    """The page says which variables hold the right one, and repeats the name but not the token."""
    with guarded.client() as client:
        answer = log_in(client, "wrong-token", name="Ana")
        assert 401 == answer.status_code
        assert "POMBO_CONSOLE_TOKEN" in answer.text
        assert "wrong-token" not in answer.text
        assert 303 == client.get("/").status_code


def test_logins_are_in_the_trail_of_logins(guarded: Running) -> None:
    """Who and from where; of those that failed only from where and how often, as names may be tokens."""
    with guarded.client() as client:
        for _ in range(3):
            log_in(client, "wrong-token", name="my-secret-token")
        log_in(client, OPERATOR, name="Ana")
        shown = client.get("/trail", params={"kind": "logins"}).text
        assert ("console.login" in shown, "<b>Ana</b>" in shown, "127.0.0.1" in shown) == (True, True, True)
        assert (1, 1) == (shown.count("times</span> 1"), shown.count("times</span> 2"))
        assert ("my-secret-token" in shown, "wrong-token" in shown) == (False, False)
        assert "console.refused" not in client.get("/trail").text
        assert "Ana" in client.get("/trail", params={"kind": "logins", "q": "ana"}).text


def test_a_session_is_new_at_each_login(guarded: Running) -> None:
    """A cookie that somebody planted before the login is worth nothing after it."""
    with guarded.client() as client:
        client.get("/login")
        planted = dict(client.cookies)
        log_in(client, OPERATOR)
        assert planted != dict(client.cookies)
    assert 303 == bare("GET", guarded.url, headers=HTML, cookies=planted).status_code


@pytest.mark.parametrize(("proto", "secure"), [("http", False), ("https", True)])
def test_the_cookie_is_for_this_site_alone(guarded: Running, proto: str, secure: bool) -> None:
    """No script reads it, no other site sends it, and what came by TLS never goes in the clear."""
    with guarded.client(**{"X-Forwarded-Proto": proto}) as client:
        shown = client.get("/login")
        # The jar would not send a Secure cookie to a plain address, as a browser would to the proxy.
        cookie = shown.headers["set-cookie"].partition(";")[0]
        told = {"csrf": token_of(shown.text), "token": OPERATOR}
        answer = client.post("/login", data=told, headers={"Cookie": cookie})
    flags = {flag.strip() for flag in answer.headers["set-cookie"].split(";")[1:]}
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= flags
    assert secure == ("Secure" in flags)
    assert f"Max-Age={LIFE_S}" in flags or f"Max-Age={LIFE_S - 1}" in flags


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/workers?a=b", "/workers?a=b"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/login?next=/login", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("", "/"),
    ],
)
def test_the_login_leads_nowhere_else(guarded: Running, target: str, expected: str) -> None:
    """A link to the login cannot send people to another site."""
    with guarded.client() as client:
        assert expected == log_in(client, OPERATOR, next=target).headers["location"]


def test_a_stranger_sends_no_more_than_a_form(guarded: Running) -> None:
    """Whoever reaches the login can fill neither disk nor memory: what is no form is refused before it is read."""
    with guarded.client() as client:
        headers = {CSRF_HEADER: token_of(client.get("/login").text)}
        files = {"upload": ("big", b"x" * (FORM_BYTES + 1))}
        assert 403 == client.post("/login", data={"token": OPERATOR}, files=files, headers=headers).status_code
        large = {"token": OPERATOR, "csrf": headers[CSRF_HEADER], "name": "x" * FORM_BYTES}
        assert 403 == client.post("/login", data=large, headers=headers).status_code
        assert 303 == client.post("/login", data={**large, "name": "ana"}, headers=headers).status_code


def test_a_token_in_the_wrong_field_is_in_no_log(guarded: Running, caplog: pytest.LogCaptureFixture) -> None:
    """Who is in a hurry gives the token as the name, and nobody reads it afterwards."""
    with guarded.client() as client:
        assert 401 == log_in(client, "mistyped", name=OPERATOR).status_code
    assert ("console.refused" in caplog.text, OPERATOR in caplog.text) == (True, False)


def test_wrong_tokens_are_slowed_down(guarded: Running) -> None:
    """After five of them even the right one has to wait; then it opens."""
    with guarded.client() as client:
        codes = [log_in(client, f"wrong-{number}").status_code for number in range(BURST)]
        refused = log_in(client, OPERATOR)
        guarded.clock.by += 60
        assert 303 == log_in(client, OPERATOR).status_code
    assert [401] * BURST == codes
    assert (429, True) == (refused.status_code, 0 < int(refused.headers["retry-after"]) <= 10)


def test_a_session_is_over_after_a_shift(guarded: Running) -> None:
    """What was open leads to the login, which says why, and from there back to the page that one was on."""
    with guarded.client(OPERATOR) as client:
        guarded.clock.by += LIFE_S + 60
        assert 303 == client.get("/workers").status_code
        on = {"HX-Request": "true", "HX-Current-URL": f"{guarded.url}/dead?source=bot&user=u"}
        answer = client.get("/workers/live", headers=on)
        where = answer.headers["hx-redirect"]
        assert (401, "/login?over=1&next=/dead%3Fsource%3Dbot%26user%3Du") == (answer.status_code, where)
        shown = client.get(where).text
    assert "Your session is over" in shown
    assert 'name="next" value="/dead?source=bot&amp;user=u"' in shown


def test_a_logout_ends_the_session(guarded: Running) -> None:
    """Also for a copy of the cookie."""
    with guarded.client(OPERATOR) as client:
        copy = dict(client.cookies)
        answer = client.post("/logout", data={"csrf": token_of(client.get("/").text)})
        assert (303, "/login") == (answer.status_code, answer.headers["location"])
    assert 303 == bare("GET", guarded.url, headers=HTML, cookies=copy).status_code


def test_who_is_logged_in_needs_no_login(guarded: Running, local: Running) -> None:
    """The form leads on, also where nobody has to log in."""
    with guarded.client(VIEWER) as client:
        assert "/trail" == client.get("/login?next=/trail").headers["location"]
    with local.client() as client:
        assert "/" == client.get("/login").headers["location"]


def test_the_metrics_take_either_token(guarded: Running, local: Running) -> None:
    """Prometheus brings a Bearer's; wrong ones are slowed down like logins; without tokens it needs none."""
    url = f"{guarded.url}/metrics"
    assert "pombo_workers 0.0" in bare("GET", f"{local.url}/metrics").text
    assert 401 == bare("GET", url).status_code
    for token in (OPERATOR, VIEWER):
        assert "pombo_workers 0.0" in bare("GET", url, headers={"Authorization": f"Bearer {token}"}).text
    codes = [bare("GET", url, headers={"Authorization": "Bearer no"}).status_code for _ in range(BURST + 1)]
    assert [401] * BURST + [429] == codes


def test_health_is_for_everyone(guarded: Running) -> None:
    """A prober needs no token, and learns nothing but that it lives."""
    assert {"ok": True, "redis": "up"} == bare("GET", f"{guarded.url}/healthz").json()
