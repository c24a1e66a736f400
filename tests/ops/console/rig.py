"""What tests of the console share: a running one on a real socket, a clock that can be put forward, and logins."""

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.applications import Starlette

from pombo.ops.console.app import create_app
from pombo.ops.console.process import ConsoleServer, console_server, spare_the_deaf
from pombo.ops.console.state import State
from pombo.shared.clock import SystemClock
from pombo.shared.listening import listen
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from support.programs import SECRET
from support.waiting import until

OPERATOR, VIEWER = "operators-token-1", "viewers-token-22"
HTML = {"Accept": "text/html"}


class Ahead(SystemClock):
    """The machine's clock, put forward by some seconds."""

    by = 0.0

    def now(self) -> datetime:
        return SystemClock.now() + timedelta(seconds=self.by)

    def monotonic(self) -> float:
        return SystemClock.monotonic() + self.by


class Running:
    """A console that runs in a thread of its own."""

    def __init__(self, app: Starlette, port: int, clock: Ahead) -> None:
        self.app, self.port, self.clock = app, port, clock
        self.url = f"http://127.0.0.1:{port}"

    @property
    def state(self) -> State:
        found: State = self.app.state.console
        return found

    @contextmanager
    def client(self, token: str = "", name: str = "", **headers: str) -> Iterator[httpx.Client]:
        """A browser's like, logged in if there is a token."""
        with httpx.Client(base_url=self.url, headers=HTML | headers, timeout=30, verify=False) as client:
            if token:
                assert 303 == log_in(client, token, name=name).status_code
            yield client


def bare(method: str, url: str, **options: Any) -> httpx.Response:
    """A request of somebody who is no browser; TLS's authorities, which take long to read, are left out."""
    return httpx.request(method, url, verify=False, timeout=30, **options)


@contextmanager
def console(redis_url: str, **settings: Any) -> Iterator[Running]:
    """Run a console until the end of the context."""
    with serving(create_app, redis_url, **settings) as running:
        yield running


@contextmanager
def serving(create: Any, redis_url: str, **settings: Any) -> Iterator[Running]:
    """Run what `create` makes as a console's app."""
    told: dict[str, Any] = {"redis_url": redis_url, "secret_key": SECRET, "_env_file": None} | settings
    clock = Ahead()
    with listen("127.0.0.1", 0, "the console") as listener:
        spare_the_deaf(listener)
        started: dict[str, Any] = {}

        async def serve() -> None:
            app = create(Settings(**told), Secrets([SECRET]), clock=clock)
            server: ConsoleServer = console_server(app)
            started.update(app=app, server=server, loop=asyncio.get_running_loop())
            await server.serve(sockets=[listener])

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="console")
        thread.start()
        try:
            until(lambda: "server" in started and started["server"].started, "started console")
            yield Running(started["app"], listener.getsockname()[1], clock)
        finally:
            started["loop"].call_soon_threadsafe(started["server"].stop)
            thread.join(30)
            assert not thread.is_alive()


def token_of(page: str) -> str:
    """The CSRF token that a page carries in a form or for htmx."""
    found = re.search(r'name="csrf" value="([^"]+)"|"X-CSRF-Token": "([^"]+)"', page)
    assert found, page
    return found[1] or found[2]


def log_in(client: httpx.Client, token: str, **fields: str) -> httpx.Response:
    """Fill in the form."""
    shown = client.get("/login")
    return client.post("/login", data={"csrf": token_of(shown.text), "token": token, **fields})
