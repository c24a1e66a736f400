"""The rate limit of a source: its figures, and the bucket that the sources of a rate group share."""

import secrets
from dataclasses import dataclass

from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from pombo.worker.link import Link


@dataclass(frozen=True, slots=True)
class Closed:
    """The gate is shut: why, and for how many seconds at most before asking again."""

    reason: str
    wait_s: float


@dataclass(slots=True)
class Limit:
    """Rate limit in force for a source: events per second (0: off), burst, and its group's name, if any."""

    rate: float
    burst: float
    group: str | None = None

    @property
    def own(self) -> "Limit":
        """What the source's own bucket allows: anything, when its group's bucket is asked instead."""
        return Limit(0, self.burst) if self.group else self


def limit_of(source: Source, group_rate: float | None) -> Limit:
    """The limit in force for a source: its own, or its group's."""
    rate = source.rate if group_rate is None else group_rate
    return Limit(rate, source.burst or max(rate, 1.0), source.rate_group)


class GroupBucket:
    """Take a rate group's tokens, one step before a claim: its bucket lives in another slot than its sources."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys

    async def prepay(self, limit: Limit, events: int) -> Closed | int:
        """Take tokens for `events`; returns how many were taken, 0 where there is no group or no limit."""
        if limit.group is None or limit.rate == 0:
            return 0
        taken, wait = await self._take(limit, events)
        return events if taken else Closed("rate", wait / 1000)

    async def give_back(self, limit: Limit, events: int) -> None:
        """Return the tokens of events that were not sent."""
        if events > 0:
            await self._take(limit, -events)

    async def _take(self, limit: Limit, events: int) -> tuple[int, int]:
        key = self._keys.group_rate(limit.group or "")
        taken, wait = await self._link.script("take", [key], [limit.rate, limit.burst, events, secrets.token_hex(4)])
        return int(taken), int(wait)
