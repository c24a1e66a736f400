"""The demo's world: a temporary home, a server, a simulated Segment and two worker processes."""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis

from pombo.ops.demo.faults import ORDERS_KEY, SUPPORT_KEY
from pombo.ops.embedded import EmbeddedServer
from pombo.ops.overview import Overview, read_overview
from pombo.ops.simulator import Simulator
from pombo.shared.audit import AuditReport, audit
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import DeadLetter, read
from pombo.shared.keys import Keys
from pombo.shared.processes import ChildSpec, Supervisor
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, ensure_secret_file
from pombo.shared.settings import Settings

SOURCES: Mapping[str, str] = {"support_bot": SUPPORT_KEY, "orders_bot": ORDERS_KEY}
WORKERS = ("worker 1", "worker 2")


class World:
    """Everything that the demo runs, in a folder that is removed at the end; an async context manager."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self.keys = Keys()
        self.simulator = Simulator(port=0)
        self.supervisor = Supervisor()
        self.redis: Redis
        self.registry: Registry
        self.settings: Settings

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            home = Path(tempfile.mkdtemp(prefix="pombo-demo-"))
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            server = EmbeddedServer(home)
            server.start()
            stack.callback(server.stop)
            await stack.enter_async_context(self.simulator)
            await self._add_sources(home, server.url, stack)
            await stack.enter_async_context(self.supervisor)
            for name in WORKERS:
                await self.supervisor.start(self._worker(name, home, server.url))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _add_sources(self, home: Path, url: str, stack: AsyncExitStack) -> None:
        secret = ensure_secret_file(home).read_text("utf-8").strip()
        self.settings = Settings(_env_file=None, redis_url=url, home=home, namespace="pombo", disabled=False)
        self.redis = aconnect(url)
        stack.push_async_callback(self.redis.aclose)
        self.registry = Registry(self.redis, self.keys, Secrets([secret]))
        for name, key in SOURCES.items():
            await self.registry.add(name, key, endpoint=self.simulator.url, partitions=4)

    def _worker(self, name: str, home: Path, url: str) -> ChildSpec:
        secret = (home / "secret.key").read_text("utf-8").strip()
        environment = {
            "POMBO_REDIS_URL": url, "POMBO_HOME": str(home), "POMBO_SECRET_KEY": secret, "POMBO_NAMESPACE": "pombo",
            "POMBO_METRICS_PORT": "0", "POMBO_LOG_LEVEL": "error", "POMBO_LOG_FORMAT": "json",
        }  # fmt: skip
        return ChildSpec(
            name=name, argv=[sys.executable, "-m", "pombo.ops.cli", "worker", "--no-jobs"], env=environment
        )

    async def overview(self) -> Overview:
        """What an operator sees."""
        return await read_overview(self.redis, self.keys, await self.registry.snapshot())

    async def audit(self) -> AuditReport:
        """The ledger, compared with a recount."""
        return await audit(self.redis, self.keys, await self.registry.snapshot())

    async def letters(self) -> list[DeadLetter]:
        """All dead letters."""
        return [letter for name in SOURCES async for letter in read(self.redis, self.keys, name)]

    async def left(self) -> int:
        """Events that still wait or are in flight."""
        sources = (await self.overview()).sources.values()
        return sum(view.ledger.queued + view.ledger.in_flight for view in sources)

    def plan(self, rules: list[dict[str, Any]]) -> None:
        """Give the simulated Segment its faults."""
        self.simulator.set_plan(rules)
