"""The bounded buffer between the bot's calls and the flusher: many put in, one takes out."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from pombo.producer.options import Options
from pombo.producer.receipts import Receipt
from pombo.shared.batches import MAX_EVENTS, key_hash
from pombo.shared.clock import Clock
from pombo.shared.prepared import Prepared

_NOBODY = math.inf


class Pending(Receipt):
    """One event that has no outcome yet: a receipt that still holds what it is for.

    `at` is the monotonic time at which the buffer took it. One object for both: a busy bot has thousands, and Python's
    garbage collector looks at each of them again and again.
    """

    __slots__ = ("at", "body", "ordering_key", "type")

    def __init__(self, event: Prepared) -> None:
        self.message_id, self.type, self.ordering_key, body = event
        self._outcome = None
        self._watchers = ()
        # A copy: orjson leaves its bytes in the 4 KB that it began with, and thousands of events wait here.
        self.body = b"%b" % body
        self.at = 0.0

    @property
    def hash(self) -> int:
        """The hash of the ordering key, from which the partition is computed."""
        return key_hash(self.ordering_key)


class Offer(Enum):
    """What the buffer answers to an event."""

    TAKEN = "taken"
    FULL = "full"
    CLOSED = "closed"


class Buffer:
    """Hold the events that have no outcome yet, within the bounds of the options.

    Bounds count an event until its outcome is known, not until it is taken out. `wake` is called when the
    flusher, which told in `due_in` what it waits for, has reason to look again.
    """

    def __init__(self, options: Options, clock: Clock, wake: Callable[[], None]) -> None:
        self._linger_s = options.linger_s
        self._most_events, self._most_bytes = options.buffer_events, options.buffer_bytes
        self._now = clock.monotonic
        self._wake = wake
        # Reentrant: a signal handler may track an event while its thread is inside.
        self._lock = threading.RLock()
        self._queue: deque[Pending] = deque()
        self._wake_at: float = 1
        self._waiters: list[Callable[[], None]] = []
        self._hurry = False
        self._last: Receipt | None = None
        self.closed = False
        self.events = 0
        self.bytes = 0

    def offer(self, pending: Pending, room: Callable[[], None] | None = None) -> Offer:
        """Put an event in; if there is no room, call `room` (once) when there may be some."""
        size = len(pending.body)
        with self._lock:
            if self.closed:
                return Offer.CLOSED
            if self.events >= self._most_events or self.bytes + size > self._most_bytes:
                if room is not None:
                    self._waiters.append(room)
                return Offer.FULL
            self.events += 1
            self.bytes += size
            pending.at = self._now()
            self._last = pending
            self._queue.append(pending)
            wake = len(self._queue) >= self._wake_at
            if wake:
                self._wake_at = _NOBODY
        if wake:
            self._wake()
        return Offer.TAKEN

    def offer_all(self, events: Sequence[Pending]) -> Offer:
        """Put several events in, in their order, or none of them; for one event after the other, see `offer`."""
        size = sum(len(pending.body) for pending in events)
        with self._lock:
            if self.closed:
                return Offer.CLOSED
            full = self.events + len(events) > self._most_events
            if full or self.bytes + size > self._most_bytes:
                return Offer.FULL
            self.events += len(events)
            self.bytes += size
            now = self._now()
            for pending in events:
                pending.at = now
            if events:
                self._last = events[-1]
            self._queue.extend(events)
            wake = len(self._queue) >= self._wake_at
            if wake:
                self._wake_at = _NOBODY
        if wake:
            self._wake()
        return Offer.TAKEN

    def due_in(self) -> float | None:
        """Seconds until a flush is due: 0 now, None nothing to flush; note that the flusher waits so long."""
        with self._lock:
            if not self._queue:
                self._hurry = self.closed
                self._wake_at = 1
                return None
            wait = self._queue[0].at + self._linger_s - self._now()
            if wait <= 0 or self._hurry or len(self._queue) >= MAX_EVENTS:
                self._wake_at = _NOBODY
                return 0
            self._wake_at = MAX_EVENTS
            return wait

    def rearm(self) -> None:
        """Have the next event wake the flusher, which could not be started."""
        self._wake_at = 1

    def take(self, most: int, into: list[Pending]) -> None:
        """Move up to `most` events, oldest first; at no moment is one of them in neither place (see fork)."""
        for _ in range(min(most, len(self._queue))):
            into.append(self._queue[0])
            self._queue.popleft()

    def release(self, done: Iterable[Pending]) -> None:
        """Give back the room of events that have their outcome."""
        sizes = [len(pending.body) for pending in done]
        with self._lock:
            self.events -= len(sizes)
            self.bytes -= sum(sizes)
            waiters, self._waiters = self._waiters, []
        for room in waiters:
            room()

    def hurry(self) -> Receipt | None:
        """Flush what is in the buffer without lingering; return the receipt of the newest event.

        Receipts are settled in the order of acceptance, so all others are settled when that one is.
        """
        with self._lock:
            self._hurry = True
            last = self._last
        self._wake()
        return last

    def close(self) -> None:
        """Take no more events; those inside go out without lingering, those who wait for room are told."""
        with self._lock:
            self.closed = True
            waiters, self._waiters = self._waiters, []
        for room in waiters:
            room()
        self.hurry()
