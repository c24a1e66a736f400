"""Fire hostile requests at a gateway over many connections, and keep what it answers."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import orjson

from support.hostile import Hostility, Shot

PATIENCE_S = 8.0
"""Seconds for an answer, or for the end of a connection: less than any of the gateway's own limits."""
_EMPTY = {204, 304}


@dataclass
class Seen:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    """By status; 0 where the connection ended without an answer."""
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What may not happen, with the request's beginning."""

    @property
    def count(self) -> int:
        """How many requests."""
        return self.statuses.total()


class Gun:
    """One connection at a time; a new one after each that the gateway ends, or that is out of step."""

    def __init__(self, port: int, seen: Seen, seed: int) -> None:
        self._port = port
        self._seen = seen
        # Other addresses of this machine, so that there are ports enough for all connections.
        self._from = f"127.0.{random.Random(seed).randrange(1, 250)}.{random.Random(-seed).randrange(1, 250)}"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def fire(self, shot: Shot) -> None:
        """Send one request, and read its answer."""
        begun = time.perf_counter()
        status = 0
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, closes = await self._exchange(shot)
        except TimeoutError:
            closes = True
            self._complain("no answer", shot)
        except (ConnectionError, asyncio.IncompleteReadError):
            closes = True
            if shot.whole:
                self._complain("connection ended without an answer", shot)
        if status >= 500:
            self._complain(f"answered {status}", shot)
        self._seen.statuses[status] += 1
        self._seen.slowest_s = max(self._seen.slowest_s, time.perf_counter() - begun)
        if closes or not shot.whole:
            self.close()

    async def _exchange(self, shot: Shot) -> tuple[int, bool]:
        if self._writer is None or self._reader is None:
            local = (self._from, 0)
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=local)
        self._writer.write(shot.raw)
        if not shot.whole:
            self._writer.write_eof()
        status, head = 100, b""
        while status == 100:
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            status = int(head[9:12])
        body = b""
        if not shot.head and status not in _EMPTY:
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = await self._reader.readexactly(length)
            if b"application/json" in head:
                orjson.loads(body)
            elif not body.startswith(b"# HELP"):
                self._complain("an answer that is no JSON", shot)
        return status, b"connection: close" in head

    def _complain(self, what: str, shot: Shot) -> None:
        self._seen.wrong.append(f"{what}: {shot.raw[:300]!r} … {len(shot.raw)} bytes")

    def close(self) -> None:
        """End the connection, at once."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.transport.abort()
        self._reader = self._writer = None


async def fire(port: int, hostility: Hostility, count: int, *, guns: int = 16) -> Seen:
    """Send so many requests, and return what came back."""
    seen = Seen()
    shots = (hostility.shot() for _ in range(count))

    async def shoot(shots: Iterator[Shot], number: int) -> None:
        gun = Gun(port, seen, number)
        for shot in shots:
            await gun.fire(shot)
        gun.close()

    await asyncio.gather(*(shoot(shots, number) for number in range(guns)))
    return seen
