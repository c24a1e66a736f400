"""A core's way into the spool: when its events go there, and in which steps."""

import math
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pombo.producer.buffer import Pending
from pombo.producer.flush import Flush
from pombo.producer.options import Options
from pombo.producer.spooled import Eventlike, Holding, Shelf
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError

RETRY_S = 0.1
"""Seconds between two attempts at a spool that took nothing."""
LEAST_WAIT_S = 0.05
"""Seconds that the spool gets even when the budget is used up: it is the last resort."""
RESCUE_S = 1.0
"""Seconds that it gets when the core ends."""

T = TypeVar("T")


class Once(Generic[T]):
    """A piece of work that is done once, whoever calls it how often; all get its result.

    A core whose driver was cancelled in the midst of it so learns what came of it.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._result: T | None = None
        self._error: Exception | None = None
        self._done = False

    def __call__(self) -> T:
        """Do the work, or wait for who does, and return its result or raise its error."""
        with self._lock:
            if not self._done:
                self._run()
        if self._error is not None:
            raise self._error
        result: T = self._result  # type: ignore[assignment]
        return result

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:
            self._error = error
        self._done = True


class Overflow:
    """Decide for one producer; without a spool nothing ever goes there."""

    def __init__(self, shelf: Shelf | None, options: Options, clock: Clock) -> None:
        self._shelf = shelf
        self._options = options
        self._clock = clock
        self._failed_at = -math.inf
        self.error: SpoolError | None = None
        """Why the spool took nothing the last time."""
        self.work: Once[int] | None = None
        """What is being put into the spool."""

    @property
    def there(self) -> bool:
        """Whether there is a spool."""
        return self._shelf is not None

    def holding(self) -> Holding | None:
        """What the spool holds of the source: later events queue behind it."""
        return None if self._shelf is None else self._shelf.holding(self._options.source)

    def due_in(self, oldest: Pending) -> float:
        """Seconds until events that Redis does not take go to the spool: half of the oldest one's budget."""
        if self._shelf is None:
            return math.inf
        due = max(oldest.at + self._options.budget_s / 2, self._failed_at + RETRY_S)
        return due - self._clock.monotonic()

    def direct_s(self, oldest: Pending) -> float:
        """Seconds that one command to Redis may take, so that the spool gets its share of the budget."""
        budget = self._options.budget_s
        return math.inf if self._shelf is None else max(self.due_in(oldest), budget / 10)

    def put(self, taken: Sequence[Pending], flush: Flush | None, least_s: float = LEAST_WAIT_S) -> Once[int]:
        """The work that spools the events, those of a flush first, under its token; it returns how many were kept.

        It waits for others for what is left of the oldest event's budget, and `least_s` at least.
        """
        shelf, options = self._shelf, self._options
        assert shelf is not None
        left = taken[0].at + options.budget_s - self._clock.monotonic() if taken else 0.0
        wait_s = max(left, least_s)
        events: list[Eventlike] = list(taken)
        sent, given_up = None, 0
        if flush is not None:
            # Also those of its events that were given up as unconfirmed: they may arrive, and share its token.
            sent, given_up = flush, len(flush.events) - flush.count
            events = [*flush.events, *taken[flush.count :]]

        def work() -> int:
            kept = shelf.put(
                options.source,
                events,
                limit=options.spool_bytes,
                wait_s=wait_s,
                sent=None if sent is None else sent.sent,
                sent_events=0 if sent is None else len(sent.events),
            )
            return kept - given_up

        self.work = Once(work)
        return self.work

    def succeeded(self, why: str) -> None:
        """Note that the spool took events, and why they went there."""
        self.work = self.error = None
        if self._shelf is not None:
            self._shelf.tell(self._options.source, why)

    def failed(self, error: SpoolError) -> None:
        """Note that the spool took nothing."""
        self.work = None
        self.error = error
        self._failed_at = self._clock.monotonic()
