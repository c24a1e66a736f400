import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pombo.ops.simulator import Simulator
from pombo.ops.simulator.protocol import HEAD_LIMIT

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
RawPost = Callable[..., bytes]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
SUCCESS = b'{\n  "success": true\n}'


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one response with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    lengths = [int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")]
    return int(lines[0].split()[1]), await reader.readexactly(lengths[0])


async def test_keep_alive(sim: Simulator, dial: Dial, raw_post: RawPost) -> None:
    """A connection serves one request after the other."""
    reader, writer = await dial()
    for number in range(3):
        writer.write(raw_post(str(number)))
        assert await answer(reader) == (200, SUCCESS)
    assert [row["message_id"] for row in sim.events()] == ["0", "1", "2"]
    assert sim.connections == 1


async def test_pipelining(sim: Simulator, dial: Dial, raw_post: RawPost) -> None:
    """Requests that are sent ahead of their answers are answered in their order."""
    sim.set_plan([{"when": {"message_id": "b"}, "answer": {"status": 503}}])
    reader, writer = await dial()
    writer.write(raw_post("a") + raw_post("b") + raw_post("c"))
    assert [(await answer(reader))[0] for _ in range(3)] == [200, 503, 200]


async def test_piece_by_piece(sim: Simulator, dial: Dial, raw_post: RawPost) -> None:
    """A request that trickles in byte by byte is understood."""
    reader, writer = await dial()
    for byte in raw_post("slow"):
        writer.write(bytes([byte]))
        await writer.drain()
    assert await answer(reader) == (200, SUCCESS)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_close(dial: Dial, raw_post: RawPost, version: str) -> None:
    """A client that asks to close, or knows no other way, has its connection closed after the answer."""
    reader, writer = await dial()
    request = raw_post("m").replace(b"HTTP/1.1\r\n", f"{version}\r\nConnection: close\r\n".encode())
    writer.write(request)
    assert (await reader.read()).endswith(SUCCESS)


async def test_planned_close(sim: Simulator, dial: Dial, raw_post: RawPost) -> None:
    """A plan may have the connection closed in good order after its answer."""
    sim.set_plan([{"answer": {"headers": {"Connection": "close"}}}])
    reader, writer = await dial()
    writer.write(raw_post("m"))
    assert (await reader.read()).endswith(SUCCESS)


async def test_expect_continue(dial: Dial, raw_post: RawPost) -> None:
    """A client that waits for leave to send its body gets it."""
    reader, writer = await dial()
    head, body = raw_post("m").split(b"\r\n\r\n")
    writer.write(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert await answer(reader) == (200, SUCCESS)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: s\r\nContent-Length: many\r\n\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_no_http(sim: Simulator, dial: Dial, request_bytes: bytes) -> None:
    """What is no HTTP is 400 and ends the connection, and is no request."""
    reader, writer = await dial()
    writer.write(request_bytes)
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert sim.requests() == []


async def test_long_head(dial: Dial) -> None:
    """A head over its limit is 431."""
    reader, writer = await dial()
    writer.write(b"POST /v1/batch HTTP/1.1\r\nHost: s\r\nX: ".ljust(HEAD_LIMIT + 1, b"x"))
    assert (await reader.read()).startswith(b"HTTP/1.1 431 ")


async def test_half_a_request(sim: Simulator, dial: Dial, raw_post: RawPost, eventually: Eventually) -> None:
    """A client that leaves in the middle of its request leaves nothing behind."""
    _, writer = await dial()
    writer.write(raw_post("m")[:-5])
    await eventually(lambda: sim.connections == 1)
    writer.transport.abort()
    await eventually(lambda: sim.connections == 0)
    assert (sim.requests(), sim.events()) == ([], [])


async def test_client_leaves_before_a_long_answer(
    sim: Simulator, dial: Dial, raw_post: RawPost, eventually: Eventually
) -> None:
    """A client that leaves while it is being answered harms nobody."""
    reader, writer = await dial()
    writer.write(raw_post(*map(str, range(2_500))))
    await answer(reader)
    writer.write(b"GET /_sim/events HTTP/1.1\r\nHost: s\r\n\r\n" * 20)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()
    await eventually(lambda: sim.connections == 0)
    again, other = await dial()
    other.write(raw_post("m"))
    assert await answer(again) == (200, SUCCESS)


async def test_short_poll_on_http_1_0(dial: Dial, raw_post: RawPost) -> None:
    """An answer in pieces reaches a client that knows no chunks."""
    reader, writer = await dial()
    writer.write(b"GET /_sim/events HTTP/1.0\r\n\r\n")
    assert (await reader.read()).endswith(b"\r\n\r\n[]")
