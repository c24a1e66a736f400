"""`pombo worker`: one process, wired and run until it is told to stop."""

import asyncio
import random
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from redis.asyncio import Redis

from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect, redis_url
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs
from pombo.shared.processes import ChildSpec, Supervisor
from pombo.shared.registry import Registry
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings
from pombo.worker.delivery import Tools
from pombo.worker.drain import Drain
from pombo.worker.exposition import exposed
from pombo.worker.fleet import BeatGuard
from pombo.worker.metrics import Metrics
from pombo.worker.pool import Pool
from pombo.worker.transport import HttpxTransport


@dataclass(frozen=True, slots=True)
class Options:
    """What `pombo worker` was asked for."""

    drain: bool = False
    jobs: bool = True


def run_worker(settings: Settings, options: Options) -> int:
    """Run a worker in this process; returns its exit code.

    Raises:
        ConfigurationError: the secret key is missing or wrong, or the URL is none.
    """
    configure_logs(settings.log_level, settings.log_format)
    return asyncio.run(_run(settings, options))


async def _run(settings: Settings, options: Options) -> int:
    secrets = load_secrets(settings)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    die_with_parent()
    async with AsyncExitStack() as stack:
        redis = aconnect(redis_url(settings))
        stack.push_async_callback(redis.aclose)
        registry = Registry(redis, settings.keys, secrets)
        guard = BeatGuard(SystemClock())
        tools = Tools(HttpxTransport(), SystemClock(), random.Random(), Metrics(), guard)
        stack.push_async_callback(tools.transport.close)
        stack.enter_context(exposed(tools.metrics.registry, settings.metrics_port))
        if options.jobs:
            await _start_jobs(stack)
        pool = Pool(redis, settings.keys, registry, tools, guard)
        if not options.drain:
            await pool.run(stop)
            return 0
        return await _drain(pool, redis, settings, registry, stop)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)


async def _start_jobs(stack: AsyncExitStack) -> None:
    supervisor = await stack.enter_async_context(Supervisor())
    await supervisor.start(ChildSpec(name="jobs", argv=[sys.executable, "-m", "pombo.worker.jobs"]))


async def _drain(
    pool: Pool, redis: "Redis", settings: Settings, registry: Registry, stop: asyncio.Event
) -> int:
    drain = Drain(redis, settings.keys, registry)
    watch = asyncio.create_task(drain.watch(stop))
    try:
        await pool.run(stop)
    finally:
        watch.cancel()
    for problem in drain.problems:
        sys.stderr.write(f"not drained: {problem}\n")
    return 1 if drain.problems or not drain.empty else 0
