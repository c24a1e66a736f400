"""A road to Redis for end-to-end tests: a TCP address in front of its Unix socket, with weather of its own."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK = 1 << 18


@dataclass(eq=False)
class _Line:
    """One connection: whether its requests get to the server, and its replies back."""

    asks: bool
    answers: bool
    ends: Sequence[asyncio.StreamWriter]

    def hang_up(self) -> None:
        for end in self.ends:
            end.transport.abort()


class Road:
    """Forward connections to the server, in a thread, until the context ends.

    `delay_s` holds every reply back for so long, in order. `hush` makes half-open lines: nobody is told, nothing is
    closed, and what is said is lost; those lines stay dead, and new ones are dead too until `speak`.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = str(socket)
        self._loop = asyncio.new_event_loop()
        self._lines: set[_Line] = set()
        self._asks = self._answers = True
        self.delay_s = 0.0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="road", daemon=True)
        self._thread.start()
        port = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        self.url = f"redis://127.0.0.1:{port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hush(self, *, replies_only: bool = False) -> None:
        """Lose what is said from now on, both ways or the replies alone, and close nothing."""
        self._asks, self._answers = replies_only, False
        for line in list(self._lines):
            line.asks, line.answers = self._asks, False

    def speak(self) -> None:
        """Serve new lines again."""
        self._asks = self._answers = True

    async def _open(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        for line in list(self._lines):
            line.hang_up()
        # What is being written to a line that hangs up fails.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_unix_connection(self._socket)
        except OSError:
            to_client.transport.abort()
            return
        line = _Line(self._asks, self._answers, (to_client, to_server))
        self._lines.add(line)
        pumps = [
            asyncio.create_task(_pump(client, to_server, lambda: line.asks, lambda: 0.0)),
            asyncio.create_task(_pump(server, to_client, lambda: line.answers, lambda: self.delay_s)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        line.hang_up()
        self._lines.discard(line)
        await asyncio.gather(*pumps, to_client.wait_closed(), to_server.wait_closed(), return_exceptions=True)


async def _pump(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, open_: Callable[[], bool], delay_s: Callable[[], float]
) -> None:
    """Hand bytes on until either side ends; each chunk `delay_s` after it came, and none while it is not open."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    now = asyncio.get_running_loop().time

    async def write() -> None:
        while True:
            due, data = await waiting.get()
            if due > now():
                await asyncio.sleep(due - now())
            if not data:
                return
            if open_():
                sink.write(data)
                await sink.drain()

    writer = asyncio.create_task(write())
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            waiting.put_nowait((now() + delay_s(), data))
    waiting.put_nowait((now() + delay_s(), b""))
    await asyncio.gather(writer, return_exceptions=True)
