"""What is too large, too slow or no HTTP at all."""

import asyncio
import gzip
import zlib
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from gateway.conftest import Start
from gateway.rig import Keyed, Running, basic, stored_ids, track
from pombo.gateway import protocol
from pombo.gateway.bodies import MOST_MEMBERS


def answer_of(raw: bytes) -> tuple[int, str]:
    """Status and code of the one answer in raw bytes."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), orjson.loads(body)["code"]


def request(path: str, key: str, body: bytes, *headers: str) -> bytes:
    """A raw request that asks to close the connection."""
    lines = [f"POST {path} HTTP/1.1", "host: x", "connection: close", *headers]
    lines += [f"{name}: {value}" for name, value in basic(key).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def test_a_body_over_the_limit(bot: Keyed, start: Start) -> None:
    """More bytes than the setting allows are 413, told by their length or found while they come."""
    gateway = await start(gateway_body_bytes=2000)
    body = orjson.dumps({"batch": [track(properties={"text": "x" * 2000})]})

    async def chunks() -> Any:
        yield body

    told = await gateway.post("/v1/batch", body, bot.intake_key)
    found = await gateway.send("POST", "/v1/batch", chunks(), basic(bot.intake_key))
    assert [(413, "body_too_large")] * 2 == [(one.status_code, one.json()["code"]) for one in (told, found)]


async def test_a_zip_bomb(gateway: Running, bot: Keyed) -> None:
    """A body that inflates to 1 GB is given up at the limit."""
    squeeze = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    bomb = b"".join(squeeze.compress(zeros) for _ in range(1024)) + squeeze.flush()
    answer = await gateway.post("/v1/batch", bomb, bot.intake_key, **{"Content-Encoding": "gzip"})
    assert (413, "body_too_large") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"rest", b""])
async def test_broken_gzip(gateway: Running, bot: Keyed, body: bytes) -> None:
    """What says to be gzip and is not, or not to its end, is 400."""
    answer = await gateway.post("/v1/batch", body, bot.intake_key, **{"Content-Encoding": "gzip"})
    assert (400, "malformed_gzip") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("members", "expected"), [(MOST_MEMBERS, (200, None)), (MOST_MEMBERS + 1, (400, "malformed_gzip"))]
)
async def test_gzip_of_many_members(
    gateway: Running, bot: Keyed, members: int, expected: tuple[int, str | None]
) -> None:
    """Gzip may have several members, but not so many that going through them holds up all other requests."""
    body = gzip.compress(orjson.dumps(track())) + gzip.compress(b"") * (members - 1)
    answer = await gateway.post("/v1/track", body, bot.intake_key, **{"Content-Encoding": "gzip"})
    assert expected == (answer.status_code, answer.json().get("code"))


async def test_unknown_encoding(gateway: Running, bot: Keyed) -> None:
    """Another encoding is 415."""
    answer = await gateway.post("/v1/batch", b"{}", bot.intake_key, **{"Content-Encoding": "br"})
    assert (415, "unsupported_encoding") == (answer.status_code, answer.json()["code"])


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"hello\r\n\r\n", (400, "malformed_http")),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400, "malformed_http")),
        (b"POST /v1/t HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", (400, "malformed_http")),
        (
            b"POST /v1/t HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            (400, "malformed_http"),
        ),
        (b"POST /\xff HTTP/1.1\r\nhost: x\r\n\r\n", (400, "malformed_http")),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", (431, "headers_too_large")),
        (b"GET /" + b"y" * 40_000 + b" HTTP/1.1\r\n\r\n", (431, "headers_too_large")),
        (b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", (431, "headers_too_large")),
    ],
)
async def test_what_is_no_request(gateway: Running, raw: bytes, expected: tuple[int, str]) -> None:
    """Each is answered in JSON, and its connection closed."""
    assert expected == answer_of(await gateway.talk(raw))


async def test_an_endless_header(gateway: Running) -> None:
    """A header without an end is given up while it comes."""
    raw = await gateway.talk(b"GET / HTTP/1.1\r\nx: ", *[b"y" * 10_000] * 20)
    assert (431, "headers_too_large") == answer_of(raw)


async def test_a_refusal_before_the_body(gateway: Running, bot: Keyed) -> None:
    """A stranger's body is not waited for, and the connection is good for the next request all the same."""
    refused = request("/v1/batch", "wrong", b"", "content-length: 100000").replace(b"connection: close\r\n", b"")
    following = request("/v1/batch", bot.intake_key, b'{"batch":[]}', "content-length: 12")
    raw = await gateway.talk(refused, b"x" * 100_000, following)
    assert [b"401", b"200"] == [part[:3] for part in raw.split(b"HTTP/1.1 ")[1:]]


