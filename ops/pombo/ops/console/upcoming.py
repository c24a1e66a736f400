"""Upcoming: what job workers will begin by themselves, and when."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pombo.ops import wording
from pombo.ops.console.state import State
from pombo.shared.clock import moment
from pombo.shared.flow import redis_now
from pombo.worker.jobs.outages import SETTLED_MS, Outage
from pombo.worker.jobs.schedule import RETENTION_S

MOST: Final = 100
"""Sources told."""


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that is to come."""

    kind: str
    source: str
    at: datetime | None
    """When at the earliest; None when that depends on something else."""
    words: str


async def read_due(state: State) -> list[Due]:
    """What is to come of itself, the soonest first.

    Raises:
        RedisError: Redis is away.
        ConfigurationError: there is no control plane.
    """
    sources = [*(await state.registry.snapshot()).sources.values()]
    keeping = [source for source in sources if source.retention_s][:MOST]
    following = [source for source in sources if source.redrive_after_outage][:MOST]
    now = moment(await redis_now(state.redis))
    found: list[Due] = []
    async with state.redis.pipeline(transaction=False) as pipe:
        for source in keeping:
            pipe.xrange(state.keys.of(source.name).dead, count=1)
        oldest: list[Any] = await pipe.execute()
    for source, entries in zip(keeping, oldest, strict=True):
        died = moment(int(entries[0][0].partition(b"-")[0])) if entries else None
        found.append(retention_due(source.name, source.retention_s or 0, died, now))
    if following:
        stored: Any = await asyncio.to_thread(lambda: state.jobs.hgetall(state.keys.schedule))
        for source in following:
            found.append(recovery_due(source.name, Outage.load(stored.get(f"outage:{source.name}".encode()))))
    return sorted(found, key=lambda due: (due.at is None, due.at or now, due.source))


def retention_due(source: str, seconds: float, oldest: datetime | None, now: datetime) -> Due:
    """When a source's retention has something to do next."""
    kept = f"kept for {wording.age(seconds)}"
    if oldest is None:
        return Due("retention", source, None, f"{kept}; there are none")
    at = oldest + timedelta(seconds=seconds)
    if at > now:
        return Due("retention", source, at, f"{kept}; the oldest is exported and discarded then")
    return Due("retention", source, None, f"{kept}; due: begins within {RETENTION_S // 3600} h of the last run")


def recovery_due(source: str, outage: Outage | None) -> Due:
    """When what died of a source's outage is redriven."""
    if outage is None:
        return Due("automatic_redrive", source, None, "no outage now; what dies of the next one is redriven after it")
    if outage.well_since is None:
        return Due("automatic_redrive", source, None, "an outage goes on; redriven a minute after its end")
    at = moment(outage.well_since + SETTLED_MS)
    return Due("automatic_redrive", source, at, "the outage seems over; what died of it is redriven if it stays so")
