"""Live: one look at Redis a tick, told to everyone who watches.

However many look, Redis is read once. A watcher has room for one message, the newest; who does not take what is
written within `PATIENCE_S` is dropped, and comes back by itself when it can.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

BEAT_S: Final = 15.0
"""Seconds after which a silent stream says a comment, so that proxies keep it and the dead are noticed."""
PATIENCE_S: Final = 10.0
"""Seconds in which a client has to take what is written."""
LIFE_S: Final = 3600.0
"""Seconds after which a stream ends; browsers open another one, and are asked again who they are."""
WATCHERS: Final = 500
"""Streams at the same time; each costs a socket and some 100 kB of buffers at most."""


class CrowdedError(Exception):
    """There are as many watchers as there may be."""


class Watcher:
    """One stream's place for the newest message."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._message = b""

    def put(self, message: bytes) -> None:
        """Leave a message, in the place of one that was not taken yet."""
        self._message = message
        self._news.set()

    async def take(self) -> bytes:
        """Wait for a message."""
        await self._news.wait()
        self._news.clear()
        return self._message


class Hub:
    """Who watches."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self.watched = asyncio.Event()
        """Set while somebody does."""
        self.highest = 0
        """How many there were at most."""

    def __len__(self) -> int:
        return len(self._watchers)

    @property
    def full(self) -> bool:
        """Whether there is no place for another one."""
        return len(self._watchers) >= WATCHERS

    @contextmanager
    def watcher(self) -> Iterator[Watcher]:
        """A place among the watchers for as long as the context lasts.

        Raises:
            CrowdedError: there is none.
        """
        if self.full:
            raise CrowdedError
        one = Watcher()
        self._watchers.add(one)
        self.highest = max(self.highest, len(self._watchers))
        self.watched.set()
        try:
            yield one
        finally:
            self._watchers.discard(one)
            if not self._watchers:
                self.watched.clear()

    def tell(self, message: bytes) -> None:
        """Give a message to everyone."""
        for watcher in self._watchers:
            watcher.put(message)


class Seats:
    """How many may do something at the same time that costs each time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    @property
    def full(self) -> bool:
        """Whether none is left."""
        return self.taken >= self.most

    @contextmanager
    def seat(self) -> Iterator[None]:
        """One of them, for as long as the context lasts.

        Raises:
            CrowdedError: all are taken.
        """
        if self.full:
            raise CrowdedError
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def message(event: str, data: bytes, id: str = "") -> bytes:
    """One server-sent event; `data` may have several lines."""
    head = f"event: {event}\n" + (f"id: {id}\n" if id else "")
    return head.encode() + b"".join(b"data: " + line + b"\n" for line in data.splitlines() or [b""]) + b"\n"


class EventStream(Response):
    """Server-sent events from a generator of `message`s, until it ends, the client goes or the console stops.

    Args:
        messages: what to send, as it comes.
        stopping: set when the console stops.
        beat_s: seconds of silence after which a comment goes out.
        patience_s: seconds in which the client has to take what is written, or it is dropped.
        life_s: seconds after which the stream ends.
        place: what is held until the stream ends, such as a seat that was taken before.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        messages: AsyncGenerator[bytes, None],
        stopping: asyncio.Event,
        *,
        beat_s: float = BEAT_S,
        patience_s: float = PATIENCE_S,
        life_s: float = LIFE_S,
        place: AbstractContextManager[object] | None = None,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["Content-Length"]
        self._messages = messages
        self._stopping = stopping
        self._place = place or nullcontext()
        self._beat_s, self._patience_s, self._life_s = beat_s, patience_s, life_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until one of the ends comes."""
        with self._place:
            await self._run(receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        ends = [
            asyncio.ensure_future(work)
            for work in (self._gone(receive), self._stopping.wait(), self._send_all(send), asyncio.sleep(self._life_s))
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ends:
                one.cancel()
            results = await asyncio.gather(*ends, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (OSError, TimeoutError)):
                raise result
        # A client that takes nothing any more is not to be waited for: the server closes it.
        if not any(isinstance(result, (OSError, TimeoutError)) for result in results):
            async with asyncio.timeout(self._patience_s):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _gone(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # Something at once, so that whoever waits for the answer's beginning has it.
        await self._write(send, b"retry: 2000\n\n")
        waiting: asyncio.Future[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._messages))
                done, _ = await asyncio.wait({waiting}, timeout=self._beat_s)
                if not done:
                    await self._write(send, b": still here\n\n")
                    continue
                try:
                    await self._write(send, waiting.result())
                except StopAsyncIteration:
                    return
                waiting = None
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            # Its place among the watchers is given back now, not when somebody collects it.
            await self._messages.aclose()

    async def _write(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._patience_s):
            await send({"type": "http.response.body", "body": body, "more_body": True})
