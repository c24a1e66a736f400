"""Groups: letters that died alike, counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from redis.asyncio import Redis

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters.kind import UNREADABLE, Kind
from pombo.shared.deadletters.letter import order
from pombo.shared.deadletters.pages import pages
from pombo.shared.deadletters.rebuild import Make, make_now, ready
from pombo.shared.deadletters.table import Stored
from pombo.shared.keys import Keys


@dataclass(frozen=True, slots=True)
class Group:
    """Letters of one source that died alike."""

    source: str
    fingerprint: str
    reason: str
    status: int | None
    type: str | None
    event: str | None
    answer: str | None
    """Segment's answer without numbers, ids and quoted values."""
    count: int
    first_at: datetime
    """When the first died of those that were there since the group came into being."""
    last_at: datetime
    stuck: bool = False
    """Whether they hold no event that could be sent again as it is."""
    other: bool = False
    """Whether it holds what came when there were too many groups: of one reason, and otherwise unlike."""

    @classmethod
    def of(cls, source: str, stored: Stored) -> "Group":
        """A group as the table keeps it."""
        kind = stored.kind
        return cls(
            source, kind.fingerprint, kind.reason, kind.status, kind.type, kind.event, kind.answer, stored.count,
            moment(stored.first_ms), moment(stored.last_ms), kind.stuck, kind.other,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """The JSON of `dead groups`."""
        return {
            "source": self.source,
            "group": self.fingerprint,
            "reason": self.reason,
            "status": self.status,
            "type": self.type,
            "event": self.event,
            "answer": self.answer,
            "count": self.count,
            "first_at": iso(self.first_at),
            "last_at": iso(self.last_at),
            "redrivable": not self.stuck,
        }


async def groups(redis: Redis, keys: Keys, source: str, *, make: Make = make_now) -> list[Group]:
    """The groups of a source's dead letters, the largest first; without a table every letter is read.

    Letters that another version of pombo wrote are no group. `make` is what is done about a table that tells not all.
    """
    table = await ready(redis, keys.of(source), source, make)
    return _listed(source, table.groups.values() if table else await _counted(redis, keys, source))


async def groups_at_hand(redis: Redis, keys: Keys, source: str, *, make: Make) -> list[Group] | None:
    """The same by the table alone; None where there is none, so that it takes no longer than a look."""
    table = await ready(redis, keys.of(source), source, make)
    return None if table is None else _listed(source, table.groups.values())


def _listed(source: str, stored: Iterable[Stored]) -> list[Group]:
    found = [Group.of(source, one) for one in stored if one.kind.reason != UNREADABLE.reason]
    return sorted(found, key=lambda group: (-group.count, group.fingerprint))


async def _counted(redis: Redis, keys: Keys, source: str) -> list[Stored]:
    """The same without a table: every letter is read."""
    counts: Counter[Kind] = Counter()
    first: dict[Kind, int] = {}
    last: dict[Kind, int] = {}
    async for page in pages(redis, keys, source):
        for letter in page.letters:
            died, kind = order(letter.stream_id)[0], letter.kind
            counts[kind] += 1
            first.setdefault(kind, died)
            last[kind] = died
    return [Stored(kind, count, first[kind], last[kind]) for kind, count in counts.items()]
