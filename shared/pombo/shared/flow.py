"""Flow: whether a source may send now, as the whole fleet sees it, and an operator's say in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Self, cast

from redis.asyncio import Redis

from pombo.shared.clock import moment
from pombo.shared.keys import Keys, SourceKeys
from pombo.shared.scripts import script

BLOCKED = "blocked:"
"""Prefix of the flow's fields that say why a partition, or (`blocked:key`) the whole source, waits for a person."""

State = Literal["active", "held", "parked", "paused"]


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
    hold_until: int | None = None
    """End of the last hold, over or not."""
    last_success: int | None = None
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
            hold_until=_time(text, "hold_until"),
            last_success=_time(text, "last_success"),
            blocked={n.removeprefix(BLOCKED): why for n, why in sorted(text.items()) if n.startswith(BLOCKED)},
        )

    @property
    def state(self) -> State:
        """What keeps the source from sending: a park before a pause before a hold."""
        if self.parked is not None:
            return "parked"
        if self.paused:
            return "paused"
        return "held" if self.held_until is not None else "active"

    @property
    def held_until(self) -> datetime | None:
        """End of the hold in force, whatever else keeps the source; None when there is none."""
        if self.hold_until is None or self.hold_until <= self.now:
            return None
        return moment(self.hold_until)

    @property
    def reason(self) -> str | None:
        """Why the source is parked, or what blocks a part of it; None when nothing does."""
        if self.parked is not None or not self.blocked:
            return self.parked
        where, why = next(iter(self.blocked.items()))
        return why if where == "key" else f"partition {where} waits: {why}"


def _time(text: Mapping[str, str], field: str) -> int | None:
    try:
        return int(float(text[field]))
    except (KeyError, ValueError, OverflowError):
        return None


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
    """End a source's pause and its park, and tell the workers; return whether there was either.

    A hold stays: Segment asked for it.
    """
    flow = keys.of(source).flow
    paused = await redis.hdel(flow, "paused")
    version = int(await redis.get(keys.version) or 0)
    parked = await script("unpark").acall(redis, [flow], [keys.wake, source, version])
    return bool(paused or parked)
