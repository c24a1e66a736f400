"""`pombo console`: one process, wired and run until it is told to stop."""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address

from starlette.applications import Starlette
from uvicorn import Config, Server

from pombo.ops.cli.crew import CONSOLE_FD
from pombo.ops.console.access import Tokens
from pombo.ops.console.app import create_app
from pombo.ops.console.protocol import Protocol
from pombo.shared.errors import ConfigurationError
from pombo.shared.lifeline import die_with_parent
from pombo.shared.listening import BACKLOG, address_of, inherited, listen
from pombo.shared.logs import configure_logs, get_logger
from pombo.shared.processes import on_stop_signals
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import Settings

STOP_S = 5
"""Seconds in which requests under way may end at a stop."""
IDLE_S = 75
"""Seconds after which a connection without a request is closed."""
DEAF_MS = 30_000
"""After so long the kernel ends a connection whose other side takes nothing; Linux alone knows that."""
MOST_REQUESTS = 1000
"""At the same time, streams included; beyond, 503."""

log = get_logger("pombo.console")


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen."""

    host: str = "127.0.0.1"
    port: int = 8081


class ConsoleServer(Server):
    """uvicorn's server, which leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Take no more, and let what is open end."""
        app = self.config.app
        assert isinstance(app, Starlette)
        app.state.console.stopping.set()
        self.should_exit = True


def run_console(settings: Settings, options: Options) -> int:
    """Run a console in this process; returns its exit code.

    Raises:
        ConfigurationError: the address cannot be listened on, it is beyond loopback and no token is set, the secret
            key is missing, or a URL is none.
    """
    configure_logs(settings.log_level, settings.log_format)
    # Its lines repeat ours, or tell that a client went away.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    check_exposure(settings, options.host)
    given = inherited(CONSOLE_FD)
    with given or listen(options.host, options.port, "the console") as listener:
        spare_the_deaf(listener)
        return asyncio.run(_run(settings, listener, greet=given is None))


def check_exposure(settings: Settings, host: str) -> None:
    """See that whoever reaches the address has to know a token.

    Raises:
        ConfigurationError: others than this machine reach it, and no token is set.
    """
    if Tokens.of(settings).open and not _is_loopback(host):
        raise ConfigurationError(
            f"the console listens beyond this machine ({host}) only with a token; set POMBO_CONSOLE_TOKEN "
            "(`pombo secret` makes a good one), or leave --host at 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)


def spare_the_deaf(listener: socket.socket) -> None:
    """Have the kernel end connections whose other side takes nothing any more."""
    with suppress(AttributeError, OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAF_MS)


def console_server(app: Starlette) -> ConsoleServer:
    """A server that is ready to `serve`."""
    config = Config(
        app,
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,  # Those of a proxy on this machine alone: whether it speaks TLS, and with whom.
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
        limit_concurrency=MOST_REQUESTS,
        backlog=BACKLOG,
    )
    return ConsoleServer(config)


async def _run(settings: Settings, listener: socket.socket, *, greet: bool) -> int:
    app = create_app(settings, load_secrets(settings))
    # What was imported stays: looking through it for garbage again and again took half of a look at many sources.
    gc.collect()
    gc.freeze()
    die_with_parent()
    server = console_server(app)
    on_stop_signals(server.stop)
    where = address_of(listener)
    log.info("console.started", address=where)
    if greet:
        sys.stdout.write(greeting(settings, where))
        sys.stdout.flush()
    await server.serve(sockets=[listener])
    return 0


def greeting(settings: Settings, where: str) -> str:
    """What a console says at its start."""
    tokens = Tokens.of(settings)
    if tokens.open:
        who = "open to whoever is on this machine, as nothing listens beyond it"
    else:
        kinds = [name for name, token in (("operators", tokens.operator), ("viewers", tokens.viewer)) if token]
        who = f"log in with the token of {' or '.join(kinds)}"
    return f"pombo console is on http://{where} ({who}); Ctrl-C stops it\n"
