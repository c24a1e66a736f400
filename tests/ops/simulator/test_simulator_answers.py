import base64
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from pombo.ops.simulator import Simulator, Switches
from pombo.ops.simulator.switches import BODY_CAP

Post = Callable[..., Awaitable[httpx.Response]]
SUCCESS = b'{\n  "success": true\n}'
KINDS = {"identify": "i", "track": "t", "page": "p", "screen": "s", "group": "g", "alias": "a"}


def refusal(message: str) -> bytes:
    """Write a 400's body as Segment does."""
    return (f'{{\n  "success": false,\n  "message": "{message}",\n  "code": "invalid_request"\n}}').encode()


def track(message_id: str = "m-1", **changes: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "u-1", "event": "Sent", "messageId": message_id, **changes}


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


async def test_success_body(post: Post) -> None:
    """An accepted batch is answered 200 with the 21 pretty-printed bytes of the real service, as JSON."""
    answer = await post(track())
    assert (answer.status_code, answer.content, len(answer.content)) == (200, SUCCESS, 21)
    assert answer.headers["content-type"] == "application/json"


async def test_date_header(post: Post) -> None:
    """An answer is dated by the simulator's clock, so that clients can read HTTP dates against it."""
    assert (await post(track())).headers["date"] == "Sat, 21 Nov 2026 19:00:00 GMT"


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("route", ["batch", "import", "b"])
async def test_batch_routes(post: Post, sim: Simulator, route: str, slash: str) -> None:
    """Every batch route takes a batch, with and without a trailing slash."""
    assert (await post(track(), path=f"/v1/{route}{slash}")).content == SUCCESS
    assert [row["message_id"] for row in sim.events()] == ["m-1"]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(("kind", "route"), [(kind, route) for kind, short in KINDS.items() for route in (kind, short)])
async def test_single_routes(client: httpx.AsyncClient, sim: Simulator, kind: str, route: str, slash: str) -> None:
    """Every single route takes one event, whose type is the route's."""
    event = {
        "userId": "u",
        "event": "E",
        "groupId": "g",
        "previousId": "p",
        "writeKey": "k",
        "messageId": "m",
    }
    answer = await client.post(f"/v1/{route}{slash}", json=event)
    assert answer.content == SUCCESS
    assert [(row["type"], row["fate"]) for row in sim.events()] == [(kind, "kept")]


