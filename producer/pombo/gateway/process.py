"""`pombo gateway`: one process, wired and run until it is told to stop."""

import asyncio
import gc
import logging
import random
import resource
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn import Config, Server

from pombo.gateway.app import Gateway
from pombo.gateway.metrics import Metrics
from pombo.gateway.protocol import Protocol, sweep
from pombo.producer.spools import keeper_of
from pombo.shared import listening
from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect, redis_url, transient
from pombo.shared.crewmetrics import join_crew
from pombo.shared.lifeline import die_with_parent
from pombo.shared.logs import configure_logs, get_logger
from pombo.shared.processes import on_stop_signals
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, load_secrets
from pombo.shared.settings import Settings

SOCKET_FD = "POMBO_GATEWAY_FD"
"""Environment variable that gives a process the number of the listening socket that its parent made."""
STOP_S = 10
"""Seconds in which requests under way may end at a stop."""
SPARE_DESCRIPTORS = 128
"""Left for Redis, the spool and files."""
REDIS_TIMEOUT_S = 1.0

log = get_logger("pombo.gateway")


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 8080


def run_gateway(settings: Settings, options: Options) -> int:
    """Run a gateway in this process; returns its exit code.

    Raises:
        ConfigurationError: the address cannot be listened on, the secret key is missing or wrong, or the URL is none.
    """
    configure_logs(settings.log_level, settings.log_format)
    # Its own lines are for people at a terminal, and ours say the same.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    listener = listening.inherited(SOCKET_FD) or listen(options.host, options.port)
    _spare_the_collector()
    with listener:
        return _runner()(_run(settings, listener))


def _spare_the_collector() -> None:
    """Have Python look for cycles less often: with 10,000 connections each full look takes a tenth of a second.

    Requests and connections are freed without it. Measured with 10,000 idle connections at 15,000 events/s: the slowest
    hundredth of the answers takes 12 ms instead of 119.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 5)


def _runner() -> Callable[[Coroutine[Any, Any, int]], int]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run

    def run(work: Coroutine[Any, Any, int]) -> int:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)

    return run


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket; a `shared` one gets its part of the connections to all sockets of the address.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    return listening.listen(host, port, "the gateway", shared=shared)


async def _run(settings: Settings, listener: socket.socket) -> int:
    secrets = load_secrets(settings)
    die_with_parent()
    member = join_crew()
    async with AsyncExitStack() as stack:
        redis = aconnect(redis_url(settings), timeout_s=REDIS_TIMEOUT_S)
        stack.push_async_callback(redis.aclose)
        await _check_secrets(Registry(redis, settings.keys, secrets))
        server = gateway_server(settings, secrets, redis, stack, _most_connections())
        on_stop_signals(partial(setattr, server, "should_exit", True))
        if member == 1:
            _say_where(listener)
        await server.serve(sockets=[listener])
    return 0


class GatewayServer(Server):
    """uvicorn's server, which leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def gateway_server(
    settings: Settings, secrets: Secrets, redis: Any, stack: AsyncExitStack, most_connections: int
) -> GatewayServer:
    """A server that is ready to `serve`; what it needs ends with the stack."""
    clock = SystemClock()
    server: GatewayServer
    gateway = Gateway(
        settings,
        secrets,
        redis,
        clock=clock,
        rng=random.Random(),
        metrics=Metrics(),
        stopping=lambda: server.should_exit,
    )
    stack.push_async_callback(gateway.close)
    if keeper := keeper_of(settings, lambda: redis_url(settings), clock):
        keeper.start()  # Drain what a predecessor left, also when nobody sends anything.
    protocol: Any = partial(Protocol, traffic=gateway.traffic, most_connections=most_connections)
    config = Config(
        gateway.app,
        http=protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=3600,  # The sweeper is quicker.
        timeout_graceful_shutdown=STOP_S,
        backlog=listening.BACKLOG,
    )
    server = GatewayServer(config)
    sweeping = asyncio.ensure_future(sweep(server.server_state.connections))
    stack.callback(sweeping.cancel)
    return server


def _most_connections() -> int:
    """How many connections the descriptors suffice for, once as many as allowed are asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(soft - SPARE_DESCRIPTORS, SPARE_DESCRIPTORS)


async def _check_secrets(registry: Registry) -> None:
    """See that the secrets are those of this installation; without Redis nothing is known.

    Raises:
        ConfigurationError: they open the keys of no source.
    """
    try:
        await registry.check_secrets()
    except Exception as error:
        if not transient(error):
            raise
        log.warning("redis.away", note="requests are answered with 503 until it answers", error=str(error))


def _say_where(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    log.info("gateway.started", host=host, port=port)
    sys.stdout.write(f"pombo gateway listens on http://{shown}:{port}\n")
    sys.stdout.flush()
