"""The event loop of one simulated process: it runs only when the world says so, on the world's time."""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

_Loop: Any = asyncio.AbstractEventLoop


class SimLoop(_Loop):  # type: ignore[misc]  # a loop of files and sockets has far more, which nobody asks for here
    """As much of an event loop as asyncio's own parts need, and no clock, thread or socket of its own.

    A process that is killed is a loop that is never run again: no `finally` of its tasks runs, as at a kill -9. One
    that is frozen is not run for a while: all that became due meanwhile is late, as after a SIGSTOP.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.time = now
        self.crashes: list[dict[str, Any]] = []
        """What tasks raised that nobody looked at."""
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0

    # -- what the world does with it ------------------------------------------------------------------------------

    def next_at(self) -> float | None:
        """When something is due: now, at a timer's time, or never."""
        if self._ready:
            return self.time()
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run_due(self) -> None:
        """Run all that is due now, and what that makes due."""
        asyncio._set_running_loop(self)
        try:
            while self._gather():
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)

    def _gather(self) -> bool:
        now = self.time()
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        return bool(self._ready)

    # -- what asyncio asks of it ----------------------------------------------------------------------------------

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: it is skipped when its time comes."""

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.crashes.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
