"""The overview: what an operator sees of an installation at one moment, for every screen that shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pombo.shared.clock import moment
from pombo.shared.connection import primaries
from pombo.shared.flow import Flow, State, redis_now
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.losses import Losses, read_fleet_losses
from pombo.shared.registry import Snapshot
from pombo.shared.scripts import paired, script
from pombo.shared.sources import Source
from pombo.worker.membership import PACE, silence


@dataclass(frozen=True, slots=True)
class Head:
    """The first entry of a partition that holds any, and who holds the partition."""

    at: int
    """When it was accepted, in ms of Redis' clock."""
    owner: str
    """The worker that the lease names; "" for nobody."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source: its settings, its flow, its ledger, and the heads of its partitions."""

    source: Source
    flow: Flow
    ledger: Ledger
    heads: Sequence[Head] = ()

    @property
    def name(self) -> str:
        """The source's name."""
        return self.source.name

    @property
    def state(self) -> State:
        """Whether it may send."""
        return self.flow.state

    @property
    def oldest_ms(self) -> int | None:
        """When its oldest entry that is still stored was accepted, by Redis' clock; None when it holds none."""
        return min((head.at for head in self.heads), default=None)

    @property
    def oldest_age_s(self) -> float | None:
        """Seconds that its oldest entry has waited."""
        return None if self.oldest_ms is None else max(0.0, (self.flow.now - self.oldest_ms) / 1000)

    @property
    def rate_limit(self) -> float | None:
        """Events a second that the whole fleet may send now; None when there is no limit."""
        return self.flow.rate(self.source.rate)

    @property
    def remembered_s(self) -> float:
        """Seconds for which a messageId is remembered: the window, unless its ids were too many within the last one."""
        cut = self.flow.ids_cut_at
        recent = cut is not None and self.flow.now - cut < self.source.window_s * 1000
        return min(self.flow.ids_cut_to_s, self.source.window_s) if recent else self.source.window_s

    def describe(self) -> dict[str, Any]:
        """The source's part of `status --json`."""
        until, success = self.flow.held_until, _moment(self.flow.last_success)
        return {
            "state": self.state,
            "queued_events": self.ledger.queued,
            "queued_bytes": self.ledger.queued_bytes,
            "in_flight": self.ledger.in_flight,
            "dead": self.ledger.dead,
            "dead_letter_bytes": self.ledger.dead_bytes,
            "remembered_s": self.remembered_s,
            "oldest_age_s": self.oldest_age_s,
            "hold_until": until and until.isoformat(timespec="milliseconds"),
            "reason": self.flow.reason,
            "rate_limit": self.rate_limit,
            "last_success": success and success.isoformat(timespec="milliseconds"),
        }


_ABREAST: Final = 100
"""Sources read in one round trip."""
_VITALS = ("in_flight", "memory", "takeovers")


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as it last described itself; only a second look tells whether it still lives."""

    id: str
    host: str | None = None
    pid: int | None = None
    partitions: int = 0
    started: str | None = None
    """ISO 8601."""
    stopping: bool = False
    beat: int = -1
    """Goes up every second while the worker lives."""
    at: int = 0
    """The second, of Redis' clock, in which its beat moved last."""
    version: str | None = None
    """Of pombo."""
    in_flight: int | None = None
    """Events that it has claimed and not settled; None: it does not say, as with the next two."""
    memory: int | None = None
    """Bytes of memory that its process has resident."""
    takeovers: int | None = None
    """Leases that it took over from workers fallen silent, since it started."""

    @property
    def started_at(self) -> datetime | None:
        """When it started; None when it does not say so, or in no known way."""
        try:
            return datetime.fromisoformat(self.started) if self.started else None
        except (TypeError, ValueError):
            return None

    def alive(self, now: int) -> bool:
        """Whether it beat lately, by its own word, at `now` in ms of Redis' clock; its very first beat counts."""
        return self.beat >= 0 and (not self.at or silence(self.at, now / 1000) < PACE.missing)

    @classmethod
    def parse(cls, worker_id: str, stored: bytes) -> Self:
        """Read a worker's description; of one that this pombo does not know only the id."""
        try:
            told = orjson.loads(stored)
            fields = (*("host", "pid", "partitions", "started", "stopping", "beat", "at", "version"), *_VITALS)
            return cls(worker_id, **{name: told[name] for name in fields if name in told})
        except (ValueError, TypeError):
            return cls(worker_id)

    def describe(self) -> dict[str, Any]:
        """The worker's part of `status --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class RedisView:
    """The server under it all; sizes in bytes."""

    product: str
    version: str
    used_memory: int
    maxmemory: int
    """0 is no limit."""
    persistence: str
    """`aof always`, `aof everysec`, `aof no`, `aof`, `rdb` or `none`."""
    clients: int = 0
    """Connections."""
    eviction: str = ""
    """What it does when it is full, `maxmemory-policy`: all but `noeviction` delete data; "" when it cannot be seen."""

    def describe(self) -> dict[str, Any]:
        """The server's part of `status --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Overview:
    """Sources by name, workers by id, and the server."""

    sources: Mapping[str, SourceView]
    unreadable: Sequence[str]
    """Sources stored in a form that this pombo does not know."""
    workers: Sequence[WorkerView]
    redis: RedisView
    now: int = 0
    """Redis' clock in ms when it was read."""
    losses: Losses = field(default_factory=Losses)
    """What workers saw Redis lose, beside what sources' ledgers tell, and nobody has acknowledged."""

    def describe(self) -> dict[str, Any]:
        """The JSON of `status`."""
        return {
            "sources": {name: view.describe() for name, view in self.sources.items()},
            "workers": [worker.describe() for worker in self.workers],
            "redis": self.redis.describe(),
        }


