"""In-memory producers for a bot's own tests: they check events as the real ones do and keep what they accept.

producer = FakeProducer()
bot = Bot(producer)
...
assert producer.events[0]["event"] == "Message Sent"
producer.reject("unavailable")      # what does the bot do when Redis is away?
producer.spool()                    # and when its events wait on the disk for Redis to come back?
"""

from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import orjson

from pombo.producer.buffer import Offer, Pending
from pombo.producer.calls import Calls, Event
from pombo.producer.intake import Intake
from pombo.producer.metrics import NoMetrics
from pombo.producer.options import Options
from pombo.producer.receipts import Accepted, Reason, Receipt, Rejected, Spooled
from pombo.producer.rejections import OnRejected, Rejections
from pombo.shared.clock import Clock, SystemClock


class _Memory:
    """What both fakes share: the checks, the events, and the orders to reject."""

    def __init__(
        self, source: str = "default", *, on_rejected: OnRejected | None = None, clock: Clock | None = None
    ) -> None:
        clock = clock or SystemClock()
        self.source = source
        self.events: list[dict[str, Any]] = []
        """The accepted events, complete, under Segment's names."""
        self.ordering_keys: list[str] = []
        """The ordering key of each accepted event."""
        self.rejected: list[Rejected] = []
        """Every rejection, in order."""
        self.closed = False
        self._order: tuple[Reason, str, float] | None = None
        self._outcome: type[Accepted | Spooled] = Accepted
        self._on_rejected = on_rejected
        self._rejections = Rejections(source, self._note, NoMetrics(), clock)
        self._intake = Intake(Options(source), self._rejections, clock, disabled=False)

    def reject(self, reason: Reason, message: str = "as the test told it", *, times: int | None = None) -> None:
        """Reject the next `times` sound events, or all from now on."""
        self._order = (reason, message, float("inf") if times is None else times)

    def spool(self) -> None:
        """Take events from now on as a producer does whose spool has to: they are kept, and read spooled."""
        self._order = None
        self._outcome = Spooled

    def accept(self) -> None:
        """Take events again."""
        self._order = None
        self._outcome = Accepted

    def _note(self, rejected: Rejected, event: Any) -> None:
        self.rejected.append(rejected)
        if self._on_rejected is not None:
            self._on_rejected(rejected, event)

    def _receive(self, event: Event, ordering_key: str | None, strict: bool) -> Receipt:
        pending = self._intake.admit(event, ordering_key, strict)
        if not isinstance(pending, Pending):
            return pending
        if self.closed:
            return self._intake.turn_away(pending, Offer.CLOSED)
        if self._order is not None and self._order[2] > 0:
            reason, message, times = self._order
            self._order = (reason, message, times - 1)
            rejected = Rejected(reason, message, None, pending.message_id)
            pending.settle(rejected)
            self._rejections.report(rejected, pending)
            return pending
        self.events.append(orjson.loads(pending.body))
        self.ordering_keys.append(pending.ordering_key)
        pending.settle(self._outcome)
        return pending


class FakeProducer(_Memory, Calls[Receipt]):
    """Stand in for `Producer`: every receipt is settled at once."""

    def enqueue(self, event: Event, ordering_key: str | None = None, *, strict: bool = True) -> Receipt:
        """Take a ready event into `events`, or reject it."""
        return self._receive(event, ordering_key, strict)

    def flush(self, timeout: float | None = None) -> bool:
        """Do nothing: all is settled."""
        return True

    def close(self, timeout: float | None = None) -> None:
        """Reject what comes later as closed."""
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FakeAsyncProducer(_Memory, Calls[Coroutine[Any, Any, Receipt]]):
    """Stand in for `AsyncProducer`."""

    async def enqueue(self, event: Event, ordering_key: str | None = None, *, strict: bool = True) -> Receipt:
        """Take a ready event into `events`, or reject it."""
        return self._receive(event, ordering_key, strict)

    async def flush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as the real one
        """Do nothing: all is settled."""
        return True

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as the real one
        """Reject what comes later as closed."""
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
