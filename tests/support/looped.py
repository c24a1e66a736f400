"""An `AsyncProducer` in an event loop of its own, called from a thread as a `Producer` is."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any, Self

from pombo.producer import AsyncProducer, Receipt
from pombo.producer.receipts import Outcome

CLOSE_S = 50.0


class Told:
    """What an awaited call will return, asked as a receipt is."""

    def __init__(self, message_id: str, call: "Future[Receipt]") -> None:
        self.message_id = message_id
        self._call = call

    @property
    def outcome(self) -> Outcome | None:
        """As `Receipt.outcome`."""
        return self._call.result().outcome if self._call.done() else None

    def wait(self, timeout: float | None = None) -> bool:
        """As `Receipt.wait`."""
        return bool(wait([self._call], timeout).done)

    def watch(self, settled: Callable[[], None]) -> None:
        """As `Receipt.watch`."""
        self._call.add_done_callback(lambda _: settled())


class Looped:
    """Run the loop in a thread until the context ends; calls are made in the order in which they come."""

    def __init__(self, source: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loop")
        self._producer = AsyncProducer(source, **options)

    def track(self, user_id: str, event: str, properties: dict[str, Any] | None = None, *, message_id: str) -> Told:
        """Await `AsyncProducer.track` in the loop."""
        call = self._producer.track(user_id, event, properties, message_id=message_id)
        return Told(message_id, asyncio.run_coroutine_threadsafe(call, self._loop))

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._producer.__aenter__(), self._loop).result(CLOSE_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._producer.close(), self._loop).result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
