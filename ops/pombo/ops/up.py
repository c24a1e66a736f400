"""`pombo up`: everything on this machine, until it is told to stop."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pombo.ops.cli.crew import console_child, gateway_crew
from pombo.ops.embedded import EmbeddedServer
from pombo.ops.fleetmetrics import fleet_registry
from pombo.shared.connection import aconnect, redact, redis_url
from pombo.shared.errors import ConfigurationError, PomboError
from pombo.shared.lifeline import die_with_parent
from pombo.shared.listening import listen
from pombo.shared.logs import configure_logs, get_logger, held_back
from pombo.shared.processes import ChildSpec, Supervisor, on_stop_signals
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, ensure_secret_file, load_secrets
from pombo.shared.settings import Settings
from pombo.worker.exposition import exposed
from pombo.worker.process import check_secrets

CONSOLE_PORT = 8081
FLEET_PORT = CONSOLE_PORT
"""The console also shows the metrics of the whole installation; where it cannot run, these alone are there."""
_CONSOLE = ("starlette", "uvicorn", "jinja2", "python_multipart")
"""What a console needs beyond the rest."""
GATEWAY_PORT = 8080
WATCH_S = 1.0
QUIET: Final = "warning"
"""What is logged on a terminal, unless POMBO_LOG_LEVEL says otherwise."""
DEFAULT_SOURCE = "default"

log = get_logger("pombo.up")


def up(settings: Settings) -> int:
    """Run an embedded server if no Redis is given, a worker, jobs, a gateway and a console, until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: the home, the server or the secret key cannot be used, or the worker refused its
            configuration.
        EmbeddedServerError: the server does not start.
        RedisError: the Redis that was given is away.
    """
    if _watched(settings):
        # Who reads along wants the addresses, and what goes wrong: a line for each request would take them away.
        os.environ["POMBO_LOG_LEVEL"] = QUIET
        settings = settings.model_copy(update={"log_level": QUIET})
    configure_logs(settings.log_level, settings.log_format)
    return asyncio.run(_up(settings))


def _watched(settings: Settings) -> bool:
    """Whether somebody sits before it who did not say how much they want to read."""
    return sys.stderr.isatty() and "log_level" not in settings.model_fields_set


async def _up(settings: Settings) -> int:
    stop = asyncio.Event()
    on_stop_signals(stop.set)
    die_with_parent()
    async with AsyncExitStack() as stack:
        overture = stack.enter_context(ExitStack())
        overture.enter_context(held_back())
        server = await _start_server(settings, stack)
        secrets = load_secrets(settings)
        sources = await _prepare_sources(settings, secrets)
        if stop.is_set():
            return 0
        supervisor = await stack.enter_async_context(Supervisor())
        await supervisor.start(ChildSpec(name="worker", argv=[sys.executable, "-m", "pombo.ops.cli", "worker"]))
        gateway = await _start_gateway(stack)
        console, fleet = await _start_console(settings, secrets, stack)
        lines = greeting(settings, sources, gateway=gateway, console=console, fleet=fleet)
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
        overture.close()
        ended = asyncio.ensure_future(supervisor.wait())
        ended.add_done_callback(lambda _: stop.set())
        await _watch(server, stop)
        if ended.done():
            raise ConfigurationError("the worker cannot run with this configuration; it said above what is wrong")
        sys.stderr.write("stopping: idle partitions are handed back, requests under way may finish\n")
    return 0


async def _start_gateway(stack: AsyncExitStack) -> str:
    """Run a gateway on its usual port, under a supervisor of its own; its URL, or why it is off.

    The rest runs without it, and the worker's end is looked for apart from its.
    """
    try:
        from pombo.gateway.process import listen

        listener = stack.enter_context(listen("127.0.0.1", GATEWAY_PORT))
    except ModuleNotFoundError as error:
        return f"off, {error.name} is not installed (pombo[gateway])"
    except ConfigurationError as error:
        log.warning("gateway.off", error=str(error))
        return f"off, port {GATEWAY_PORT} is in use"
    supervisor = await stack.enter_async_context(Supervisor())
    (spec,) = gateway_crew(None, [listener.fileno()])
    await supervisor.start(spec)
    return f"http://127.0.0.1:{GATEWAY_PORT}"


async def _start_console(settings: Settings, secrets: Secrets, stack: AsyncExitStack) -> tuple[str, str]:
    """Run a console on its usual port, under a supervisor of its own; or, where it lacks a package, what shows metrics.

    Returns:
        Its URL, or why it is off; and where the fleet's metrics are, or why not.
    """
    missing = [name for name in _CONSOLE if find_spec(name) is None]
    if missing:
        fleet = exposed(
            fleet_registry(settings, secrets), CONSOLE_PORT, "127.0.0.1",
            remedy="stop what uses the port, to have the fleet's metrics; all else works without",
        )  # fmt: skip
        served = stack.enter_context(fleet)
        at = f"fleet 127.0.0.1:{CONSOLE_PORT}" if served else f"fleet off, port {CONSOLE_PORT} is in use"
        return f"off, {missing[0]} is not installed (pombo[console])", at
    try:
        listener = stack.enter_context(listen("127.0.0.1", CONSOLE_PORT, "the console"))
    except ConfigurationError as error:
        log.warning("console.off", error=str(error))
        return f"off, port {CONSOLE_PORT} is in use", f"fleet off, port {CONSOLE_PORT} is in use"
    supervisor = await stack.enter_async_context(Supervisor())
    await supervisor.start(console_child(listener.fileno()))
    return f"http://127.0.0.1:{CONSOLE_PORT}", f"fleet 127.0.0.1:{CONSOLE_PORT}"


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
        await check_secrets(registry)
        snapshot = await registry.snapshot()
        names = {*snapshot.sources, *snapshot.unreadable}
        if settings.segment_write_key is not None:
            await _prepare_default(registry, names, settings.segment_write_key.get_secret_value())
            names.add(DEFAULT_SOURCE)
        return sorted(names)
    finally:
        await redis.aclose()


async def _prepare_default(registry: Registry, names: set[str], write_key: str) -> None:
    if DEFAULT_SOURCE not in names:
        added = await registry.add(DEFAULT_SOURCE, write_key)
        for line in added.warnings:
            log.warning("source.added", source=DEFAULT_SOURCE, note=line)
        for line in added.notices:
            log.info("source.added", source=DEFAULT_SOURCE, note=line)
        return
    try:
        known = await registry.write_key(DEFAULT_SOURCE)
    except PomboError as error:
        log.warning("source.unusable", source=DEFAULT_SOURCE, error=str(error))
        return
    if known != write_key:
        log.warning(
            "source.has_another_key",
            source=DEFAULT_SOURCE,
            note="POMBO_SEGMENT_WRITE_KEY makes a source and changes none; "
            f"`pombo sources rotate-key {DEFAULT_SOURCE}` does",
        )


def greeting(settings: Settings, sources: list[str], *, gateway: str, console: str, fleet: str) -> list[str]:
    """What `up` says when everything was started."""
    worker = f"worker :{settings.metrics_port}" if settings.metrics_port else "worker off"
    lines = [
        f"pombo is up on {redact(redis_url(settings))}",
        f"  sources   {', '.join(sources) or 'none yet: pombo sources add NAME --write-key -'}",
        f"  gateway   {gateway}",
        f"  console   {console}",
        f"  metrics   {worker}, {fleet}",
        "  look      pombo status · pombo top · pombo audit · pombo doctor",
        "  stop      Ctrl-C",
    ]
    if settings.redis_url is None and settings.home_dir != Path("~/.pombo").expanduser():
        lines.insert(1, f"  home      {settings.home_dir}; other commands need the same POMBO_HOME")
    if settings.log_level == QUIET:
        lines.insert(-2, "  log       warnings and errors; POMBO_LOG_LEVEL=info has a line for each request")
    if settings.disabled:
        lines.append("  note      POMBO_DISABLED=1: producers validate and discard")
    return lines


async def _watch(server: EmbeddedServer | None, stop: asyncio.Event) -> None:
    """Wait for the stop; a server that died is started again meanwhile, for as long as that takes."""
    while not stop.is_set():
        if server is not None:
            try:
                await asyncio.to_thread(server.ensure_running)
            except (PomboError, OSError) as error:
                log.error("embedded_server.not_started", error=str(error))
        try:
            async with asyncio.timeout(WATCH_S):
                await stop.wait()
        except TimeoutError:
            continue
