"""The producer for threads."""

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pombo.producer import exits
from pombo.producer.buffer import Buffer, Offer, Pending
from pombo.producer.calls import Calls, Event
from pombo.producer.intake import Intake
from pombo.producer.links import Link
from pombo.producer.metrics import Metrics
from pombo.producer.options import Options, WhenFull
from pombo.producer.outbox import Outbox
from pombo.producer.parts import STUMBLE_PAUSE_S, STUMBLED, Parts
from pombo.producer.receipts import Receipt
from pombo.producer.rejections import OnRejected, logger
from pombo.producer.steps import WEATHER, Disk, Sleep, Step, advance
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError

if TYPE_CHECKING:
    from pombo.shared.settings import Settings

_FORKED = "the process forked; the parent still sends the event, and only its receipt tells the outcome"


class Producer(Calls[Receipt]):
    """Enqueue events from any thread; each call returns a receipt at once.

    1. A call checks the event, buffers it and returns. It never raises for data or weather: that is in the
       receipt.
    2. A daemon thread, started by the first event, writes what gathered: one flush under way at a time.
    3. The receipt is settled within `budget_s` of the event's entry into the buffer.
    4. `close`, the end of a `with` block or the interpreter's exit sends what is left, within the budgets. A
       killed process loses what was neither accepted nor spooled.

    With `POMBO_SPOOL_DIR` set, events that Redis does not take for half of their budget go to the disk instead, and
    read spooled; so do all later ones of the source until a thread of any process that uses the folder has brought
    them to Redis. The folder belongs to one Redis, and outlives its processes.

    After a fork the parent keeps what was buffered; in the child those receipts read `unconfirmed`, and the
    child's own events go through a thread, a session and a connection of its own. Under `POMBO_DISABLED=1`
    sound events read accepted and nothing is written.

    `on_rejected(rejected, event)` is called for every rejection, in the thread that finds it; keep it short,
    as the flusher waits for it. `source` is the source's name; `redis_url` overrides `POMBO_REDIS_URL`; the
    other arguments are described in `Options`.

    Raises:
        ConfigurationError: an argument or a setting cannot be used.
    """

    def __init__(
        self,
        source: str = "default",
        *,
        redis_url: str | None = None,
        settings: "Settings | None" = None,
        budget_s: float = 1.0,
        linger_s: float = 0.002,
        buffer_events: int = 10_000,
        buffer_bytes: int = 32 << 20,
        when_full: WhenFull = "reject",
        block_timeout_s: float | None = None,
        spool_bytes: int = 1 << 30,
        on_rejected: OnRejected | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._options = Options(
            source, budget_s, linger_s, buffer_events, buffer_bytes, when_full, block_timeout_s, spool_bytes
        )
        self._parts = Parts(
            self._options,
            settings=settings,
            url=redis_url,
            on_rejected=on_rejected,
            clock=clock,
            metrics=metrics,
        )
        self._intake: Intake = self._parts.intake
        self._crowd = buffer_events // 2
        self._begin()
        exits.watch(self)
        self._parts.start_draining()

    def enqueue(self, event: Event, ordering_key: str | None = None, *, strict: bool = True) -> Receipt:
        """Take a ready event; unless `strict`, keys that Segment does not know are handed on."""
        pending = self._intake.admit(event, ordering_key, strict)
        if not isinstance(pending, Pending):
            return pending
        offer = self._buffer.offer(pending)
        if offer is Offer.FULL and self._options.blocks and not self._is_flusher():
            offer = self._wait_for_room(pending)
        if offer is not Offer.TAKEN:
            return self._intake.turn_away(pending, offer)
        if self._buffer.events > self._crowd:
            time.sleep(0)  # Let the flusher have Python's lock, for which it else waits 5 ms at each step.
        return pending

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is buffered now, wait at most `timeout` seconds, and tell whether all is settled."""
        last = self._buffer.hurry()
        if last is None or last.done:
            return True
        if self._thread is None or self._is_flusher():
            return False
        return last.wait(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Send what is buffered, take no more, and end; by default as long as the budgets last.

        Events without an outcome after `timeout` seconds keep their budget while the process lives.
        """
        self._buffer.close()
        if self._is_flusher():
            return
        with self._starting:
            thread = self._thread
            if (thread is None or not thread.is_alive()) and self._buffer.events:
                self._work()  # Too late in the interpreter's life for a thread.
        if thread is not None:
            thread.join(self._parts.closing_s if timeout is None else timeout)
        self._parts.rejections.close()
        self._parts.rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def at_exit(self) -> None:
        """Send what is left, within the budgets; called by the interpreter's exit."""
        self.close()
        if self._buffer.events:
            logger.warning("exit before %d events of source %s were written", self._buffer.events, self._options.source)

    def after_fork(self) -> None:
        """Leave the parent's events to the parent and begin anew; called in a forked child."""
        outbox, closed = self._outbox, self._buffer.closed
        self._begin()
        self._buffer.closed = closed
        outbox.disown(_FORKED)

    def _begin(self) -> None:
        """Make what belongs to this process alone."""
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._link = Link(self._parts.url)
        self._buffer: Buffer = self._parts.buffer(self._wake)
        self._outbox: Outbox = self._parts.outbox(self._buffer)

    def _wake(self) -> None:
        thread = self._thread
        if (thread is None or not thread.is_alive()) and self._buffer.events:
            self._start()
        self._tokens.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._buffer.closed or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._work, name=f"pombo-{self._options.source}", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # The interpreter ends, or the system has no thread left: the next event tries.
                self._thread = None
                self._buffer.rearm()
                return
        exits.watch_child(self)

    def _is_flusher(self) -> bool:
        return self._thread is threading.current_thread()

    def _wait_for_room(self, pending: Pending) -> Offer:
        now = self._parts.clock.monotonic
        ends = now() + self._options.patience_s
        while True:
            room = threading.Event()
            offer = self._buffer.offer(pending, room.set)
            if offer is not Offer.FULL or not room.wait(max(ends - now(), 0.0)):
                return offer

    def _work(self) -> None:
        outbox, link = self._outbox, self._link
        while True:
            try:
                self._drive(outbox, link)
                break
            except Exception:
                logger.exception(STUMBLED, self._options.source)
                outbox.give_up("unavailable", STUMBLED % self._options.source)
                self._pause(STUMBLE_PAUSE_S)
        link.close()

    def _drive(self, outbox: Outbox, link: Link) -> None:
        """Do what the core asks, until it ends; or until `on_rejected` forked and this is the child."""
        flow = outbox.run()
        step = advance(flow)
        while step is not None and self._outbox is outbox:
            step = advance(flow, *self._do(step, link))

    def _do(self, step: Step, link: Link) -> tuple[Any, Exception | None]:
        """Carry out one step; return the reply and what went wrong."""
        if isinstance(step, Sleep):
            self._pause(step.seconds)
            return None, None
        try:
            return (step.call() if isinstance(step, Disk) else link.ask(step)), None
        except (*WEATHER, SpoolError) as error:
            return None, error

    def _pause(self, seconds: float | None) -> None:
        with suppress(Empty):
            self._tokens.get(timeout=seconds)
