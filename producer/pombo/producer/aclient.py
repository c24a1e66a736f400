"""The producer for asyncio."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pombo.producer import exits
from pombo.producer.buffer import Buffer, Offer, Pending
from pombo.producer.calls import Calls, Event
from pombo.producer.intake import Intake
from pombo.producer.links import AsyncLink
from pombo.producer.metrics import Metrics
from pombo.producer.options import Options, WhenFull
from pombo.producer.outbox import Outbox
from pombo.producer.parts import CLOSE_SLACK_S, STUMBLE_PAUSE_S, STUMBLED, Parts
from pombo.producer.receipts import Accepted, Receipt
from pombo.producer.rejections import OnRejected, logger
from pombo.producer.steps import WEATHER, Disk, Sleep, Step, advance
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError
from pombo.shared.prepared import Prepared

if TYPE_CHECKING:
    from pombo.shared.settings import Settings

_FORKED = "the process forked; the parent still sends the event, and only its receipt tells the outcome"
_CANCELLED = "its event loop ended before the event was written; close the producer first"


class AsyncProducer(Calls[Coroutine[Any, Any, Receipt]]):
    """Enqueue events from one event loop; each call returns its receipt once the outcome is known.

    A call never raises for data or weather: read `receipt.outcome`, or `receipt.result()`, which raises. Many
    calls at once share a round trip, so gather them rather than awaiting one by one. Cancelling a call
    cancels only the waiting: an event that the buffer took is sent all the same.

    It belongs to the loop that first uses it, and to the next one when that has been closed (`asyncio.run`
    twice). Close it, or use `async with`: nothing can be sent after the loop's end. The arguments are those
    of `Producer`, and so is what happens in a forked child and under `POMBO_DISABLED=1`; `on_rejected` is a
    plain function and runs in the loop.

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
        self._inherited: list[object] = []
        self._begin()
        exits.watch(self)

    async def enqueue(self, event: Event, ordering_key: str | None = None, *, strict: bool = True) -> Receipt:
        """Take a ready event; unless `strict`, keys that Segment does not know are handed on."""
        pending = self._intake.admit(event, ordering_key, strict)
        if not isinstance(pending, Pending):
            return pending
        self._bind()
        offer = self._buffer.offer(pending)
        if offer is Offer.FULL and self._options.blocks:
            offer = await self._wait_for_room(pending)
        if offer is not Offer.TAKEN:
            return self._intake.turn_away(pending, offer)
        await _settled(pending)
        return pending

    async def enqueue_prepared(self, events: Sequence[Prepared]) -> list[Receipt]:
        """Take events that `prepare` made, all of them or none; return once the outcome of each is known.

        For many at once it is quicker than gathering calls of `enqueue`. A full buffer is never waited for.
        """
        if self._parts.disabled:
            return [Receipt(event.message_id, Accepted) for event in events]
        pendings = list(map(Pending, events))
        if not pendings:
            return []
        self._bind()
        offer = self._buffer.offer_all(pendings)
        if offer is not Offer.TAKEN:
            return [self._intake.turn_away(pending, offer) for pending in pendings]
        await _settled(pendings[-1])  # Receipts are settled in the order of acceptance.
        return [*pendings]

    @property
    def waiting_s(self) -> float:
        """Seconds for which the oldest event without an outcome has waited; 0 when there is none."""
        return self._outbox.waiting_s

    async def flush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - as `Producer.flush`
        """Send what is buffered now, wait at most `timeout` seconds, and tell whether all is settled."""
        last = self._buffer.hurry()
        if last is None or last.done:
            return True
        self._bind()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await _settled(last)
        return last.done

    async def close(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as `Producer.close`
        """Send what is buffered, take no more, and end; by default as long as the budgets last.

        Events without an outcome after `timeout` seconds are given up.
        """
        self._buffer.close()
        if self._buffer.events:
            self._bind()
        task = self._task
        if task is not None and self._loop is asyncio.get_running_loop():
            _, late = await asyncio.wait({task}, timeout=self._parts.closing_s if timeout is None else timeout)
            if late:
                task.cancel()
                await asyncio.wait({task})
        self._parts.rejections.close()
        self._parts.rest()

    async def __aenter__(self) -> Self:
        self._parts.start_draining()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def at_exit(self) -> None:
        """Spool, or log, what was not written; called by the interpreter's exit."""
        if self._loop is not None and self._loop.is_running():
            self._close_in(self._loop)
        elif self._buffer.events:
            self._outbox.rescue()
        if self._buffer.events:
            logger.warning(
                "exit before %d events of source %s were written; close the AsyncProducer in its event loop",
                self._buffer.events,
                self._options.source,
            )

    def _close_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close from another thread than that of the loop, which still works on the events."""
        closing = self.close()
        try:
            closed = asyncio.run_coroutine_threadsafe(closing, loop)
        except RuntimeError:  # It has just been closed.
            closing.close()
            return
        with suppress(TimeoutError):
            closed.result(self._parts.closing_s + CLOSE_SLACK_S)

    def after_fork(self) -> None:
        """Leave the parent's events to the parent and begin anew; called in a forked child."""
        # Kept, not closed: their end would take the parent's socket out of the selector that both share.
        self._inherited += [self._link, self._task, self._loop, self._disk]
        outbox, closed = self._outbox, self._buffer.closed
        self._begin()
        self._buffer.closed = closed
        outbox.disown(_FORKED)

    def _begin(self) -> None:
        """Make what belongs to this process and loop alone."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._token = asyncio.Event()
        self._link = AsyncLink(self._parts.url)
        self._disk: ThreadPoolExecutor | None = None
        self._buffer: Buffer = self._parts.buffer(self._token.set)
        self._outbox: Outbox = self._parts.outbox(self._buffer)

    def _bind(self) -> None:
        """Make sure that the flusher runs in the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is loop and self._task is not None and not self._task.done():
            return
        if self._loop is not None and self._loop is not loop:
            if not self._loop.is_closed():
                raise RuntimeError(
                    f"this AsyncProducer of source {self._options.source!r} belongs to another event loop, "
                    "which is still open; make one for each loop, or use Producer from threads"
                )
            closed = self._buffer.closed
            self._outbox.give_up("closed", _CANCELLED)
            self._begin()
            self._buffer.closed = closed
        self._parts.start_draining()
        self._loop = loop
        self._task = loop.create_task(self._work(), name=f"pombo-{self._options.source}")
        # Not in the task itself: one that is cancelled before its first step runs nothing.
        self._task.add_done_callback(partial(_give_up, self._outbox))

    async def _wait_for_room(self, pending: Pending) -> Offer:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._options.patience_s
        while True:
            room = asyncio.Event()
            offer = self._buffer.offer(pending, room.set)
            if offer is not Offer.FULL or not await _waited(room, ends - loop.time()):
                return offer

    async def _work(self) -> None:
        outbox, link = self._outbox, self._link
        try:
            while True:
                try:
                    await self._drive(outbox, link)
                    break
                except Exception:
                    logger.exception(STUMBLED, self._options.source)
                    outbox.give_up("unavailable", STUMBLED % self._options.source)
                    await asyncio.sleep(STUMBLE_PAUSE_S)
        finally:
            if self._outbox is outbox and self._disk is not None:
                self._disk.shutdown(wait=False)
                self._disk = None
            await link.close()

    async def _drive(self, outbox: Outbox, link: AsyncLink) -> None:
        """Do what the core asks, until it ends; or until a fork made this the child."""
        flow = outbox.run()
        step = advance(flow)
        while step is not None and self._outbox is outbox:
            step = advance(flow, *await self._do(step, link))

    async def _do(self, step: Step, link: AsyncLink) -> tuple[Any, Exception | None]:
        """Carry out one step; return the reply and what went wrong."""
        if isinstance(step, Sleep):
            await _waited(self._token, step.seconds)
            self._token.clear()
            return None, None
        try:
            return await (self._on_disk(step) if isinstance(step, Disk) else link.ask(step)), None
        except (*WEATHER, SpoolError) as error:
            return None, error

    async def _on_disk(self, step: Disk) -> Any:
        """Do it in a thread of its own, which no other work of the bot keeps busy."""
        if self._disk is None:
            self._disk = ThreadPoolExecutor(1, "pombo-disk")
        try:
            work = self._disk.submit(step.call)
        except RuntimeError:  # The interpreter ends, or the system has no thread left.
            return step.call()
        return await asyncio.wrap_future(work)


def _give_up(outbox: Outbox, task: asyncio.Task[None]) -> None:
    """Settle what a cancelled flusher left."""
    if task.cancelled():
        outbox.give_up("closed", _CANCELLED)


def _settled(receipt: Receipt) -> asyncio.Future[None]:
    """A future that ends with the receipt's outcome; cancelling it leaves the receipt alone."""
    future = asyncio.get_running_loop().create_future()
    receipt.watch(partial(_resolve, future))
    return future


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(None)


async def _waited(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait for an event at most `seconds`; tell whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
