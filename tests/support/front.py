"""A front of Segment for end-to-end tests: an address before the simulator, with bad manners on the wire."""

import asyncio
import socket
import ssl
import struct
import threading
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

_LINGER_ZERO = struct.pack("ii", 1, 0)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NOT_HTTP = (
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    b"<html>a captive portal</html>\r\n\r\n",
    b"HTTP/1.1 2000 Fine\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * (1 << 18),
    b"",
)
"""What is no answer by HTTP; the last one only hangs up."""
GARBLED = (
    _HEAD + b"Content-Length: 4096\r\n\r\n" + b'{"succ',
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + b'{"succ',
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    _HEAD + b"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\nno gzip here",
    _HEAD + b"Content-Length: 9\r\n\r\n\xff\xfe\x00false\x80",
    _HEAD + b"Content-Length: 9\r\n\r\n" + b'"success"',
    b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=\xfe; expires=never\r\nX-Thing: \xe9\xff\r\nContent-Length: 0\r\n\r\n",
)
"""Answers that say 200, and then nonsense."""


@dataclass(eq=False)
class Call:
    """One request on its way: its raw bytes, the ids that it carries, and what became of it."""

    front: "Front"
    method: str
    raw: bytes
    ids: tuple[str, ...]
    client: asyncio.StreamWriter
    gone: Callable[[], bool]
    late: bool = False
    """Handed on although nobody waited for it any more."""
    answered: bool = False
    """Whether its sender has read that it was accepted, as far as that was up to us."""

    async def forward(self) -> bytes:
        """Hand it on, and return the whole answer; nothing when the simulator hung up."""
        self.late = self.gone()
        self.front.handed_on.append(self)
        reader, writer = await asyncio.open_connection(*self.front.there)
        try:
            writer.write(self.raw)
            return await _read_message(reader, bodiless=self.method == "HEAD")
        except (OSError, asyncio.IncompleteReadError):
            return b""
        finally:
            writer.transport.abort()

    async def write(self, answer: bytes, *, answers: bool = False) -> None:
        """Send bytes back; `answers`: they say what Segment said, or at least its status."""
        # Looked at before they leave: whoever has read them may ask at once, and may hang up.
        self.answered = answers and not self.gone()
        self.client.write(answer)
        try:
            await self.client.drain()
        except OSError:
            self.answered = False

    def hang_up(self) -> None:
        """Reset the connection."""
        self.client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self.client.transport.abort()

    def close(self) -> None:
        """End the connection after what was written."""
        self.client.close()


Manner = Callable[[Call], Awaitable[None]]


async def honest(call: Call) -> None:
    """Hand request and answer on."""
    answer = await call.forward()
    await call.front.road.wait()
    if answer:
        await call.write(answer, answers=True)
    else:
        call.hang_up()


def not_http(*, accepting: bool) -> Manner:
    """Answer with anything but HTTP, before or after Segment has accepted the request."""
    words = cycle(NOT_HTTP)

    async def manner(call: Call) -> None:
        if accepting:
            await call.forward()
        await call.write(next(words))
        call.close()

    return manner


def garbled() -> Manner:
    """Have Segment accept it, and answer 200 with a body that is no answer."""
    words = cycle(GARBLED)

    async def manner(call: Call) -> None:
        await call.forward()
        await call.write(next(words), answers=True)
        call.close()

    return manner


async def cut_short(call: Call) -> None:
    """Have Segment accept it, and hang up in the middle of the answer's head."""
    answer = await call.forward()
    await call.write(answer[:20])
    call.close()


async def silent(call: Call) -> None:
    """Have Segment accept it, and never say so."""
    await call.forward()
    await asyncio.Event().wait()


@dataclass(eq=False)
class Front:
    """Stand before the simulator, in a thread, until the context ends.

    `manner` says what is done with each request from now on. `hush` loses nothing and hands nothing on: whoever asks
    hears nothing, as when packets are dropped, and `speak` brings late what was asked meanwhile.
    """

    simulator: str
    tls: ssl.SSLContext | None = None
    handed_on: list[Call] = field(default_factory=list)
    manner: Manner = honest
    _lines: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> Self:
        parts = urlsplit(self.simulator)
        self.there = (str(parts.hostname), int(parts.port or 80))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="front")
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        self.port = port
        self.url = f"https://localhost:{port}" if self.tls else f"http://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hush(self) -> None:
        """Be behind a line that drops every packet."""
        self._loop.call_soon_threadsafe(self.road.clear)

    def speak(self) -> None:
        """Have the line back, and what was sent into it."""
        self._loop.call_soon_threadsafe(self.road.set)

    def hang_up(self) -> None:
        """End all connections: those that come next meet the certificate of now."""

        def end() -> None:
            for line in self._lines:
                line.cancel()

        self._loop.call_soon_threadsafe(end)

    def explained(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The simulator's requests, with an `action` for those whose answer was lost here, or that came late."""
        calls: dict[tuple[str, ...], Iterator[Call]] = {}
        by_ids: dict[tuple[str, ...], list[Call]] = defaultdict(list)
        for call in self.handed_on:
            by_ids[call.ids].append(call)
        marked = []
        for row in rows:
            ids = tuple(row["message_ids"])
            found = next(calls.setdefault(ids, iter(by_ids[ids])), None)
            cause = None if found is None or found.answered else "late" if found.late else "lost"
            marked.append({**row, "action": row["action"] or cause})
        return marked

    async def _open(self) -> int:
        self.road = asyncio.Event()
        self.road.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 20)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # Aborted transports close in the loop's next round.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # One side is gone, or the front ends; asyncio would complain of either.
        finally:
            self._lines.discard(line)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await self.road.wait()
            raw = await _read_message(reader)
            await self.road.wait()
            method = raw.partition(b" ")[0].decode()
            call = Call(self, method, raw, _ids(raw), writer, lambda: reader.at_eof() or writer.is_closing())
            await self.manner(call)
        with suppress(OSError):
            await writer.wait_closed()


async def _read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> bytes:
    """A request, or an answer, with as much body as its Content-Length says."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + (b"" if bodiless else await reader.readexactly(length))


def _ids(raw: bytes) -> tuple[str, ...]:
    """The messageIds of a request of pombo's."""
    body = raw.partition(b"\r\n\r\n")[2]
    if not body:
        return ()
    events = orjson.loads(zlib.decompress(body, 16 + zlib.MAX_WBITS))["batch"]
    return tuple(event["messageId"] for event in events)
