"""`pombo up`: everything on this machine, until it is told to stop."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

from pombo.ops.embedded import EmbeddedServer
from pombo.ops.fleetmetrics import fleet_registry
from pombo.shared.connection import aconnect, redact, redis_url
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs, get_logger
from pombo.shared.processes import ChildSpec, Supervisor
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, ensure_secret_file, load_secrets
from pombo.shared.settings import Settings
from pombo.worker.exposition import exposed

FLEET_PORT = 8081
"""Metrics of the whole installation."""
WATCH_S = 1.0
DEFAULT_SOURCE = "default"

log = get_logger("pombo.up")


def up(settings: Settings) -> int:
    """Run an embedded server if no Redis is given, a worker and the jobs, until SIGTERM or Ctrl-C; returns 0.

    Raises:
        ConfigurationError: the home, the server or the secret key cannot be used.
    """
    configure_logs(settings.log_level, settings.log_format)
    return asyncio.run(_up(settings))


async def _up(settings: Settings) -> int:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    die_with_parent()
    async with AsyncExitStack() as stack:
        server = await _start_server(settings, stack)
        secrets = load_secrets(settings)
        sources = await _prepare_sources(settings, secrets)
        stack.enter_context(exposed(fleet_registry(settings, secrets), FLEET_PORT, "127.0.0.1"))
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start(
            ChildSpec(name="worker", argv=[sys.executable, "-m", "pombo.ops.cli", "worker"])
        )
        _greet(settings, sources)
        await _watch(server, stop)
        sys.stderr.write("stopping: idle partitions are handed back, requests under way may finish\n")
    return 0


async def _start_server(settings: Settings, stack: AsyncExitStack) -> EmbeddedServer | None:
    if settings.redis_url is not None:
        return None
    server = EmbeddedServer(settings.home_dir, server_bin=settings.server_bin)
    await asyncio.to_thread(server.start)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    if settings.secret_key is None:
        ensure_secret_file(settings.home_dir)
    return server


async def _prepare_sources(settings: Settings, secrets: Secrets) -> list[str]:
    """Make source `default` when its write key is given and it is not there; the names of all sources."""
    redis = aconnect(redis_url(settings))
    try:
        registry = Registry(redis, settings.keys, secrets)
        names = [source.name for source in await registry.list()]
        if settings.segment_write_key is not None and DEFAULT_SOURCE not in names:
            added = await registry.add(DEFAULT_SOURCE, settings.segment_write_key.get_secret_value())
            names.append(DEFAULT_SOURCE)
            for line in (*added.warnings, *added.notices):
                log.warning("source.added", source=DEFAULT_SOURCE, note=line)
        return names
    finally:
        await redis.aclose()


def _greet(settings: Settings, sources: list[str]) -> None:
    where = redact(redis_url(settings))
    lines = [
        f"pombo is up on {where}",
        f"  sources   {', '.join(sorted(sources)) or 'none yet: pombo sources add NAME --write-key KEY'}",
        f"  metrics   worker :{settings.metrics_port}, fleet 127.0.0.1:{FLEET_PORT}",
        "  look      pombo status · pombo audit · pombo dead list",
        "  stop      Ctrl-C",
    ]
    sys.stderr.write("\n".join(lines) + "\n")
    if os.environ.get("POMBO_DISABLED") == "1":
        sys.stderr.write("  note      POMBO_DISABLED=1: producers validate and discard\n")


async def _watch(server: EmbeddedServer | None, stop: asyncio.Event) -> None:
    """Wait for the stop; a server that died is started again meanwhile."""
    while not stop.is_set():
        if server is not None:
            await asyncio.to_thread(server.ensure_running)
        try:
            await asyncio.wait_for(stop.wait(), WATCH_S)
        except TimeoutError:
            continue