async def test_pipelined_requests(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """Requests that do not wait for answers are answered in their order."""
    bodies = [orjson.dumps(track(f"m{number}")) for number in range(5)]
    requests = [request("/v1/t", bot.intake_key, body, f"content-length: {len(body)}") for body in bodies]
    raw = await gateway.talk(b"".join(requests).replace(b"connection: close\r\n", b"", 4))
    assert 5 == raw.count(b'{"success": true}')
    assert [f"m{number}" for number in range(5)] == await stored_ids(redis)


async def test_too_many_pipelined_requests(gateway: Running, bot: Keyed) -> None:
    """A connection that heaps up requests is closed."""
    one = request("/v1/t", "unknown", b"", "content-length: 0").replace(b"connection: close\r\n", b"")
    raw = await gateway.talk(one * 200)
    assert raw.count(b"HTTP/1.1") < 200


async def test_expect_continue(gateway: Running, bot: Keyed) -> None:
    """A client that asks first is told to go on, or why not."""
    good = await gateway.talk(request("/v1/t", bot.intake_key, b"", "content-length: 2", "expect: 100-continue"), b"{}")
    bad = await gateway.talk(
        request("/v1/t", "wrong", b"", "content-length: 2", "expect: 100-continue"),
    )
    assert b"HTTP/1.1 100 Continue" == good[:21]
    assert b"HTTP/1.1 401" == bad[:12]


async def test_another_protocol(gateway: Running, bot: Keyed, redis: Redis) -> None:
    """A request that offers HTTP/2 is taken without it, body and all; nobody is connected elsewhere."""
    body = orjson.dumps(track("m1"))
    offered = request("/v1/t", bot.intake_key, body, f"content-length: {len(body)}", "upgrade: h2c").replace(
        b"connection: close", b"connection: upgrade, http2-settings, close"
    )
    whole = await gateway.talk(offered)
    in_parts = await gateway.talk(offered[:90], offered[90:-10], offered[-10:])
    socket = await gateway.talk(
        b"GET /v1/t HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    )
    proxy = await gateway.talk(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n")
    assert [b"200", b"200"] == [raw[9:12] for raw in (whole, in_parts)]
    assert [(405, "method_not_allowed")] * 2 == [answer_of(socket), answer_of(proxy)]
    assert ["m1", "m1"] == await stored_ids(redis)


async def test_too_many_connections(bot: Keyed, start: Start) -> None:
    """Beyond as many as there can be, a connection is answered 503 at once, and those that are there are served."""
    gateway = await start(most_connections=3)
    held = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(3)]
    while len(gateway.server.server_state.connections) < 3:
        await asyncio.sleep(0.01)
    raw = await gateway.talk(b"")
    assert (503, "too_many_connections") == answer_of(raw)
    assert b"retry-after: 5\r\n" in raw
    reader, writer = held[0]
    writer.write(request("/v1/batch", bot.intake_key, b'{"batch":[]}', "content-length: 12"))
    assert b"HTTP/1.1 200" == (await reader.read())[:12]
    for _, writer in held:
        writer.close()


async def test_a_body_that_still_comes_after_its_answer(gateway: Running, bot: Keyed) -> None:
    """It is thrown away for some seconds, and then the connection is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        request("/v1/batch", "wrong", b"x" * 10, "content-length: 100000").replace(b"connection: close\r\n", b"")
    )
    assert b"HTTP/1.1 401" == (await reader.readuntil(b"}"))[:12]
    connections: Any = gateway.server.server_state.connections
    (connection,) = connections
    assert protocol.Phase.DRAIN is connection.phase
    connection.overdue(connection.since + protocol.DRAIN_S - 0.1)
    writer.write(b"x" * 10)
    await writer.drain()
    connection.overdue(connection.since + protocol.DRAIN_S)
    async with asyncio.timeout(60):
        while connections:
            await asyncio.sleep(0.01)
    writer.close()


async def test_all_connections_are_looked_at() -> None:
    """The sweep looks at each connection, with the loop's own time, again and again."""
    seen: asyncio.Queue[float] = asyncio.Queue()

    class Connection:
        def overdue(self, now: float) -> None:
            seen.put_nowait(now)

    sweeping = asyncio.create_task(protocol.sweep({Connection(), Connection()}))
    async with asyncio.timeout(60):
        times = [await seen.get() for _ in range(4)]
    sweeping.cancel()
    assert times[0] == times[1] < times[2] == times[3] <= asyncio.get_running_loop().time()


@pytest.mark.parametrize(
    ("phase", "since", "status"), [("HEAD", protocol.HEAD_S, 408), ("IDLE", protocol.IDLE_S, None)]
)
async def test_slow_heads(gateway: Running, phase: str, since: float, status: int | None) -> None:
    """A head that does not come to its end is 408; a connection without a request is closed without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    if phase == "HEAD":
        writer.write(b"POST /v1/t HTTP/1.1\r\nho")
        await writer.drain()

    def found() -> list[protocol.Protocol]:
        connections: Any = gateway.server.server_state.connections
        return [one for one in connections if one.phase.name == phase]

    while not found():
        await asyncio.sleep(0.01)
    (connection,) = found()
    connection.overdue(connection.since + since - 0.1)
    assert not connection.transport.is_closing()
    connection.overdue(connection.since + since)
    raw = await reader.read()
    writer.close()
    assert (answer_of(raw)[0] if raw else None) == status
