"""What tests of sources and of the debugger share: sources over a real server, and forms as people send them."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import httpx
from redis.asyncio import Redis

from ops.console.rig import token_of
from pombo.shared import batches
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.scripts import Argument, script
from pombo.shared.secrets import Secrets
from pombo.shared.sources import Source
from support.programs import SECRET

KEYS = Keys()
KEY = "Canary0WriteKey0Canary0WriteKey0"
"""A write key, which no answer of the console may hold."""
T = TypeVar("T")

_sequences = count(1)


def within(url: str, work: Callable[[Redis, Registry], Awaitable[T]]) -> T:
    """Do something with an asyncio client and a registry."""

    async def run() -> T:
        client = aconnect(url)
        try:
            return await work(client, Registry(client, KEYS, Secrets([SECRET])))
        finally:
            await client.aclose()

    return aside(run())


def aside(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread: a browser's test has a loop of Playwright's in its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def add(url: str, name: str = "bot", key: str = KEY, **options: Any) -> Source:
    """Register a source."""

    async def work(_: Redis, registry: Registry) -> Source:
        return (await registry.add(name, key, **options)).source

    return within(url, work)


def stored(url: str, name: str = "bot") -> Source:
    """A source as it is stored."""
    return within(url, lambda _, registry: registry.get(name))


def append(url: str, source: Source, *bodies: bytes) -> None:
    """Enqueue serialised events, each as a record batch of its own, into the first partition."""

    async def work(redis: Redis, _: Registry) -> None:
        of = KEYS.of(source.name)
        args: list[Argument] = [source.incarnation, next(_sequences), 0, 3600, KEYS.wake, f"track={len(bodies)}"]
        for one in map(batches.encode, [[body] for body in bodies]):
            args += [f"{source.name}/0", one.events, one.raw, one.payload]
        touched = [of.ledger, of.session("test"), *([of.stream(0)] * len(bodies))]
        reply = await script("append").acall(redis, touched, args)
        assert reply[0] == b"ok", reply

    within(url, work)


def send(client: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Send a form with the session's token, and follow where it leads."""
    return client.post(path, data={"csrf": token_of(client.get("/workers").text), **fields}, follow_redirects=True)
