"""What tests of dead letters and jobs share: sources with letters in them, jobs done here, and forms sent by a page."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from ops.console.rig import token_of
from pombo.shared.clock import iso
from pombo.shared.connection import aconnect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from support import letters
from support.letters import Stored
from support.programs import SECRET

T = TypeVar("T")
KEYS = Keys()


def in_redis(redis_url: str, work: Callable[[AsyncRedis], Awaitable[T]]) -> T:
    """Do something with a client of its own."""

    async def do() -> T:
        redis = aconnect(redis_url)
        try:
            return await work(redis)
        finally:
            await redis.aclose()

    # In a thread, as Playwright keeps a loop in the test's own.
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(lambda: asyncio.run(do())).result()


def add(redis_url: str, *names: str, **options: Any) -> None:
    """Register sources of four partitions."""

    async def work(redis: AsyncRedis) -> None:
        for name in names:
            await Registry(redis, KEYS, Secrets([SECRET])).add(name, "k" * 32, partitions=4, **options)

    in_redis(redis_url, work)


def put(redis_url: str, *stored: Stored, source: str = "bot") -> list[str]:
    """Store letters; their ids, `source/ms-seq`."""

    async def work(redis: AsyncRedis) -> list[str]:
        found = (await Registry(redis, KEYS, Secrets([SECRET])).snapshot()).sources[source]
        return [f"{source}/{one}" for one in await letters.put(redis, KEYS, *stored, source=found)]

    return in_redis(redis_url, work)


def ago(**span: float) -> str:
    """A moment so long ago, as headers have it."""
    return iso(datetime.now(UTC) - timedelta(**span))


def letter(message_id: str = "m1", reason: str = "rejected_by_segment", **more: Any) -> Stored:
    """A letter of an event that was accepted a minute ago."""
    return letters.letter(message_id, reason, **{"accepted_at": ago(minutes=1), **more})


def post(client: httpx.Client, path: str, form: Any = None, **headers: str) -> httpx.Response:
    """Send a form as a page of the console does."""
    token = token_of(client.get("/trail").text)
    return client.post(path, data=form or {}, headers={"X-CSRF-Token": token, **headers})


def dead(redis: Redis, source: str = "bot") -> int:
    """Letters that a source has."""
    return int(redis.xlen(KEYS.of(source).dead))


def queued(redis: Redis, source: str = "bot") -> int:
    """Events that wait in a source's streams, as stored."""
    streams: Any = [redis.xrange(KEYS.of(source).stream(number)) for number in range(4)]
    return sum(int(fields[b"n"]) for entries in streams for _, fields in entries)


def deeds(redis: Redis) -> list[tuple[str, str, str]]:
    """Who did what to what, as the trail has it, the oldest first."""
    rows: Any = redis.xrange(KEYS.trail)
    return [tuple(fields[name].decode() for name in (b"who", b"what", b"subject")) for _, fields in rows]
