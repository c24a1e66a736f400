"""What tests of the gateway share: a running one, its sources' keys, and raw HTTP."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
from redis.asyncio import Redis

from pombo.gateway.process import GatewayServer, gateway_server, listen
from pombo.shared import batches
from pombo.shared.audit import audit_source
from pombo.shared.connection import aconnect
from pombo.shared.deadletters import DeadLetter, read
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, load_secrets
from pombo.shared.settings import Settings
from support.programs import SECRET

WRITE_KEY = "w" * 32
KEYS = Keys()


@dataclass(frozen=True)
class Keyed:
    """A source's name and keys."""

    name: str
    intake_key: str
    write_key: str


def basic(key: str, colon: str = ":") -> dict[str, str]:
    """The header that carries a key as SDKs do."""
    return {"Authorization": "Basic " + base64.b64encode(f"{key}{colon}".encode()).decode()}


def track(message_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """A sound event."""
    event = {"type": "track", "userId": "u1", "event": "Message Sent", "messageId": message_id, **fields}
    return {name: value for name, value in event.items() if value is not None}


class Running:
    """A gateway that runs."""

    def __init__(self, server: GatewayServer, port: int) -> None:
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def post(self, path: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        """Post a body, serialised unless it is bytes, with a key as Basic."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.send("POST", path, content, {**(basic(key) if key else {}), **headers})

    async def send(
        self, method: str, path: str, content: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send any request, on a connection of its own; without TLS's authorities, which take long to read."""
        async with httpx.AsyncClient(base_url=self.url, timeout=30, verify=False) as client:
            return await client.request(method, path, content=content, headers=headers)

    async def talk(self, *parts: bytes, eof: bool = False) -> bytes:
        """Write bytes to a connection, and read all that comes until the gateway closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if eof:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def running(most_connections: int = 1000, **options: Any) -> AsyncIterator[Running]:
    """Run a gateway until the end of the context."""
    settings = Settings(**options)
    async with AsyncExitStack() as stack:
        redis = aconnect(str(settings.redis_url), timeout_s=1.0)
        stack.push_async_callback(redis.aclose)
        listener = stack.enter_context(listen("127.0.0.1", 0))
        port = listener.getsockname()[1]
        server = gateway_server(settings, load_secrets(settings), redis, stack, most_connections)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield Running(server, port)
        finally:
            server.should_exit = True
            await serving


async def stored(redis: Redis, source: str = "bot") -> list[dict[str, Any]]:
    """All queued events of a source, partition by partition, in order."""
    found = []
    for partition in range(8):
        entries: Any = await redis.xrange(KEYS.of(source).stream(partition))
        for _, entry in entries:
            bodies = batches.decode(entry[b"b"], int(entry[b"n"]), int(entry[b"r"]))
            found += [orjson.loads(body) for body in bodies]
    return found


async def stored_ids(redis: Redis, source: str = "bot") -> list[str]:
    """Their messageIds."""
    return [event["messageId"] for event in await stored(redis, source)]


async def letters(redis: Redis, source: str = "bot") -> list[DeadLetter]:
    """A source's dead letters."""
    return [letter async for letter in read(redis, KEYS, source)]


async def problems(redis: Redis, source: str = "bot") -> tuple[str, ...]:
    """What the audit finds wrong with a source."""
    found = await Registry(redis, KEYS, Secrets([SECRET])).get(source)
    return (await audit_source(redis, KEYS, found)).problems
