"""The room of a process: how many bytes of requests it has in hand, and who has to go when there is none."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pombo.gateway.answers import Refusal

PATIENCE_S = 1.0
"""Seconds that a body may take to come before it has to make room for others."""


class Room:
    """Count bytes against a limit; shared by all requests of a process."""

    def __init__(self, limit: int, wait_s: Callable[[], int], now: Callable[[], float]) -> None:
        self.limit = limit
        self.used = 0
        self._wait_s = wait_s
        self._now = now
        self._reading: dict[Share, None] = {}
        """Those whose body is still coming, the oldest first."""

    @property
    def reading(self) -> int:
        """How many requests are still coming in."""
        return len(self._reading)

    def share(self) -> "Share":
        """A request's share, empty; a context manager that gives all of it back."""
        return Share(self)

    def take(self, share: "Share", size: int) -> None:
        """Count bytes of a request; if need be, cut off who has been sending its body for longest.

        Raises:
            Refusal: there is no room.
        """
        while self.used + size > self.limit and self._cut_oldest(share):
            pass
        if self.used + size > self.limit:
            raise Refusal(
                429,
                "overloaded",
                f"this gateway has {self.used:,} bytes of requests in hand and takes {self.limit:,} at most",
                retry_after_s=self._wait_s(),
            )
        self.used += size
        share.bytes += size

    def give(self, share: "Share") -> None:
        """Take back what a request has."""
        self.used -= share.bytes
        share.bytes = 0
        self._reading.pop(share, None)

    def begin(self, share: "Share") -> None:
        """Note that a body is coming."""
        share.since = self._now()
        self._reading[share] = None

    def end(self, share: "Share") -> None:
        """Note that it has come."""
        self._reading.pop(share, None)

    def _cut_oldest(self, but: "Share") -> bool:
        oldest = next(iter(self._reading), None)
        if oldest is None or oldest is but or self._now() - oldest.since < PATIENCE_S:
            return False
        self.give(oldest)
        oldest.cut()
        return True


class Share:
    """What one request has of the room."""

    __slots__ = ("_lost", "_room", "_scope", "bytes", "since")

    def __init__(self, room: Room) -> None:
        self._room = room
        self._scope: asyncio.Timeout | None = None
        self._lost = False
        self.bytes = 0
        self.since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.give(self)

    def take(self, size: int) -> None:
        """Count so many bytes more.

        Raises:
            Refusal: there is no room.
            TimeoutError: it had to make room for others.
        """
        if self._lost:
            raise TimeoutError
        self._room.take(self, size)

    def begin(self, scope: asyncio.Timeout) -> None:
        """Note that the body is coming, and the time limit by which its reader can be cut off."""
        self._scope = scope
        self._room.begin(self)

    def end(self) -> None:
        """Note that the body has come."""
        self._scope = None
        self._room.end(self)

    def cut(self) -> None:
        """End the reading."""
        self._lost = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0.0)
