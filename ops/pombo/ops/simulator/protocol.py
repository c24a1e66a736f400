"""HTTP/1.1 on bare streams, so that a reset is a reset and a hang is a hang."""

import asyncio
import socket
import struct
from email.utils import format_datetime
from http import HTTPStatus

from pombo.ops.simulator.edge import Edge, Turn
from pombo.ops.simulator.messages import Request, Response
from pombo.ops.simulator.steering import PREFIX, steer
from pombo.ops.simulator.switches import BODY_CAP

try:
    import h11
except ImportError as error:  # pragma: no cover - depends on the installation
    raise ImportError("the simulator needs h11; add it with: pip install 'pombo[all]'") from error

HEAD_LIMIT = 32 * 1024
"""Bytes of a request's line and headers; above it the answer is 431."""
READ_BYTES = 256 * 1024
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Connection:
    """Serve one client's connection, request after request, until either side ends it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, edge: Edge) -> None:
        self._reader = reader
        self._writer = writer
        self._edge = edge
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def serve(self) -> None:
        """Answer requests as they come; a client that goes away ends it quietly."""
        try:
            await self._converse()
            self._writer.close()
            await self._writer.wait_closed()
        except OSError:
            pass
        finally:
            self._writer.transport.abort()

    async def _converse(self) -> None:
        try:
            while await self._next():
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)

    async def _next(self) -> bool:
        """Serve one request; return whether the connection may serve another."""
        request = await self._request()
        if request is None:
            return False
        if request.path.startswith(PREFIX):
            await self._send(steer(self._edge, request), request.method)
        elif not await self._take(self._edge.begin(request)):
            return False
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _take(self, turn: Turn) -> bool:
        """Take one turn to its end; return False where the connection has come to its own."""
        if turn.delay_s:
            await self._edge.clock.sleep(turn.delay_s)
        if turn.action == "hang":
            return await self._hang(turn)
        if turn.action == "reset_before":
            return self._reset(turn)
        response = self._edge.answer(turn)
        if turn.action == "reset_after":
            return self._reset(turn)
        self._edge.finish(turn, response.status)
        await self._send(response, turn.request.method)
        return True

    async def _hang(self, turn: Turn) -> bool:
        """Say nothing until the client goes away."""
        try:
            while await self._reader.read(READ_BYTES):
                pass
        finally:
            self._edge.finish(turn, None)
        return False

    def _reset(self, turn: Turn) -> bool:
        """Close with unsent data thrown away, which makes the kernel send RST instead of FIN."""
        self._edge.finish(turn, None)
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._writer.transport.abort()
        return False

    async def _request(self) -> Request | None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        at, monotonic = self._edge.clock.now(), self._edge.clock.monotonic()
        body, wire_bytes = await self._body()
        return Request(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii"),
            headers={name.decode("ascii"): value.decode("latin-1") for name, value in head.headers},
            body=body,
            wire_bytes=wire_bytes,
            at=at,
            monotonic=monotonic,
        )

    async def _body(self) -> tuple[bytes, int]:
        """Read a body to its end; hold at most `BODY_CAP` bytes of it and count the rest."""
        pieces, total = bytearray(), 0
        while isinstance(event := await self._event(), h11.Data):
            total += len(event.data)
            pieces += event.data[: BODY_CAP - len(pieces)]
        return bytes(pieces), total

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._writer.write(self._http.send(go_on) or b"")
            self._http.receive_data(await self._reader.read(READ_BYTES))
        return event

    async def _send(self, response: Response, method: str = "GET") -> None:
        """Write a response, to HEAD without its body; between its pieces others have their turn."""
        head = h11.Response(status_code=response.status, headers=self._headers(response))
        out = self._http.send(head) or b""
        pieces = [response.body] if isinstance(response.body, bytes) else response.body
        for piece in pieces if method != "HEAD" else [b""]:
            self._writer.write(out + (self._http.send(h11.Data(data=piece)) or b""))
            await self._writer.drain()
            await asyncio.sleep(0)
            out = b""
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    def _headers(self, response: Response) -> list[tuple[str, str]]:
        headers = dict(response.headers)
        if "date" not in {name.lower() for name in headers}:
            headers["Date"] = format_datetime(self._edge.clock.now(), usegmt=True)
        if isinstance(response.body, bytes) and response.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(response.body))
        return list(headers.items())

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is no HTTP, if nothing of an answer has gone out yet."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f"{error}\n".encode()
            await self._send(Response(error.error_status_hint, body, {"Content-Type": "text/plain"}))
