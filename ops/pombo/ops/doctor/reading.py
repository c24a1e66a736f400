"""What the doctor reads from Redis; it writes nothing, and judges nothing."""

import asyncio
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pombo.ops.doctor.server import Server
from pombo.ops.overview import Head, SourceView, WorkerView, read_source, read_workers
from pombo.shared.connection import primaries
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys
from pombo.shared.losses import Losses, read_fleet_losses
from pombo.shared.registry import Snapshot
from pombo.shared.sources import Source

CONFIG = ("appendfsync", "save", "min-replicas-to-write", "maxmemory-policy")
AT_ONCE = 8
"""Sources read side by side."""
OLD_MS = 15_000
"""How long a partition's first entry must have waited before nobody holding the partition counts."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Sources, workers, and the sealed keys, at one moment."""

    views: Sequence[SourceView]
    unreadable: Sequence[str]
    workers: Sequence[WorkerView]
    unowned: Mapping[str, int]
    """By source, the partitions that hold old events and whose lease is no living worker's."""
    sealed: Mapping[str, bytes]
    now: int
    """Redis' clock in ms."""
    losses: Losses = field(default_factory=Losses)
    """What workers saw Redis lose, beside what sources' ledgers tell."""


async def read_servers(redis: Redis, *, embedded: bool = False) -> list[Server]:
    """Read what each server tells about itself: one, which may be the embedded one, or every primary of a cluster."""
    servers = await primaries(redis)
    names = [address(server) for server in servers] if len(servers) > 1 else [None]
    return [Server(await s.info(), await _config(s), name, embedded) for s, name in zip(servers, names, strict=True)]


def address(redis: Redis) -> str:
    """Where a client's server listens."""
    told = redis.connection_pool.connection_kwargs
    return str(told.get("path") or f"{told.get('host')}:{told.get('port')}")


async def _config(redis: Redis) -> Mapping[str, str] | None:
    try:
        return cast("dict[str, str]", await redis.config_get(*CONFIG))
    except ResponseError:  # Also of those who may not: managed servers rename or forbid it.
        return None


async def read_clock(redis: Redis) -> float:
    """Read how many seconds this machine's clock is ahead of Redis'."""
    before = time.time()
    now = await redis_now(redis)
    return (before + time.time()) / 2 - now / 1000


async def read_installation(redis: Redis, keys: Keys, snapshot: Snapshot) -> Installation:
    """Read the sources of a snapshot, and the fleet."""
    now = await redis_now(redis)
    workers = await read_workers(redis, keys)
    alive = {worker.id for worker in workers if worker.alive(now)}
    gate = asyncio.Semaphore(AT_ONCE)

    async def look(source: Source) -> SourceView:
        async with gate:
            return await read_source(redis, keys, source, now)

    views = await asyncio.gather(*(look(source) for source in snapshot.sources.values()))
    unowned = {view.name: sum(_is_unowned(head, alive, now) for head in view.heads) for view in views}
    sealed = cast("dict[bytes, bytes]", await redis.hgetall(keys.secrets))
    return Installation(
        views=views, unreadable=snapshot.unreadable, workers=workers,
        unowned={name: count for name, count in unowned.items() if count},
        sealed={name.decode(): stored for name, stored in sealed.items()}, now=now,
        losses=await read_fleet_losses(redis, keys),
    )  # fmt: skip


def _is_unowned(head: Head, alive: Set[str], now: int) -> bool:
    return now - head.at > OLD_MS and head.owner not in alive
