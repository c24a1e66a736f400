"""Flow: whether a source may send now, as the whole fleet sees it, and an operator's say in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Literal, Self, cast

from redis.asyncio import Redis

from pombo.shared.clock import iso, moment
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.scripts import script

BLOCKED = "blocked:"
"""Prefix of the flow's fields that say why a partition, or (`blocked:key`) the whole source, waits for a person."""

State = Literal["active", "held", "parked", "paused", "broken"]

PACE_CUT, PACE_MS, PACE_ENDS = 0.2, 30_000, 3
"""Of the curve in `pace`; the scripts hold the same figures (`lua/weather.lua`)."""
CLOCK_BACK_MS = 1000
"""A hold that was asked for so far in the future ended when Redis' clock went back; the scripts say the same."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A source's flow hash as read at one moment; every time is in milliseconds of Redis' clock."""

    now: int
    """When it was read."""
    parked: str | None = None
    """Why it is parked; None when it is not."""
    parked_at: int | None = None
    probe_at: int | None = None
    """When the next probe may see whether it is repaired."""
    paused: bool = False
    paused_at: int | None = None
    """Since when; None when it is not, or an older pombo paused it."""
    hold_until: int | None = None
    """End of the last hold, over or not."""
    last_success: int | None = None
    broken_at: int | None = None
    """Since when the breaker is open; None when it is closed."""
    broken_why: str | None = None
    """What happened to the request that opened it, or to the last one that tried it since."""
    pace_max: float = 0
    """Events a second that met Segment's limit last; 0 for none."""
    pace_at: int = 0
    """When the way back up to it began."""
    ids_cut_at: int | None = None
    """When messageIds were last forgotten early, because there were too many."""
    ids_cut_to_s: float = 0
    """Seconds for which they were remembered for sure then."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Why partitions, by number, or `key` for all, wait: stored by another version, or unreadable."""

    @classmethod
    def parse(cls, stored: Mapping[bytes, bytes], now: int) -> Self:
        """Read the fields of the flow hash; those of a newer pombo are passed over."""
        text = {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()}
        return cls(
            now=now,
            parked=text.get("parked"),
            parked_at=_time(text, "parked_at"),
            probe_at=_time(text, "probe_at"),
            paused="paused" in text,
            paused_at=at if (at := _time(text, "paused") or 0) > 1 else None,
            hold_until=None if (_time(text, "held_at") or 0) > now + CLOCK_BACK_MS else _time(text, "hold_until"),
            last_success=_time(text, "last_success"),
            broken_at=_time(text, "broken_at"),
            broken_why=text.get("broken_why"),
            pace_max=_number(text, "pace_max"),
            pace_at=_time(text, "pace_at") or 0,
            ids_cut_at=_time(text, "ids_cut_at"),
            ids_cut_to_s=_number(text, "ids_cut_to_s"),
            blocked={n.removeprefix(BLOCKED): why for n, why in sorted(text.items()) if n.startswith(BLOCKED)},
        )

    @property
    def state(self) -> State:
        """What keeps the source from sending: a park before a pause before a hold before the breaker."""
        if self.parked is not None:
            return "parked"
        if self.paused:
            return "paused"
        if self.held_until is not None:
            return "held"
        return "broken" if self.broken_at is not None else "active"

    @property
    def held_until(self) -> datetime | None:
        """End of the hold in force, whatever else keeps the source; None when there is none."""
        if self.hold_until is None or self.hold_until <= self.now:
            return None
        return moment(self.hold_until)

    @property
    def reason(self) -> str | None:
        """Why the source is parked, its breaker open, or a part of it blocked; None when nothing of that is so."""
        if self.parked is not None:
            return self.parked
        if self.broken_at is not None:
            why, since = self.broken_why or "requests fail", iso(moment(self.broken_at))
            return f"Segment does not answer since {since}: {why}; a request every few seconds tries it again"
        if not self.blocked:
            return None
        where, why = next(iter(self.blocked.items()))
        return why if where == "key" else f"partition {where} waits: {why}"

    def rate(self, limit: float) -> float | None:
        """Events a second that may be sent under `limit` (0: none), ramps left aside; None when there is no limit."""
        paced = pace(self.pace_max, self.now - self.pace_at, limit)
        return paced or limit or None


def pace(met: float, age_ms: int, limit: float) -> float | None:
    """Events a second that a source keeps to after it met Segment's own limit; None when that is over.

    The curve is cubic: cut by `PACE_CUT`, it is back after `PACE_MS` and flat there, and grows faster and faster
    beyond. It ends where it reaches our `limit`, and without one after `PACE_ENDS` times that. It never falls below
    a hundredth of our limit, nor below one event a second.

    Args:
        met: the rate that was too much, events a second; 0 for none.
        age_ms: since the cut, ms.
        limit: events a second; 0 for none.
    """
    if met <= 0:
        return None
    way = max(0, age_ms) / PACE_MS
    rate = max(met * (1 + PACE_CUT * (way - 1) ** 3), 1, limit / 100)
    within = rate < limit if limit > 0 else way < PACE_ENDS
    return rate if within else None


def _time(text: Mapping[str, str], field: str) -> int | None:
    try:
        return int(float(text[field]))
    except (KeyError, ValueError, OverflowError):
        return None


def _number(text: Mapping[str, str], field: str) -> float:
    try:
        found = float(text[field])
    except (KeyError, ValueError):
        return 0
    return found if isfinite(found) else 0


async def redis_now(redis: Redis) -> int:
    """Redis' clock in milliseconds."""
    seconds, micro = await redis.time()
    return int(seconds) * 1000 + int(micro) // 1000


async def read_flow(redis: Redis, keys: SourceKeys) -> Flow:
    """Read a source's flow; one without any flow hash is active."""
    stored = cast("dict[bytes, bytes]", await redis.hgetall(keys.flow))
    return Flow.parse(stored, await redis_now(redis))


async def pause(redis: Redis, keys: Keys, source: str) -> bool:
    """Stop a source's sending until `resume`, and tell the workers; return whether it was running.

    What is queued stays queued, what is on the wire is finished; it may run at maxmemory.
    """
    return bool(await script("pause").acall(redis, [keys.of(source).flow], [keys.wake, source]))


async def resume(redis: Redis, keys: Keys, source: str) -> bool:
    """End a source's pause, its park and its breaker, and tell the workers; return whether there was any.

    A hold stays: Segment asked for it.
    """
    flow = keys.of(source).flow
    paused = await redis.hdel(flow, "paused")
    version = int(await redis.get(keys.version) or 0)
    kept_shut = await script("unpark").acall(redis, [flow], [keys.wake, source, version])
    return bool(paused or kept_shut)