async def read_overview(redis: Redis, keys: Keys, snapshot: Snapshot) -> Overview:
    """Read everything that an overview shows; a few commands a source, of many sources in one round trip."""
    now = await redis_now(redis)
    sources = [*snapshot.sources.values()]
    views: dict[str, SourceView] = {}
    for start in range(0, len(sources), _ABREAST):
        some = await read_sources(redis, keys, sources[start : start + _ABREAST], now)
        views |= {view.name: view for view in some}
    workers, server, losses = (
        await read_workers(redis, keys),
        await _server(redis),
        await read_fleet_losses(redis, keys),
    )
    return Overview(views, snapshot.unreadable, workers, server, now, losses)


async def read_source(redis: Redis, keys: Keys, source: Source, now: int) -> SourceView:
    """Read one source; `now` is Redis' clock in milliseconds."""
    (view,) = await read_sources(redis, keys, [source], now)
    return view


async def read_sources(redis: Redis, keys: Keys, sources: Sequence[Source], now: int) -> list[SourceView]:
    """Read some sources in two round trips; `now` is Redis' clock in milliseconds."""
    every = [keys.of(source.name) for source in sources]
    replies = await script("glance").aeach(redis, [(of.ledger, of.flow) for of in every])
    ledgers = [Ledger.parse(paired(ledger)) for ledger, _ in replies]
    flows = [Flow.parse(paired(flow), now) for _, flow in replies]
    holding = [s for s, one in zip(sources, ledgers, strict=True) if one.queued or one.in_flight or one.queued_bytes]
    heads = await _heads(redis, keys, holding)
    told = zip(sources, flows, ledgers, strict=True)
    return [SourceView(source, flow, ledger, heads.get(source.name, ())) for source, flow, ledger in told]


async def read_workers(redis: Redis, keys: Keys) -> list[WorkerView]:
    """Read how every worker last described itself, by id."""
    stored = cast("dict[bytes, bytes]", await redis.hgetall(keys.workers))
    return sorted((WorkerView.parse(i.decode(), text) for i, text in stored.items()), key=lambda w: w.id)


def silent(before: Sequence[WorkerView], after: Sequence[WorkerView]) -> set[str]:
    """The ids of workers whose beat did not move between two looks, fairly two seconds apart."""
    beats = {worker.id: worker.beat for worker in before}
    return {worker.id for worker in after if beats.get(worker.id) == worker.beat}


async def _heads(redis: Redis, keys: Keys, sources: Sequence[Source]) -> dict[str, Sequence[Head]]:
    """The heads of these sources' partitions."""
    if not sources:
        return {}
    partitions = [(keys.of(source.name), range(source.partitions)) for source in sources]
    every = [[*map(of.stream, numbers), *map(of.lease, numbers)] for of, numbers in partitions]
    replies = await script("heads").aeach(redis, every)
    return {source.name: _of_one(told) for source, told in zip(sources, replies, strict=True)}


def _of_one(told: Sequence[bytes]) -> Sequence[Head]:
    return [
        Head(int(first.partition(b"-")[0]), _owner(lease))
        for first, lease in zip(told[::2], told[1::2], strict=True)
        if first
    ]


def _owner(lease: bytes) -> str:
    return lease.partition(b":")[0].decode()


async def _server(redis: Redis) -> RedisView:
    """The server; of those of a cluster the first, with the memory and the connections of all."""
    servers = await primaries(redis)
    infos = [await server.info() for server in servers]
    info = infos[0]
    return RedisView(
        product=str(info.get("server_name", "redis")),
        version=str(info.get("valkey_version") or info.get("redis_version", "?")),
        used_memory=sum(int(one.get("used_memory", 0)) for one in infos),
        maxmemory=sum(int(one.get("maxmemory", 0)) for one in infos),
        clients=sum(int(one.get("connected_clients", 0)) for one in infos),
        persistence=await _persistence(servers[0], bool(info.get("aof_enabled"))),
        eviction=str(info.get("maxmemory_policy", "")),
    )


async def _persistence(redis: Redis, aof: bool) -> str:
    """What the server keeps on its disk; managed ones hide the details."""
    try:
        config = cast("dict[str, str]", await redis.config_get("appendfsync", "save"))
    except ResponseError:
        return "aof" if aof else "unknown"
    if aof:
        return f"aof {config.get('appendfsync', '')}".strip()
    return "rdb" if config.get("save") else "none"


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else moment(milliseconds)
