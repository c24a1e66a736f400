import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from pombo.ops.simulator import Simulator

START = datetime(2026, 11, 21, 19, 0, 0, tzinfo=UTC)
Event = dict[str, Any]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ScriptedClock:
    """A clock that stands still; sleeping moves it and yields once."""

    def __init__(self) -> None:
        self.passed = timedelta()
        self.slept: list[float] = []

    def now(self) -> datetime:
        return START + self.passed

    def monotonic(self) -> float:
        return 1_000 + self.passed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> ScriptedClock:
    return ScriptedClock()


@pytest.fixture
def advance(clock: ScriptedClock) -> Callable[[timedelta], None]:
    """Move the simulator's clock."""

    def move(by: timedelta) -> None:
        clock.passed += by

    return move


@pytest.fixture
def slept(clock: ScriptedClock) -> list[float]:
    """The seconds of every wait that the simulator made."""
    return clock.slept


@pytest.fixture
async def sim(clock: ScriptedClock) -> AsyncIterator[Simulator]:
    async with Simulator(clock=clock, seed=7) as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client for any simulator; it needs no certificates and no proxy."""
    async with httpx.AsyncClient(verify=False, trust_env=False) as session:
        yield session


@pytest.fixture
def client(sim: Simulator, http: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client for `sim`."""
    http.base_url = sim.url
    return http


@pytest.fixture
def post(client: httpx.AsyncClient) -> Callable[..., Awaitable[httpx.Response]]:
    """Post events as one batch; `key` and `sent_at` go into the body, other names into it as they are."""

    async def send(
        *events: object,
        key: str | None = "key-1",
        path: str = "/v1/batch",
        headers: Any = None,
        **more: object,
    ) -> httpx.Response:
        body = {"batch": list(events), **({"writeKey": key} if key is not None else {}), **more}
        return await client.post(path, content=json.dumps(body), headers=headers)

    return send


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture
async def dial(sim: Simulator) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """Open bare connections to the simulator."""
    async with AsyncExitStack() as stack:

        async def connect() -> Streams:
            reader, writer = await asyncio.open_connection(sim.host, sim.port)
            stack.push_async_callback(hang_up, writer)
            return reader, writer

        yield connect


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Let the event loop turn until a condition holds; the suite's timeout bounds it."""

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0)

    return until


@pytest.fixture
def raw_post() -> Callable[..., bytes]:
    """Write a batch of track events with these ids as the bytes of a whole request."""

    def build(*message_ids: str, path: str = "/v1/batch") -> bytes:
        common = {"type": "track", "userId": "u", "event": "E"}
        events = [{**common, "messageId": found} for found in message_ids]
        body = json.dumps({"batch": events, "writeKey": "key-1"}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: simulator\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    return build


@pytest.fixture
def python_sdk_request() -> tuple[str, dict[str, str], bytes]:
    """One request of segment-analytics-python 2.4.0 as captured: path, headers and body, a call of each kind.

    It writes nulls out, uses json.dumps' separators, and sends the key twice.
    """
    common: Event = {
        "integrations": {},
        "anonymousId": None,
        "timestamp": "2026-11-21T19:00:50.834+00:00",
        "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
        "userId": "user-1",
    }
    calls: list[Event] = [
        {"type": "identify", "traits": {"email": "a@b.co", "n": 1}},
        {
            "type": "track",
            "event": "Order Completed",
            "properties": {"revenue": 9.99, "when": "2026-01-02T03:04:05+00:00"},
        },
        {"type": "page", "category": "Docs", "name": "Home", "properties": {"url": "https://x.test/"}},
        {
            "type": "screen",
            "anonymousId": "anon-1",
            "userId": None,
            "category": "App",
            "name": "Main",
            "properties": {"a": [1, {"b": None}]},
        },
        {"type": "group", "groupId": "group-1", "traits": {"name": "Acme"}},
        {"type": "alias", "previousId": "anon-1"},
    ]
    batch = [
        {**common, **call, "messageId": f"89721257-4f9e-4dac-93b6-{number:012x}"} for number, call in enumerate(calls)
    ]
    document = {"batch": batch, "sentAt": "2026-11-21T19:00:51.334972+00:00", "writeKey": "testwritekey"}
    headers = {
        "User-Agent": "analytics-python/2.4.0",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
        "Content-Type": "application/json",
        "Authorization": "Basic " + base64.b64encode(b"testwritekey:").decode(),
    }
    return "/v1/batch", headers, json.dumps(document).encode()
