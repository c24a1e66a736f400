"""What the doctor reads from Redis; it writes nothing, and judges nothing."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pombo.ops.doctor.fleet import Jobs
from pombo.ops.doctor.server import Server
from pombo.ops.overview import SourceView, WorkerView, read_source, read_workers
from pombo.shared.connection import primaries
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys
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

    async def look(source: Source) -> tuple[SourceView, int]:
        async with gate:
            view = await read_source(redis, keys, source, now)
            holds = view.ledger.queued + view.ledger.in_flight > 0
            return view, await _unowned(redis, keys, source, alive, now) if holds else 0

    found = await asyncio.gather(*(look(source) for source in snapshot.sources.values()))
    sealed = cast("dict[bytes, bytes]", await redis.hgetall(keys.secrets))
    return Installation(
        views=[view for view, _ in found], unreadable=snapshot.unreadable, workers=workers,
        unowned={view.name: count for view, count in found if count},
        sealed={name.decode(): stored for name, stored in sealed.items()}, now=now,
    )  # fmt: skip


async def _unowned(redis: Redis, keys: Keys, source: Source, alive: set[str], now: int) -> int:
    of, numbers = keys.of(source.name), range(source.partitions)
    async with redis.pipeline(transaction=False) as pipe:
        for number in numbers:
            pipe.xrange(of.stream(number), count=1)
            pipe.get(of.lease(number))
        replies = await pipe.execute()
    owners = [(lease or b"").partition(b":")[0].decode() for lease in replies[1::2]]
    return sum(
        bool(head) and _waited(head, now) > OLD_MS and owner not in alive
        for head, owner in zip(replies[::2], owners, strict=True)
    )


def _waited(head: Sequence[Any], now: int) -> int:
    return now - int(head[0][0].partition(b"-")[0])


def read_jobs(url: str) -> Jobs:
    """Ask RQ, over a connection of its own; raises what the client raises."""
    from rq import Worker

    from pombo.shared.connection import connect
    from pombo.worker.jobs import queue

    with connect(url, timeout_s=2.0, connect_timeout_s=1.0) as connection:
        jobs = queue(connection)
        started = jobs.started_job_registry.get_job_ids(cleanup=False)
        return Jobs(len(jobs.get_job_ids()) + len(started), Worker.count(connection=connection, queue=jobs))
