"""State: what one console is made of, and what a page gets at through its request."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from redis.client import Redis as BlockingRedis
from redis.exceptions import RedisError
from starlette.requests import Request

from pombo.ops.cli.trouble import trouble
from pombo.ops.console.access import Attempts, Tokens
from pombo.ops.console.charts import Charts
from pombo.ops.console.live import Hub, Seats
from pombo.ops.console.people import People
from pombo.ops.console.poller import Poller, Seen
from pombo.ops.console.refusals import Refusals
from pombo.ops.console.sessions import Session, Sessions
from pombo.ops.console.sparks import Sparks
from pombo.ops.console.tablemaker import TableMaker
from pombo.ops.fleetmetrics import fleet_registry
from pombo.ops.overview import read_overview
from pombo.shared.clock import Clock
from pombo.shared.connection import aconnect, connect, jobs_url, redis_url
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from pombo.shared.trail import note_login

REDIS_TIMEOUT_S = 2.0
"""For one answer of Redis: who looks would rather hear that it is away than wait."""
JOBS_TIMEOUT_S = 5.0
TAILS = 50
"""Debuggers at the same time: each reads the tail of its source for itself."""


@dataclass
class State:
    """One console; it belongs to one event loop."""

    settings: Settings
    secrets: Secrets
    clock: Clock
    redis: Redis = field(init=False)
    registry: Registry = field(init=False)
    tokens: Tokens = field(init=False)
    sessions: Sessions = field(init=False)
    attempts: Attempts = field(init=False)
    hub: Hub = field(default_factory=Hub)
    tails: Seats = field(default_factory=lambda: Seats(TAILS))
    """Who listens to the debugger."""
    charts: Charts = field(init=False)
    sparks: Sparks = field(init=False)
    poller: Poller = field(init=False)
    refusals: Refusals = field(init=False)
    people: People = field(init=False)
    tables: TableMaker = field(init=False)
    metrics: CollectorRegistry = field(init=False)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the console stops, so that streams end."""

    def __post_init__(self) -> None:
        self.redis = aconnect(redis_url(self.settings), timeout_s=REDIS_TIMEOUT_S)
        self.registry = Registry(self.redis, self.keys, self.secrets)
        self.tokens = Tokens.of(self.settings)
        key = self.secrets.derive(b"pombo console sessions" + self.tokens.fingerprint())
        self.sessions = Sessions(key, self.clock)
        self.attempts = Attempts(self.clock)
        self.charts = Charts(self.redis, self.keys, self.clock)
        self.sparks = Sparks(self.redis, self.keys, self.clock)
        self.people = People(self.secrets, self.clock)
        self.refusals = Refusals(self._refused, self.clock)
        self.tables = TableMaker(self.clock)
        self.poller = Poller(self._look, self.explain, self.hub, self.clock)
        self.metrics = fleet_registry(self.settings, self.secrets)

    @property
    def keys(self) -> Keys:
        """The key catalogue."""
        return self.settings.keys

    @cached_property
    def jobs(self) -> BlockingRedis:
        """A client of the control plane's Redis for RQ, which blocks: use it in `asyncio.to_thread`.

        Raises:
            ConfigurationError: the control plane would be on a cluster, on which RQ does not run.
        """
        return connect(jobs_url(self.settings), timeout_s=JOBS_TIMEOUT_S)

    def explain(self, error: RedisError) -> str:
        """What a failure of Redis means, in a sentence that says what to do."""
        variable = "POMBO_REDIS_URL" if self.settings.redis_url else None
        return str(trouble(error, redis_url(self.settings), variable))

    async def _refused(self, detail: Mapping[str, Any]) -> None:
        what = "console.refused"
        await note_login(self.redis, self.keys, who="somebody", role="stranger", what=what, detail=detail)

    async def _look(self) -> Seen:
        overview = await read_overview(self.redis, self.keys, await self.registry.snapshot())
        await self.charts.stand_in(overview)
        return Seen(overview, await self.charts.recent(overview))

    async def close(self) -> None:
        """Let go of the connections."""
        await self.tables.close()
        await self.refusals.flush()
        await self.redis.aclose()
        if "jobs" in self.__dict__:
            self.jobs.close()


def state_of(request: Request) -> State:
    """The console that a request is to."""
    return cast("State", request.app.state.console)


def session_of(request: Request) -> Session:
    """Who asks; the guard sees that there is somebody."""
    return cast("Session", request.scope["pombo.session"])


def sources_of(request: Request) -> Sequence[str]:
    """The names of all sources, as the last look found them."""
    overview = state_of(request).poller.latest.overview
    return sorted(overview.sources) if overview else ()
