"""`pombo worker`: one process, wired and run until it is told to stop."""

import asyncio
import random
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect, jobs_url, redis_url, transient
from pombo.shared.crewmetrics import join_crew
from pombo.shared.errors import ConfigurationError
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs, get_logger, get_quick_logger
from pombo.shared.processes import ChildSpec, Supervisor, on_stop_signals
from pombo.shared.registry import Registry
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings
from pombo.worker.account import LOGGER
from pombo.worker.delivery import Tools
from pombo.worker.direct import open_transport
from pombo.worker.drain import Drain
from pombo.worker.exposition import exposed
from pombo.worker.fleet import BeatGuard
from pombo.worker.metrics import Metrics
from pombo.worker.pool import Pool

log = get_logger("pombo.worker.process")


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
    on_stop_signals(stop.set)
    die_with_parent()
    member = join_crew()
    async with AsyncExitStack() as stack:
        redis = aconnect(redis_url(settings))
        stack.push_async_callback(redis.aclose)
        registry = Registry(redis, settings.keys, secrets)
        await check_secrets(registry)
        guard = BeatGuard(SystemClock())
        tools = Tools(
            open_transport(), SystemClock(), random.Random(), Metrics(), guard, delivered_log=get_quick_logger(LOGGER)
        )
        stack.push_async_callback(tools.transport.close)
        stack.enter_context(exposed(tools.metrics.registry, settings.metrics_port))
        if options.jobs:
            await _start_jobs(settings, stack)
        pool = Pool(redis, settings.keys, registry, tools, guard)
        if not options.drain:
            await pool.run(stop)
            return 0
        # One of a crew speaks: all of them look at the same ledgers.
        return await _drain(pool, Drain(redis, settings.keys, registry), stop, speak=member == 1)


async def check_secrets(registry: Registry) -> None:
    """See that the write key of one source at least can be read: if none can, the secret is wrong.

    Of single ones the worker says so in its log, and delivers the others. Without Redis nothing is known.

    Raises:
        ConfigurationError: there are sources, and the keys of none can be read.
    """
    failure: ConfigurationError | None = None
    try:
        for source in await registry.list():
            try:
                await registry.write_key(source.name)
            except ConfigurationError as error:
                failure = failure or error
            else:
                return
    except Exception as error:
        if not transient(error):
            raise
        return
    if failure:
        raise failure


async def _start_jobs(settings: Settings, stack: AsyncExitStack) -> None:
    try:
        jobs_url(settings)
    except ConfigurationError as error:
        log.warning("jobs.off", note=str(error))
        return
    supervisor = await stack.enter_async_context(Supervisor())
    await supervisor.start(ChildSpec(name="jobs", argv=[sys.executable, "-m", "pombo.worker.jobs"]))


async def _drain(pool: Pool, drain: Drain, stop: asyncio.Event, *, speak: bool) -> int:
    watch = asyncio.create_task(drain.watch(stop))
    watch.add_done_callback(lambda _: stop.set())
    try:
        await pool.run(stop)
    finally:
        watch.cancel()
        await asyncio.wait([watch])
    if not watch.cancelled() and (error := watch.exception()):
        raise error
    problems = drain.problems if drain.done else ["stopped before all was delivered"]
    sys.stderr.write("".join(f"not drained: {problem}\n" for problem in problems) if speak else "")
    return 1 if drain.rest or not drain.done else 0