async def test_route_decides_type(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A single route's type wins over one in the body."""
    await client.post("/v1/track", json={**track(), "type": "page", "writeKey": "k"})
    assert [row["type"] for row in sim.events()] == ["track"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/batch", "/v1/batch/more", "/v1/batch//", "/batch", "//[", "/_sim"])
async def test_unknown_path(client: httpx.AsyncClient, sim: Simulator, path: str) -> None:
    """A path that is no route is 404, and is noted without a number."""
    answer = await client.post(httpx.URL(sim.url).copy_with(raw_path=path.encode()), json={"batch": [track()]})
    assert answer.status_code == 404
    assert [(row["n"], row["path"], row["status"]) for row in sim.requests()] == [(0, path, 404)]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch/"])
async def test_other_methods(client: httpx.AsyncClient, method: str, path: str) -> None:
    """Anything but POST on a route is 400 "malformed JSON", not 405."""
    answer = await client.request(method, path)
    assert (400, refusal("malformed JSON")) == (answer.status_code, answer.content)


async def test_head(client: httpx.AsyncClient) -> None:
    """HEAD gets the same answer without its body."""
    answer = await client.head("/v1/batch")
    assert (answer.status_code, answer.content) == (400, b"")
    assert int(answer.headers["content-length"]) == len(refusal("malformed JSON"))


async def test_preflight(client: httpx.AsyncClient) -> None:
    """A browser's preflight is answered with what it may send."""
    answer = await client.options("/v1/t")
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
    assert "X-Retry-Count" in answer.headers["access-control-allow-headers"]


async def test_no_cors(client: httpx.AsyncClient, sim: Simulator) -> None:
    """With the switch off there is neither a preflight nor a header for browsers."""
    sim.set_switches(Switches(cors=False))
    answer = await client.options("/v1/t")
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("authorization", ["key-2:", "key-2", "key-2:password"])
async def test_basic_key(post: Post, sim: Simulator, authorization: str) -> None:
    """The write key is the Basic user name, with or without its colon."""
    assert (await post(track(), key=None, headers=basic(authorization))).status_code == 200
    assert [row["key"] for row in sim.events()] == ["key-2"]


async def test_basic_key_unpadded(post: Post, sim: Simulator) -> None:
    """A Basic header without base64 padding is understood, its scheme in any case."""
    headers = {"Authorization": basic("key-2:")["Authorization"].rstrip("=").replace("Basic", "BASIC")}
    await post(track(), key=None, headers=headers)
    assert [row["key"] for row in sim.events()] == ["key-2"]


async def test_basic_over_body(post: Post, sim: Simulator) -> None:
    """Where header and body disagree the header's key counts."""
    await post(track(), key="body", headers=basic("header:"))
    assert [row["key"] for row in sim.requests()] == ["header"]


@pytest.mark.parametrize("authorization", ["Bearer token", "Basic !!!", "Basic", "Basic Og=="])
async def test_body_key_beside_header(post: Post, sim: Simulator, authorization: str) -> None:
    """A header without a usable key leaves the body's key in force."""
    await post(track(), headers={"Authorization": authorization})
    assert [row["key"] for row in sim.events()] == ["key-1"]


async def test_item_keys(post: Post, sim: Simulator) -> None:
    """An item's own write key is its key; items without one go under the request's."""
    await post(track("a", writeKey="item"), track("b"), key="request")
    assert [row["key"] for row in sim.events()] == ["item", "request"]


async def test_item_key_alone(post: Post, sim: Simulator) -> None:
    """A key in one item is enough for the request, as browsers in batching mode send it."""
    assert (await post(track("a"), track("b", writeKey="item"), key=None)).status_code == 200
    assert [row["key"] for row in sim.events()] == ["item", "item"]


@pytest.mark.parametrize("key", [None, "", "  "])
async def test_missing_key(post: Post, sim: Simulator, key: str | None) -> None:
    """Without a write key, or with an empty one, a request is 400 and nothing of it is kept."""
    answer = await post(track(), key=key)
    assert (400, refusal("An invalid write key was provided")) == (answer.status_code, answer.content)
    assert sim.events() == []


async def test_key_of_wrong_type(client: httpx.AsyncClient) -> None:
    """A write key that is no string is no write key."""
    answer = await client.post("/v1/batch", json={"batch": [track()], "writeKey": 12})
    assert answer.content == refusal("An invalid write key was provided")


async def test_short_key(post: Post, sim: Simulator) -> None:
    """A least length for keys can be switched on."""
    sim.set_switches(Switches(min_key_length=7))
    assert (await post(track(), key="abc123")).status_code == 400
    assert (await post(track(), key="abc1234")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"batch":[{"n":NaN}],"writeKey":"k"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
    ],
)
async def test_malformed(client: httpx.AsyncClient, sim: Simulator, body: bytes) -> None:
    """What is no JSON object is 400 "malformed JSON", NaN and lone surrogates included."""
    answer = await client.post("/v1/batch", content=body, headers=basic("key:"))
    assert (400, refusal("malformed JSON")) == (answer.status_code, answer.content)
    assert [(row["key"], row["events"], row["bytes"]) for row in sim.requests()] == [("key", 0, len(body))]


@pytest.mark.parametrize("batch", [None, {}, "text", 3])
async def test_batch_not_array(client: httpx.AsyncClient, sim: Simulator, batch: object) -> None:
    """A batch that is no array is refused, or accepted as an empty one, as the switch says."""
    body = {"batch": batch, "writeKey": "k"}
    assert (await client.post("/v1/batch", json=body)).content == refusal("malformed JSON")
    sim.set_switches(Switches(batch_not_array="accept"))
    assert (await client.post("/v1/batch", json=body)).content == SUCCESS
    assert [row["code"] for row in sim.requests()] == [None, "empty_batch"]


async def test_empty_batch(post: Post, sim: Simulator) -> None:
    """An empty batch is 200 and fails as `empty_batch`, unless the switch refuses it."""
    assert (await post()).content == SUCCESS
    sim.set_switches(Switches(empty_batch="reject"))
    assert (await post()).status_code == 400
    assert [row["code"] for row in sim.requests()] == ["empty_batch", None]


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/plain;charset=UTF-8", "image/gif"])
async def test_content_types(post: Post, content_type: str) -> None:
    """No content type is refused: browsers and Kotlin send text/plain."""
    assert (await post(track(), headers={"Content-Type": content_type})).status_code == 200


async def test_gzip(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A gzip body is inflated; both of its sizes are noted."""
    raw = json.dumps({"batch": [track()], "writeKey": "k"}).encode()
    packed = gzip.compress(raw)
    answer = await client.post("/v1/batch", content=packed, headers={"Content-Encoding": "gzip"})
    assert answer.content == SUCCESS
    assert [(row["bytes"], row["wire_bytes"]) for row in sim.requests()] == [(len(raw), len(packed))]


async def test_gzip_chunked(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A chunked gzip body arrives whole, as Kotlin sends it."""
    packed = gzip.compress(json.dumps({"batch": [track()], "writeKey": "k"}).encode())

    async def pieces() -> AsyncIterator[bytes]:
        yield packed[:10]
        yield packed[10:]

    answer = await client.post("/v1/b", content=pieces(), headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, len(sim.events())) == (200, 1)


@pytest.mark.parametrize("broken", [b"no gzip", gzip.compress(b'{"batch":[]}')[:-4], b"", zlib.compress(b"{}")])
async def test_bad_gzip(client: httpx.AsyncClient, sim: Simulator, broken: bytes) -> None:
    """A body that does not inflate to its end is refused with the status of the switch."""
    headers = {"Content-Encoding": "gzip", **basic("k:")}
    assert (await client.post("/v1/batch", content=broken, headers=headers)).content == refusal("malformed JSON")
    sim.set_switches(Switches(bad_gzip=415))
    assert (await client.post("/v1/batch", content=broken, headers=headers)).status_code == 415


async def test_gzip_bomb(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A body is inflated up to the cap and no further; what is longer is too large, and not read."""
    bomb = gzip.compress(b" " * (BODY_CAP + 1))
    sim.set_switches(Switches(body_limit=BODY_CAP))
    answer = await client.post("/v1/batch", content=bomb, headers={"Content-Encoding": "gzip"})
    assert (400, refusal("Exceed payload limit")) == (answer.status_code, answer.content)
    assert [(row["events"], row["bytes"]) for row in sim.requests()] == [(0, len(bomb))]


async def test_endless_body(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A body longer than the cap is counted to its end but not held."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 2**20

    answer = await client.post("/v1/batch", content=pieces())
    assert (400, refusal("Exceed payload limit")) == (answer.status_code, answer.content)
    assert [row["wire_bytes"] for row in sim.requests()] == [17 * 2**20]


def body_of(size: int) -> bytes:
    """Write a batch of small events that is `size` bytes long."""
    head = json.dumps({"batch": [track(f"m-{n}") for n in range(20)], "writeKey": "k", "pad": ""})
    return head.replace('"pad": "', '"pad": "' + "x" * (size - len(head))).encode()


async def test_body_limit(client: httpx.AsyncClient) -> None:
    """A body of 500,000 bytes is taken and one byte more is refused whole."""
    assert (await client.post("/v1/batch", content=body_of(500_000))).content == SUCCESS
    answer = await client.post("/v1/batch", content=body_of(500_001))
    assert (400, refusal("Exceed payload limit")) == (answer.status_code, answer.content)


async def test_body_limit_is_raw(client: httpx.AsyncClient, sim: Simulator) -> None:
    """The limit is on the inflated body, unless the switch puts it on the sent one."""
    packed, headers = gzip.compress(body_of(500_001)), {"Content-Encoding": "gzip"}
    assert (await client.post("/v1/batch", content=packed, headers=headers)).status_code == 400
    sim.set_switches(Switches(body_limit_counts="wire"))
    assert (await client.post("/v1/batch", content=packed, headers=headers)).status_code == 200


async def test_oversized_body_as_text(client: httpx.AsyncClient, sim: Simulator) -> None:
    """The refusal of a large body can be the padded text that is no JSON."""
    sim.set_switches(Switches(oversized_body="text"))
    answer = await client.post("/v1/batch", content=body_of(500_001))
    assert (answer.status_code, answer.content.strip()) == (400, b"Bad Request")
    assert len(answer.content) > len(b"Bad Request")


async def test_oversized_request_is_read(client: httpx.AsyncClient, sim: Simulator) -> None:
    """What a refused large body held is noted all the same."""
    await client.post("/v1/batch", content=body_of(500_001))
    [row] = sim.requests(ids=True)
    assert (row["events"], row["key"], row["message_ids"][0]) == (20, "k", "m-0")


def event_of(size: int, message_id: str = "large") -> dict[str, Any]:
    """Build an event that is `size` bytes long as compact JSON."""
    bare = len(json.dumps(track(message_id, properties={"x": ""}), separators=(",", ":")))
    return track(message_id, properties={"x": "y" * (size - bare)})


async def test_event_limit(post: Post) -> None:
    """An event of 32,768 bytes is taken; one byte more is 400 "Exceed payload limit"."""
    assert (await post(event_of(32_768))).status_code == 200
    answer = await post(event_of(32_769))
    assert (400, refusal("Exceed payload limit")) == (answer.status_code, answer.content)


async def test_event_limit_counts_utf8(post: Post) -> None:
    """An event's size is that of compact UTF-8, however its sender escaped it."""
    assert (await post(track(properties={"x": "é" * 16_000}))).status_code == 200


async def test_single_event_limit(client: httpx.AsyncClient, sim: Simulator) -> None:
    """A single event over its limit is refused, whatever the switch says of batches."""
    sim.set_switches(Switches(oversized_item="drop_item"))
    assert (await client.post("/v1/track", json={**event_of(33_000), "writeKey": "k"})).status_code == 400


async def test_oversized_item_sinks_batch(post: Post, sim: Simulator) -> None:
    """One event over its limit has the whole batch refused."""
    assert (await post(track(), event_of(33_000))).status_code == 400
    assert sim.events() == []


async def test_oversized_item_dropped(post: Post, sim: Simulator) -> None:
    """With the switch only the large event of a batch is lost."""
    sim.set_switches(Switches(oversized_item="drop_item"))
    assert (await post(track(), event_of(33_000))).status_code == 200
    assert [row["fate"] for row in sim.events()] == ["kept", "event_too_large"]


async def test_deep_event_is_measured(post: Post, sim: Simulator) -> None:
    """An event nested deeper than the serialiser writes is measured like any other."""

    def nested(levels: int, filler: str) -> Iterator[object]:
        value: object = {"x": filler, "é": [], "e": {}}
        for _ in range(levels):
            value = [value, 1]
        yield value

    [fits], [large] = nested(400, "y" * 30_000), nested(400, "y" * 33_000)
    assert (
        await post(track("a", properties={"x": fits}), track("b", properties={"y": "z" * 5_000}))
    ).status_code == 200
    assert (await post(track("c", properties={"x": large}))).status_code == 400


async def test_too_many_events(post: Post, sim: Simulator) -> None:
    """A batch of more than 2,500 events is answered 200 and dropped."""
    assert (await post(*[track(str(n)) for n in range(2_500)])).status_code == 200
    assert (await post(*[track(f"again-{n}") for n in range(2_501)])).content == SUCCESS
    assert sim.summary()["by_fate"] == {"kept": 2_500, "too_many_events": 2_501}


async def test_excess_events(post: Post, sim: Simulator) -> None:
    """With the switch a long batch loses only what is beyond the limit."""
    sim.set_switches(Switches(over_batch_limit="drop_excess", batch_limit=2))
    await post(track("a"), track("b"), track("c"))
    assert [row["fate"] for row in sim.events()] == ["kept", "kept", "too_many_events"]
    assert sim.requests()[0]["code"] == "multi_user_error"


async def test_context_and_integrations_merged(post: Post, sim: Simulator) -> None:
    """A batch's context and integrations reach every item, beneath the item's own."""
    own = track("own", context={"ip": "1.2.3.4", "app": {"name": "item"}}, integrations=None)
    common = {
        "context": {"app": {"name": "batch"}, "library": {"name": "go"}},
        "integrations": {"All": False},
    }
    await post(own, track("none"), **common)
    first, second = (row["payload"] or {} for row in sim.events(payload=True))
    assert first["context"] == {"app": {"name": "item"}, "library": {"name": "go"}, "ip": "1.2.3.4"}
    assert first["integrations"] == second["integrations"] == {"All": False}
    assert second["context"] == common["context"]


async def test_landed_payload(post: Post, sim: Simulator) -> None:
    """A payload lands without its write key and with the times and the id that Segment gives it."""
    await post(track(writeKey="item", custom=1, timestamp="2026-11-21T18:00:00Z"), sentAt="2026-11-21T19:00:00Z")
    [row] = sim.events(payload=True)
    assert row["payload"] == {
        "type": "track",
        "userId": "u-1",
        "event": "Sent",
        "messageId": "m-1",
        "custom": 1,
        "timestamp": "2026-11-21T18:00:00.000Z",
        "originalTimestamp": "2026-11-21T18:00:00Z",
        "sentAt": "2026-11-21T19:00:00Z",
        "receivedAt": "2026-11-21T19:00:00.000Z",
    }


@pytest.mark.parametrize("name", ["properties", "traits"])
async def test_property_limit(post: Post, sim: Simulator, name: str) -> None:
    """Properties beyond the 10,000th are lost without a word."""
    sim.set_switches(Switches(event_limit=200_000))
    await post(track() | {name: {str(n): n for n in range(10_001)}})
    [row] = sim.events(payload=True)
    kept = list((row["payload"] or {})[name])
    assert (row["fate"], len(kept), kept[0], kept[-1]) == ("kept", 10_000, "0", "9999")


async def test_retry_count(post: Post, sim: Simulator) -> None:
    """X-Retry-Count is noted as a number, and anything else in it as none."""
    for value in ({}, {"X-Retry-Count": "2"}, {"X-Retry-Count": "two"}, {"X-Retry-Count": "-1"}):
        await post(track(), headers=value)
    assert [row["retry_count"] for row in sim.requests()] == [None, 2, None, None]
