"""Poller: the console's one look at Redis a tick, and what is said of it while Redis is away."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

import orjson
from redis.exceptions import RedisError

from pombo.ops.console.live import Hub, message
from pombo.ops.overview import Overview
from pombo.ops.problems import RANKS, Problem, Recent, away, foremost, headline, problems, worst
from pombo.ops.top.rates import Look, Row, rows
from pombo.shared.clock import Clock, iso
from pombo.shared.logs import get_logger

TICK_S: Final = 2.0
SHARE: Final = 4.0
"""A look at very many sources takes long: so many times as long nobody looks again."""
LOOKS: Final = 6
"""Looks remembered; rates are of the oldest and the newest, some ten seconds."""
STALE_S: Final = 30.0
"""After such a pause the looks before it say nothing about now."""

log = get_logger("pombo.console")


@dataclass(frozen=True, slots=True)
class Away:
    """Redis does not answer."""

    since: datetime
    """When it was first noticed."""
    words: str
    """Why, for people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A source as lists of sources show it."""

    row: Row
    problem: Problem | None
    """The worst thing that is wrong with it; notes do not count."""
    noted: bool
    """Whether there is something to know of it, if nothing is wrong."""


@dataclass(frozen=True)
class Reading:
    """What is known now. Everything is of the last look that Redis answered, which may be some time ago."""

    at: datetime
    """When it was read, by the console's wall clock."""
    look: Look | None = None
    before: Look | None = None
    recent: Mapping[str, Recent] = field(default_factory=dict)
    away: Away | None = None

    @property
    def overview(self) -> Overview | None:
        """The last overview; None when Redis never answered."""
        return self.look.overview if self.look else None

    @cached_property
    def rows(self) -> Sequence[Row]:
        """Sources with their rates, those in trouble first."""
        return rows(self.before, self.look) if self.look else ()

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """Every source: what needs somebody first, then what is good to know of, each as `rows` has them."""
        worst: dict[str, Problem] = {}
        for one in self.problems:
            if one.source:
                worst.setdefault(one.source, one)
        found = [(row, worst.get(row.view.name)) for row in self.rows]
        found.sort(key=lambda one: RANKS[one[1].severity] if one[1] else len(RANKS))
        return [_entry(row, one) for row, one in found]

    @cached_property
    def problems(self) -> list[Problem]:
        """What needs somebody, the worst first."""
        found = problems(self.look.overview, self.recent, self.look.overview.now) if self.look else []
        if self.away is None:
            return found
        # What was wrong before Redis went may be so no more: only the outage is certain.
        return [away(self.away.words, None if not self.look else (self.away.since - self.at).total_seconds())]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look brings."""

    overview: Overview
    recent: Mapping[str, Recent]


class Poller:
    """Read on demand, at most once a tick, and by itself while somebody watches.

    Args:
        read: reads everything once; raises what the Redis client raises.
        explain: a failure in words.
        hub: who is told after each look.
        clock: wall clock, and ticks.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Seen]],
        explain: Callable[[RedisError], str],
        hub: Hub,
        clock: Clock,
        *,
        tick_s: float = TICK_S,
    ) -> None:
        self._read, self._explain, self._hub, self._clock = read, explain, hub, clock
        self._tick_s = tick_s
        self._looks: deque[Look] = deque(maxlen=LOOKS)
        self._guard = asyncio.Lock()
        self._tried = float("-inf")
        self._pace_s = tick_s
        self.latest = Reading(clock.now())
        """The newest reading, as it is; `reading` sees that it is no older than a tick."""

    async def reading(self) -> Reading:
        """What is known now; raises nothing when Redis is away."""
        async with self._guard:
            if self._clock.monotonic() - self._tried >= self._pace_s:
                await self._look()
        return self.latest

    def refresh(self) -> None:
        """Have the next reading look again, whenever the last one was: something was just changed."""
        self._tried = float("-inf")

    async def run(self) -> None:
        """Look once a tick while somebody watches, and tell the watchers."""
        while True:
            await self._hub.watched.wait()
            try:
                self._hub.tell(message("tick", orjson.dumps(tick(await self.reading()))))
            except Exception:
                # Something stored that nobody can read: the pages say so, and the next look may find it mended.
                log.exception("console.unreadable")
            await self._clock.sleep(self._pace_s)

    async def _look(self) -> None:
        now, begun = self._clock.now(), self._clock.monotonic()
        try:
            seen = await self._read()
        except (RedisError, OSError) as error:
            self._note_away(error, now)
            return
        finally:
            self._tried = self._clock.monotonic()
            self._pace_s = max(self._tick_s, SHARE * (self._tried - begun))
        if self.latest.away:
            log.info("redis.back", away_since=iso(self.latest.away.since))
        if self._looks and self._tried - self._looks[-1].at > STALE_S:
            self._looks.clear()
        before = self._looks[0] if self._looks else None
        self._looks.append(Look(self._tried, seen.overview))
        self.latest = Reading(now, self._looks[-1], before, seen.recent)

    def _note_away(self, error: RedisError | OSError, now: datetime) -> None:
        words = self._explain(error) if isinstance(error, RedisError) else str(error)
        known = self.latest.away
        if known is None:
            log.warning("redis.away", note="pages show what was known last", error=words)
        self._looks.clear()
        last = self.latest
        self.latest = Reading(last.at, last.look, last.before, last.recent, Away(known.since if known else now, words))


def _entry(row: Row, worst: Problem | None) -> Entry:
    noted = worst is not None and worst.severity == "note"
    return Entry(row, None if noted else worst, noted)


def tick(reading: Reading) -> dict[str, object]:
    """What a tick tells: enough for a title and a status light; pages ask for the rest."""
    found = reading.problems
    return {
        "at": iso(reading.at),
        "headline": headline(found),
        "foremost": foremost(found),
        "severity": worst(found) or "well",
        "urgent": sum(one.severity != "note" for one in found),
        "away": iso(reading.away.since) if reading.away else None,
    }
