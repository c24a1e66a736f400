"""The trail: who did what to the installation, by console or command line; the last 10,000 deeds.

Who logged in at the console, and from where it was tried in vain, is a list of its own: strangers push out no deed.

It names sources, jobs and letters, and what was changed. Secrets, and what would name a person, such as a userId, do
not belong into a deed's detail. A trail that cannot be written stops nobody: repairs matter more.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Self, cast

import orjson
from redis.asyncio import Redis
from redis.client import Redis as BlockingRedis
from redis.exceptions import RedisError

from pombo.shared.clock import iso, moment
from pombo.shared.keys import Keys

log = logging.getLogger("pombo.shared.trail")

Role = Literal["operator", "viewer", "shell", "stranger"]
"""`shell` is whoever may run commands on a machine of the installation; a `stranger` only ever fails to log in."""
KEPT: Final = 10_000
"""Deeds kept: 3 MB."""
LOGINS_KEPT: Final = 2000
"""Logins kept: 0.5 MB."""
MAX_WORD: Final = 200
"""Characters of who, what and subject."""
MAX_DETAIL: Final = 2000
"""Bytes of a detail; a longer one is left out, and the deed says so."""
_VERSION = "1"
_TROUBLE: Final = (RedisError, OSError, ValueError, TypeError)
"""Redis', and what no JSON or UTF-8 can tell."""


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that somebody did."""

    id: str
    """Its place in the trail, and the cursor to read on from."""
    who: str
    role: str
    what: str
    """Such as `sources.pause` or `dead.redrive`."""
    subject: str
    """The source, letter or job that it was done to; empty for the installation."""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """When, by Redis' clock."""
        return moment(int(self.id.partition("-")[0]))

    @classmethod
    def parse(cls, entry: Sequence[Any]) -> Self | None:
        """Read a stream entry; None for that of another version."""
        entry_id, found = entry
        fields = {name.decode(): value.decode("utf-8", "replace") for name, value in found.items()}
        if fields.pop("v", None) != _VERSION:
            return None
        try:
            detail = orjson.loads(fields.pop("detail", "{}"))
            return cls(entry_id.decode(), detail=detail if isinstance(detail, dict) else {}, **fields)
        except (ValueError, TypeError):
            return None

    def describe(self) -> dict[str, Any]:
        """The deed as JSON."""
        return {
            "id": self.id, "at": iso(self.at), "who": self.who, "role": self.role, "what": self.what,
            "subject": self.subject, "detail": dict(self.detail),
        }  # fmt: skip


async def note(
    redis: Redis, keys: Keys, *, who: str, role: Role, what: str, subject: str, detail: Mapping[str, Any] | None = None
) -> bool:
    """Write a deed down; whether that succeeded. A failure is logged and raises nothing.

    Args:
        redis: a client.
        keys: the key catalogue.
        who: as people know them: a name at a host, or of a login.
        role: what they may do.
        what: what was done, such as `sources.pause`.
        subject: what it was done to.
        detail: more of it, as JSON can tell it; no secrets, nobody's data.
    """
    try:
        await redis.execute_command(*_command(keys.trail, KEPT, detail, who=who, role=role, what=what, subject=subject))  # type: ignore[no-untyped-call]
    except _TROUBLE as error:
        _lament(what, subject, error)
        return False
    return True


def note_at_once(
    redis: BlockingRedis, keys: Keys, *, who: str, role: Role, what: str, subject: str,
    detail: Mapping[str, Any] | None = None,
) -> bool:  # fmt: skip
    """The same over a blocking client."""
    try:
        redis.execute_command(*_command(keys.trail, KEPT, detail, who=who, role=role, what=what, subject=subject))  # type: ignore[no-untyped-call]
    except _TROUBLE as error:
        _lament(what, subject, error)
        return False
    return True


async def note_login(
    redis: Redis, keys: Keys, *, who: str, role: Role, what: str, detail: Mapping[str, Any] | None = None
) -> bool:
    """Write a login down, or one that failed, in the same way."""
    command = _command(keys.logins, LOGINS_KEPT, detail, who=who, role=role, what=what, subject="")
    try:
        await redis.execute_command(*command)  # type: ignore[no-untyped-call]
    except _TROUBLE as error:
        _lament(what, "", error)
        return False
    return True


async def read_trail(
    redis: Redis, keys: Keys, *, before: str | None = None, count: int = 100, logins: bool = False
) -> list[Deed]:
    """Read deeds, newest first; `before` is the id of the oldest one read so far. Raises what the client raises.

    With `logins` it reads those instead.
    """
    place = keys.logins if logins else keys.trail
    rows = cast("list[Any]", await redis.xrevrange(place, f"({before}" if before else "+", "-", count=count))
    return [deed for row in rows if (deed := Deed.parse(row)) is not None]


def _command(place: str, kept: int, detail: Mapping[str, Any] | None, **words: str) -> list[str | bytes]:
    pairs = [word for name, value in words.items() for word in (name, value[:MAX_WORD])]
    told = orjson.dumps(dict(detail or {}), default=str)
    if len(told) > MAX_DETAIL:
        told = orjson.dumps({"left_out": f"{len(told)} bytes of detail"})
    return ["XADD", place, "MAXLEN", "~", str(kept), "*", "v", _VERSION, *pairs, "detail", told]


def _lament(what: str, subject: str, error: Exception) -> None:
    log.warning("the trail could not be written: %s %s was done all the same (%s)", what, subject, error)
