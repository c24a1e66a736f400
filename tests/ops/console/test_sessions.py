"""Sessions in signed cookies."""

import base64

import pytest

from ops.console.rig import Ahead
from pombo.ops.console.sessions import LIFE_S, Sessions

KEY = b"k" * 32


def test_a_session_comes_back_as_it_went() -> None:
    """Name, role, end and id travel in the cookie."""
    sessions = Sessions(KEY, Ahead())
    session = sessions.begin("Ána “x”", "viewer")
    assert session == sessions.read(sessions.dump(session))
    assert not session.operator


@pytest.mark.parametrize("cookie", [None, "", ".", "a.b", "é.é", "bm90anNvbg.bm90anNvbg", "x" * 5000])
def test_what_is_no_cookie_of_ours_is_nobody(cookie: str | None) -> None:
    """Whatever a client sends as a cookie, nothing breaks."""
    assert None is Sessions(KEY, Ahead()).read(cookie)


def test_a_forged_role_is_nobody() -> None:
    """A viewer who writes `operator` into the cookie has no signature for it."""
    sessions = Sessions(KEY, Ahead())
    told, _, signature = sessions.dump(sessions.begin("eve", "viewer")).partition(".")
    raw = base64.urlsafe_b64decode(told + "==").replace(b"viewer", b"operator")
    forged = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    assert None is sessions.read(f"{forged}.{signature}")


def test_a_session_of_another_key_is_nobody() -> None:
    """A new secret or token ends every session."""
    other = Sessions(b"o" * 32, Ahead())
    assert None is Sessions(KEY, Ahead()).read(other.dump(other.begin("ana", "operator")))


def test_a_session_ends_by_itself() -> None:
    """After twelve hours somebody has to log in again."""
    clock = Ahead()
    sessions = Sessions(KEY, clock)
    session = sessions.begin("ana", "operator")
    cookie = sessions.dump(session)
    clock.by = LIFE_S - 5
    assert sessions.live(session)
    clock.by = LIFE_S + 1
    assert None is sessions.read(cookie)
    assert not sessions.live(session)


def test_a_logout_ends_copies_too() -> None:
    """Whoever kept the cookie has nothing; what is over needs no memory any more."""
    clock = Ahead()
    sessions = Sessions(KEY, clock)
    session = sessions.begin("ana", "operator")
    sessions.end(session)
    assert None is sessions.read(sessions.dump(session))
    clock.by = LIFE_S + 1
    sessions.end(sessions.begin("bea", "viewer"))
    assert [session.id] != list(sessions._ended)
    assert 1 == len(sessions._ended)


def test_a_csrf_token_is_of_one_session() -> None:
    """Another one's token, or none, proves nothing."""
    sessions = Sessions(KEY, Ahead())
    ana, bea = sessions.begin("ana", "operator"), sessions.begin("bea", "operator")
    assert sessions.proves(ana, sessions.csrf(ana))
    assert not sessions.proves(ana, sessions.csrf(bea))
    assert not sessions.proves(ana, None)
    assert not sessions.proves(ana, "é")


def test_installations_have_cookies_of_their_own_names() -> None:
    """Browsers send cookies to all ports of a host: two consoles there do not log each other out."""
    assert Sessions(KEY, Ahead()).cookie != Sessions(b"o" * 32, Ahead()).cookie
