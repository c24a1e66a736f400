"""A console of a test's own, on a port of this machine and in the test's event loop, and who looks at it."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pombo.ops.console.app import create_app
from pombo.ops.console.process import console_server
from pombo.ops.console.state import State
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from support.programs import SECRET

OPERATOR, VIEWER = "operators-token-of-the-tests", "viewers-token-of-the-tests"
_CSRF = re.compile(r'"X-CSRF-Token": "([^"]+)"')


@dataclass
class Visitor:
    """A browser without scripts: keeps cookies, and brings the token of the pages it saw."""

    http: httpx.AsyncClient
    csrf: str = field(default="", repr=False)

    async def enter(self, token: str, name: str) -> None:
        """Log in."""
        await self.get("/login")
        form = {"token": token, "name": name, "csrf": self.csrf}
        answer = await self.http.post("/login", data=form)
        assert answer.status_code == 303, answer.text
        await self.get("/trail")

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for a page."""
        answer = await self.http.get(path, headers={"Accept": "text/html"}, **more)
        found = _CSRF.search(answer.text) or re.search(r'name="csrf" value="([^"]+)"', answer.text)
        self.csrf = found[1] if found else self.csrf
        return answer

    async def post(self, path: str, form: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        """Send a form as a page of the console would."""
        headers = {"Accept": "text/html", "X-CSRF-Token": self.csrf, **more.pop("headers", {})}
        return await self.http.post(path, data=form or {}, headers=headers, **more)


@dataclass
class Console:
    """A console that serves."""

    url: str
    state: State
    settings: Settings

    @asynccontextmanager
    async def visitor(self, token: str = OPERATOR, name: str = "ana") -> AsyncIterator[Visitor]:
        """Somebody who is logged in."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False) as http:
            one = Visitor(http)
            await one.enter(token, name)
            yield one


@asynccontextmanager
async def console(redis_url: str, home: Path, **settings: Any) -> AsyncIterator[Console]:
    """Serve a console with both tokens set, until the context ends."""
    given = {"console_token": OPERATOR, "console_viewer_token": VIEWER, **settings}
    made = Settings(redis_url=redis_url, home=home, **given)
    app = create_app(made, Secrets([SECRET]))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = console_server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Console(f"http://127.0.0.1:{listener.getsockname()[1]}", app.state.console, made)
        finally:
            server.stop()
            await serving
