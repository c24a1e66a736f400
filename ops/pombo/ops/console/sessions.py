"""Sessions: who looks, in a signed cookie that ends by itself; nothing is stored but what was logged out early."""

import base64
import hmac
import secrets as randomness
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from pombo.ops.console.access import Role
from pombo.shared.clock import Clock

LIFE_S: Final = 12 * 3600
"""Seconds for which a login holds: a long shift."""
_ROLES: Final[Mapping[str, Role]] = {"operator": "operator", "viewer": "viewer", "stranger": "stranger"}


@dataclass(frozen=True, slots=True)
class Session:
    """Who looks."""

    name: str
    """What the trail calls them."""
    role: Role
    until: int
    """When it ends, in seconds of the wall clock."""
    id: str
    """Random; a new one at each login."""

    @property
    def operator(self) -> bool:
        """Whether they may change things."""
        return self.role == "operator"


class Sessions:
    """Issue and read the cookies.

    Args:
        key: 32 bytes or more that nobody else knows; with another one all sessions end.
        clock: tells when they end.
    """

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock
        self._ended: dict[str, int] = {}
        # Browsers send a host's cookies to all its ports: each installation's has a name of its own.
        self.cookie = f"pombo_session_{self._sign(b'name')[:8].hex()}"

    def begin(self, name: str, role: Role) -> Session:
        """A new session from now on."""
        return Session(name, role, int(self._now()) + LIFE_S, randomness.token_urlsafe(12))

    def dump(self, session: Session) -> str:
        """The cookie's value."""
        told = orjson.dumps([session.name, session.role, session.until, session.id])
        return f"{_text(told)}.{_text(self._sign(told))}"

    def read(self, cookie: str | None) -> Session | None:
        """Who a cookie is of; None for one that is forged, over, or of no session."""
        told, _, signature = (cookie or "").partition(".")
        raw = _bytes(told)
        if not raw or not hmac.compare_digest(self._sign(raw), _bytes(signature)):
            return None
        name, role, until, session_id = orjson.loads(raw)
        over = until <= self._now() or session_id in self._ended
        return None if over or role not in _ROLES else Session(name, _ROLES[role], until, session_id)

    def end(self, session: Session) -> None:
        """Have the session's cookie count no more, also where somebody kept a copy."""
        now = self._now()
        self._ended = {known: until for known, until in self._ended.items() if until > now}
        self._ended[session.id] = session.until

    def live(self, session: Session) -> bool:
        """Whether it is neither over nor logged out: what stays open asks again."""
        return session.until > self._now() and session.id not in self._ended

    def csrf(self, session: Session) -> str:
        """The token that a session's own pages carry, and that everything but a GET must bring."""
        return _text(self._sign(b"csrf " + session.id.encode()))

    def proves(self, session: Session, token: str | None) -> bool:
        """Whether this is the session's token, compared in constant time."""
        return hmac.compare_digest(self.csrf(session).encode(), (token or "").encode("utf-8", "replace"))

    def _sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")

    def _now(self) -> float:
        return self._clock.now().timestamp()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """What `_text` wrote; nothing for what it never writes."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        return b""
