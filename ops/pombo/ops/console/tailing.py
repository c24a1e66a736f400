"""Tailing: what the debugger sends to one browser of a source's events, for as long as it listens.

Nobody's values are in it, unless whoever listens was granted to see them: of an event's user there is a mark, the
same for the same user. When a browser stops to listen, the fleet is asked no more, and tells no more.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from redis.exceptions import RedisError

from pombo.ops.console.live import message
from pombo.ops.console.sessions import Session
from pombo.ops.console.state import State
from pombo.shared import tail
from pombo.shared.deadletters.kind import normalised
from pombo.shared.errors import PomboError
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source

WATCH_S: Final = 15
"""Seconds for which the fleet is asked to tell."""
RENEW_S: Final = 5.0
POLL_S: Final = 0.4
LOOK_S: Final = 2.0
"""Seconds between looks at what waits in a source that does not send."""
FIRST: Final = 500
"""Entries of the tail that are shown at first."""
MOST: Final = 1000
"""Entries read at a time."""
WAITING: Final = 60
"""Events that are shown of those which wait."""
REMEMBERED: Final = 2000
"""Waiting events that are not told twice."""
_NOTE: Final = re.compile(r"[a-z_]+( [1-5]\d\d)?(?: |$)")
GRANT_S: Final = 900
"""Seconds for which an operator who asked sees values."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody looks for; it is in no log and no URL, as it may be a person's id."""

    text: str = ""
    """A part of the event's name or messageId, or a whole userId."""
    type: str = ""

    def fits(self, seen: tail.Seen, *, granted: bool) -> bool:
        """Whether an event is meant. Of a user's id a part counts only when it is shown, or it could be guessed."""
        if self.type and seen.type != self.type:
            return False
        text, user = self.text.casefold(), (seen.user or "").casefold()
        named = text in (seen.event or "").casefold() or text in seen.message_id.casefold()
        return not text or named or text == user or (granted and text in user)


class Marks:
    """What is shown in the place of people's ids: the same for the same one, and nothing that leads back to it."""

    def __init__(self, secrets: Secrets, source: str) -> None:
        self._key = secrets.derive(b"pombo console marks")
        self._source = source

    def of(self, user: str | None) -> str:
        """The mark of a user; "" for none."""
        if not user:
            return ""
        told = hmac.digest(self._key, f"{self._source}\0{user}".encode("utf-8", "surrogatepass"), "sha256")
        return f"•••{told[:2].hex()}"


class Grants:
    """Tokens by which one session sees one source's values for a while; nothing is stored."""

    def __init__(self, secrets: Secrets) -> None:
        self._key = secrets.derive(b"pombo console grants")

    def give(self, session: Session, source: str, now: float) -> str:
        """A token from `now` (s) on."""
        until = int(now) + GRANT_S
        return f"{until}.{self._sign(session, source, until)}"

    def holds(self, session: Session, source: str, token: str, now: float) -> bool:
        """Whether the token is this operator's, for this source, and not over."""
        until, _, signature = token.partition(".")
        if not session.operator or not until.isascii() or not until.isdigit() or len(until) > 12:
            return False
        right = self._sign(session, source, int(until))
        return hmac.compare_digest(right, signature.encode("utf-8", "replace").decode()) and int(until) > now

    def _sign(self, session: Session, source: str, until: int) -> str:
        return hmac.digest(self._key, f"{session.id}\0{source}\0{until}".encode(), "sha256").hex()


