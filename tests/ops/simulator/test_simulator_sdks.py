import base64
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pombo.ops.simulator import Simulator

Captured = tuple[str, dict[str, str], bytes]


async def test_python_sdk(client: httpx.AsyncClient, sim: Simulator, python_sdk_request: Captured) -> None:
    """The official Python library's request is accepted, and each of its six calls is kept."""
    path, headers, body = python_sdk_request
    answer = await client.post(path, content=body, headers=headers)
    assert answer.json() == {"success": True}
    rows = sim.events(key="testwritekey")
    assert [row["type"] for row in rows] == ["identify", "track", "page", "screen", "group", "alias"]
    assert [row["user"] for row in rows] == ["user-1", "user-1", "user-1", "anon-1", "user-1", "user-1"]
    assert {"kept"} == {row["fate"] for row in rows}


async def test_python_sdk_gzip(client: httpx.AsyncClient, sim: Simulator, python_sdk_request: Captured) -> None:
    """With its gzip option the same request has the same effect."""
    path, headers, body = python_sdk_request
    await client.post(path, content=gzip.compress(body), headers={**headers, "Content-Encoding": "gzip"})
    assert (6, len(body)) == (len(sim.events()), sim.requests()[0]["bytes"])


async def test_python_sdk_retry(client: httpx.AsyncClient, sim: Simulator, python_sdk_request: Captured) -> None:
    """A retry with the same messageIds is answered like the first attempt and kept once."""
    path, headers, body = python_sdk_request
    for attempt in ({}, {"X-Retry-Count": "1"}):
        await client.post(path, content=body, headers={**headers, **attempt})
    assert sim.summary()["by_fate"] == {"kept": 6, "duplicate": 6}
    assert [row["retry_count"] for row in sim.requests()] == [None, 1]


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:".encode()).decode()}


NODE: dict[str, Any] = {
    "timestamp": "2026-11-21T19:00:53.369Z",
    "integrations": {},
    "type": "track",
    "event": "Order Completed",
    "userId": "user-1",
    "properties": {"revenue": 9.99},
    "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
    "messageId": "node-next-1795287653369-5e73aeac-d9ee-4b4f-a7d1-221005d98a84",
    "_metadata": {"nodeVersion": "v20.20.2", "jsRuntime": "node"},
}
GO = {
    "batch": [{"event": "E", "messageId": "go-1", "type": "track", "userId": "123456"}],
    "context": {"library": {"name": "analytics-go", "version": "3.3.0"}},
    "messageId": "batch-id",
    "sentAt": "2026-11-21T19:00:00Z",
}
JAVA = {
    "batch": [{"type": "identify", "userId": "u", "messageId": "java-1"}],
    "sentAt": "2026-11-21T19:00:00.000Z",
    "context": {"library": {"name": "analytics-java"}, "instanceId": "i"},
    "sequence": 1,
    "writeKey": "k",
}
BROWSER = {**NODE, "writeKey": "k", "sentAt": "2026-11-21T19:00:00.000Z", "messageId": "ajs-next-1-2"}


@pytest.mark.parametrize(
    ("path", "headers", "document"),
    [
        pytest.param("/v1/batch", basic("k"), {"batch": [NODE], "writeKey": "k"}, id="node"),
        pytest.param("/v1/batch", basic("k"), GO, id="go: key in the header alone"),
        pytest.param("/v1/import/", basic("k"), JAVA, id="java"),
        pytest.param("/v1/t", {"Content-Type": "text/plain", **basic("k")}, BROWSER, id="browser"),
        pytest.param("/v1/b", {"Content-Type": "text/plain"}, {"batch": [BROWSER]}, id="browser, batching"),
    ],
)
async def test_other_sdks(
    client: httpx.AsyncClient, sim: Simulator, path: str, headers: dict[str, str], document: dict[str, Any]
) -> None:
    """The other libraries' layouts are accepted under their key, with whatever else they hold."""
    answer = await client.post(path, content=json.dumps(document), headers=headers)
    assert (answer.status_code, [(row["key"], row["fate"]) for row in sim.events()]) == (200, [("k", "kept")])


async def test_go_context(client: httpx.AsyncClient, sim: Simulator) -> None:
    """Go's library name, which it sends once per batch, lands in the event."""
    await client.post("/v1/batch", json=GO, headers=basic("k"))
    payload = sim.events(payload=True)[0]["payload"] or {}
    assert payload["context"] == GO["context"]


async def test_kotlin(client: httpx.AsyncClient, sim: Simulator) -> None:
    """Kotlin's chunked gzip body of text/plain without a header for its key is accepted."""
    packed = gzip.compress(json.dumps({"batch": [NODE], "writeKey": "k"}).encode())

    async def pieces() -> AsyncIterator[bytes]:
        yield packed

    headers = {"Content-Type": "text/plain", "Content-Encoding": "gzip"}
    assert (await client.post("/v1/b", content=pieces(), headers=headers)).status_code == 200
    assert [row["event"] for row in sim.events()] == ["Order Completed"]
