"""The demo's world: a temporary home, a server, a simulated Segment and two worker processes."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
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
from pombo.shared.secrets import Secrets, new_secret
from pombo.shared.settings import Settings

SOURCES: Mapping[str, str] = {"support_bot": SUPPORT_KEY, "orders_bot": ORDERS_KEY}
PARTITIONS = 4
WORKERS = ("worker 1", "worker 2")
_LOG_TAIL = 2000
_IN_FOLDER = 'cd "$0" && exec "$@" 2>>log'
"""Shell: run the words in a folder, where there is no `.env`, with their log beside what else is there."""


class World:
    """Everything that the demo runs, in a folder that is removed at the end; an async context manager.

    Nothing of the caller's installation comes in: neither `POMBO_*` variables nor a `.env` file, save
    `POMBO_SERVER_BIN`, which names a program of this machine.
    """

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._secret = new_secret()
        self.keys = Keys()
        self.simulator = Simulator(port=0)
        self.supervisor = Supervisor()
        self.home: Path
        self.redis: Redis
        self.registry: Registry
        self.settings: Settings

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.home = Path(tempfile.mkdtemp(prefix="pombo-demo-"))
            stack.callback(shutil.rmtree, self.home, ignore_errors=True)
            program = os.environ.get("POMBO_SERVER_BIN")
            server = EmbeddedServer(self.home, server_bin=Path(program) if program else None)
            stack.push_async_callback(asyncio.to_thread, server.stop)
            await asyncio.to_thread(server.start)
            await stack.enter_async_context(self.simulator)
            # Built without a look at the environment, as everything in it is meant for another installation.
            self.settings = Settings.model_construct(redis_url=server.url, home=self.home)
            self.redis = aconnect(server.url)
            stack.push_async_callback(self.redis.aclose)
            self.registry = Registry(self.redis, self.keys, Secrets([self._secret]))
            for name, key in SOURCES.items():
                await self.registry.add(name, key, endpoint=self.simulator.url, partitions=PARTITIONS)
            await stack.enter_async_context(self.supervisor)
            for name in WORKERS:
                await self.supervisor.start(self._worker(name, server.url))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _worker(self, name: str, url: str) -> ChildSpec:
        environment = {variable: "" for variable in os.environ if variable.startswith("POMBO_")} | {
            "POMBO_REDIS_URL": url,
            "POMBO_HOME": str(self.home),
            "POMBO_SECRET_KEY": self._secret,
            "POMBO_METRICS_PORT": "0",
            "POMBO_LOG_LEVEL": "error",
            "POMBO_LOG_FORMAT": "console",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        command = [sys.executable, "-m", "pombo.ops.cli", "worker", "--no-jobs"]
        return ChildSpec(name=name, argv=["/bin/sh", "-c", _IN_FOLDER, str(self.home), *command], env=environment)

    def last_words(self) -> str:
        """The end of what the workers logged: errors, if anything."""
        with suppress(OSError):
            return (self.home / "log").read_text("utf-8", "replace")[-_LOG_TAIL:]
        return ""

    async def overview(self) -> Overview:
        """What an operator sees."""
        return await read_overview(self.redis, self.keys, await self.registry.snapshot())

    async def owners(self) -> set[str]:
        """The ids of the workers that hold a partition."""
        leases: list[Any] = await self.redis.mget(
            [self.keys.of(name).lease(number) for name in SOURCES for number in range(PARTITIONS)]
        )
        return {lease.decode().partition(":")[0] for lease in leases if lease}

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