class Tailing:
    """One browser's tail of one source.

    Args:
        state: the console.
        session: whose.
        source: which.
        wanted: what of it.
        grant: the token by which values are shown; "" for none.
    """

    def __init__(self, state: State, session: Session, source: Source, wanted: Wanted, grant: str = "") -> None:
        self._state, self._session, self._source, self._wanted, self._grant = state, session, source, wanted, grant
        self._marks = Marks(state.secrets, source.name)
        self._grants = Grants(state.secrets)
        self._cursor = ""
        self._told: OrderedDict[str, None] = OrderedDict()

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events until the session or the source is over: `seen`, `state`, `away` and `gone`."""
        clock = self._state.clock
        renewed = looked = float("-inf")
        last: dict[str, Any] = {}
        while self._state.sessions.live(self._session):
            now = clock.monotonic()
            try:
                if now - renewed >= RENEW_S:
                    await self._renew()
                    renewed = now
                if now - looked >= LOOK_S:
                    about = await self._about()
                    if about != last:
                        last = about
                        yield message("state", orjson.dumps(about))
                    waiting = await self._waiting() if not self._cursor or not about["sends"] else []
                    looked = now
                else:
                    waiting = []
                told, left_out = await self._news(waiting)
            except PomboError:
                yield message("gone", b"{}")
                return
            except RedisError as error:
                yield message("away", orjson.dumps({"words": self._state.explain(error)}))
                last, renewed = {}, float("-inf")
                await clock.sleep(LOOK_S)
                continue
            if told or left_out:
                yield message("seen", orjson.dumps({"rows": told, "left_out": left_out}))
            await clock.sleep(POLL_S)

    async def _renew(self) -> None:
        self._source = await self._state.registry.get(self._source.name)
        await tail.watch(self._state.redis, self._state.keys, self._source.name, WATCH_S)

    async def _about(self) -> dict[str, Any]:
        """Whether the source sends, and if not, why."""
        reading = await self._state.poller.reading()
        overview = reading.overview
        view = overview.sources.get(self._source.name) if overview else None
        workers = sum(one.alive(overview.now) for one in overview.workers) if overview else 0
        state = view.state if view else "active"
        return {"state": state, "workers": workers, "sends": state == "active" and workers > 0}

    async def _waiting(self) -> list[tail.Seen]:
        """The events that wait and were not told yet, oldest first."""
        found = await tail.queued(self._state.redis, self._state.keys, self._source, WAITING)
        return [one for one in reversed(found) if one.message_id not in self._told]

    async def _news(self, waiting: list[tail.Seen]) -> tuple[list[dict[str, Any]], int]:
        """What is to be told, oldest first, and how many events workers left out."""
        first = not self._cursor
        count = FIRST if first else MOST
        redis, keys = self._state.redis, self._state.keys
        seen, self._cursor = await tail.follow(redis, keys, self._source.name, self._cursor, count)
        self._remember(one.message_id for one in waiting)
        found = sorted([*waiting, *seen], key=lambda one: one.at) if waiting else seen
        granted = self.granted
        told = [self.row(one, granted=granted) for one in found if self._wanted.fits(one, granted=granted)]
        return told, 0 if first else sum(one.left_out for one in seen)

    def _remember(self, ids: Iterable[str]) -> None:
        for one in ids:
            self._told[one] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)

    @property
    def granted(self) -> bool:
        """Whether values may be shown now."""
        now = self._state.clock.now().timestamp()
        return bool(self._grant) and self._grants.holds(self._session, self._source.name, self._grant, now)

    def row(self, seen: tail.Seen, *, granted: bool) -> dict[str, Any]:
        """An event and its fate as the browser gets them."""
        return {
            "at": round(seen.at.timestamp() * 1000), "fate": seen.fate, "id": seen.message_id, "type": seen.type,
            "event": seen.event, "user": seen.user or "" if granted else self._marks.of(seen.user),
            "partition": seen.partition, "size": seen.size, "note": seen.note if granted else quiet(seen.note),
        }  # fmt: skip


def quiet(note: str) -> str:
    """A dead event's reason and status, and of Segment's answer what is not about this event alone."""
    told = _NOTE.match(note)
    return note if told is None else f"{told[0]}{normalised(note[told.end() :])}"


async def find(state: State, source: Source, message_id: str) -> list[tail.Seen]:
    """What is known of an event that passed lately or waits: its fates, oldest first; none when it is gone from both.

    Raises what the Redis client raises.
    """
    seen, _ = await tail.follow(state.redis, state.keys, source.name, "", tail.KEPT)
    found = [one for one in seen if one.message_id == message_id]
    if not any(one.fate == "accepted" for one in found):
        waiting = await tail.queued(state.redis, state.keys, source, WAITING)
        found += [one for one in waiting if one.message_id == message_id]
    return sorted(found, key=lambda one: one.at)
