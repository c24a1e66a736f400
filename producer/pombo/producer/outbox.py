"""The producer's core, without I/O: what to send when, and what each event's outcome is.

`Outbox.run` is a generator that yields steps (`Sleep`, `Ask`, `Disk`); a driver of threads or asyncio takes them and
sends the replies back, or throws what went wrong. All decisions are here, on the given clock.

One flush is under way at a time. The oldest events are `taken` out of the buffer; those of the flush are the
first of them. An event leaves by its outcome, in the order of acceptance:

* the append answers ok: accepted
* it answers full: `backlog_full`, at once or, when full means waiting, after the patience
* it cannot be sent, or the server refuses: tried again until the budget ends, then `unavailable`
* its answer stays out: the same bytes again until the budget ends, then `unconfirmed`
* there is a spool, and it cannot be sent, or its answer stays out, for half of the budget: spooled
* the spool holds events of the source: spooled, behind them
"""

import math
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from pombo.producer.announcements import Announcements
from pombo.producer.buffer import Buffer, Pending
from pombo.producer.directory import Directory
from pombo.producer.flush import MAX_BATCHES, Answer, Flush, append
from pombo.producer.metrics import Metrics
from pombo.producer.options import Options
from pombo.producer.overflow import RESCUE_S, RETRY_S, Overflow
from pombo.producer.receipts import Accepted, Reason, Rejected, Spooled
from pombo.producer.rejections import Rejections, logger
from pombo.producer.spooled import UNKNOWN_SOURCE, Holding, Shelf
from pombo.producer.steps import WEATHER, Disk, Flow, NotSentError, Sleep
from pombo.producer.tally import Tally
from pombo.producer.trouble import Trouble, backlog_full, no_ledger, unknown_source, unwritten
from pombo.shared.batches import MAX_EVENTS
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError, StoredVersionError
from pombo.shared.keys import Keys

if TYPE_CHECKING:
    from pombo.shared.sources import Source

SLACK_S = 0.02
"""Events this near to the end of their budget are given up together: no attempt fits into less."""
_INSTANT_S = 1e-6
BACKOFF_S = 0.01
BACKOFF_MAX_S = 0.25
FULL_RETRY_S = 0.05
"""Seconds between two looks whether a full backlog has room."""


class Outbox:
    """Decide for one source and one producer session; see the module for an event's life."""

    def __init__(
        self,
        options: Options,
        buffer: Buffer,
        *,
        keys: Keys,
        clock: Clock,
        metrics: Metrics,
        rejections: Rejections,
        where: Callable[[], str],
        spool: Shelf | None = None,
    ) -> None:
        self._options = options
        self._buffer = buffer
        self._keys = keys
        self._clock = clock
        self._metrics = metrics
        self._rejections = rejections
        self._where = where
        self._directory = Directory(keys, options.source, clock)
        self._session = secrets.token_hex(12)
        self._sequence = 0
        self._tally = Tally()
        self._taken: list[Pending] = []
        self._flush: Flush | None = None
        self._room = MAX_BATCHES * MAX_EVENTS
        self._tried = False
        self._retry_at = -math.inf
        self._trouble: Trouble | None = None
        self._failures = 0
        self._given_up: Flush | None = None
        """The last flush of the session, if all of it was given up in doubt."""
        self._left_behind = 0
        """How many of the oldest events may have come to an incarnation of the source that is no more."""
        self._announcements = Announcements(keys, clock)
        self._overflow = Overflow(spool, options, clock)

    def run(self) -> Flow[None]:
        """Bring every event of the buffer to its outcome; return when the buffer is closed and empty."""
        while True:
            if not self._taken:
                due = self._buffer.due_in()
                if due is None and self._buffer.closed:
                    return
                if due != 0:
                    yield Sleep(due)
                    continue
                self._take()
            spool_in = self._spool_in()
            wait = min(self._retry_at - self._clock.monotonic(), self._left(), spool_in)
            if wait > _INSTANT_S:
                yield Sleep(wait)
            elif spool_in <= _INSTANT_S:
                yield from self._spool()
            else:
                yield from self._attempt()
            if self._tried and self._trouble is not None:
                self._expire()

    @property
    def waiting_s(self) -> float:
        """Seconds for which the oldest event that a flush took has waited; 0 when there is none."""
        taken = self._taken
        return self._clock.monotonic() - taken[0].at if taken else 0.0

    def give_up(self, reason: Reason, message: str) -> None:
        """Settle all events that are left, without asking Redis; for a driver that must end or lost its way."""
        self._trouble = Trouble(reason, message)
        self._take()
        while self._taken:
            self.rescue()
            self._fail(len(self._taken))
            self._take()

    def disown(self, message: str) -> None:
        """Settle all receipts in a forked child: the events belong to the parent. Touches no lock."""
        self._buffer.take(self._options.buffer_events, self._taken)
        for pending in self._taken:
            pending.abandon(Rejected("unconfirmed", message, None, pending.message_id))

    def _take(self) -> None:
        self._buffer.take(MAX_BATCHES * MAX_EVENTS, self._taken)
        self._tried = False

    def _attempt(self) -> Flow[None]:
        """Try once to write the oldest events, to Redis or behind what the spool holds."""
        self._tried = True
        self._retry_at = -math.inf
        holding = self._overflow.holding()
        if holding is None:
            yield from self._write()
        elif not (yield from self._is_gone(holding)):
            self._retry_at = self._clock.monotonic() + RETRY_S  # If the disk takes nothing.
            yield from self._spool()

    def _write(self) -> Flow[None]:
        """Try once to write the oldest events to Redis."""
        try:
            source = yield from self._directory.look(self._timeout())
            if source is None:
                self._refuse_unknown()
                return
            flush = self._form(source)
            asked = self._clock.monotonic()
            self._tally.prepare(flush, asked)
            answer = yield from append(flush, self._timeout)
        except WEATHER as error:
            self._weather(error.__cause__ if isinstance(error, NotSentError) else error)
        except (StoredVersionError, ValueError) as error:
            self._weather(error)
        else:
            if answer.kind == "ok":
                self._tally.note(flush, answer, asked)
            self._judge(flush, answer)
            if answer.kind == "ok":
                yield from self._announcements.make(flush)

    def _is_gone(self, holding: Holding) -> Flow[bool]:
        """Refuse the events of a source that the spool is stuck with, if the registry still has none."""
        if holding.stuck != UNKNOWN_SOURCE:
            return False
        self._directory.forget()
        try:
            source = yield from self._directory.look(self._timeout())
        except (*WEATHER, StoredVersionError):
            return False
        if source is None:
            self._refuse_unknown()
        return source is None

    def _spool(self) -> Flow[None]:
        """Put the taken events into the spool, in their order."""
        work = self._overflow.put(self._taken, self._with_token())
        try:
            self._spooled((yield Disk(work)))
        except SpoolError as error:
            self._not_spooled(error)

    def _with_token(self) -> Flush | None:
        """The flush whose token must go to the spool along with its events.

        That is one in doubt; or, where one was given up in doubt, one of the next event alone: by its token the former
        becomes stale, and can never be written after the events that follow.
        """
        if self._flush is not None and self._flush.doubtful:
            return self._flush
        if self._given_up is None:
            return None
        self._sequence += 1
        return Flush(self._taken[:1], self._given_up.source, self._keys, self._session, self._sequence)

    def _spool_in(self) -> float:
        """Seconds until the taken events go to the spool; they were tried, and weather is why they are still here."""
        trouble = self._trouble
        weather = self._tried and trouble is not None and trouble.reason == "unavailable"
        return self._overflow.due_in(self._taken[0]) if weather else math.inf

    def _spooled(self, count: int) -> None:
        self._overflow.succeeded("earlier ones wait there" if self._trouble is None else self._trouble.message)
        self._retry_at = -math.inf
        if self._given_up is not None or (self._flush is not None and self._flush.doubtful):
            # Its sequence is the spool's now, and one that we used later would make it stale.
            self._renew()
        self._take_leave(self._taken[: max(count, 0)], Spooled)

    def _not_spooled(self, error: SpoolError) -> None:
        self._overflow.failed(error)
        self._failed(Trouble("unavailable", f"Redis at {self._where()} could not take it yet"))

    def rescue(self) -> None:
        """Put what is left into the spool at the end, if there is one; waits for the disk."""
        if not self._overflow.there:
            return
        trouble = self._trouble
        try:
            self._take()
            while self._taken:
                # Work under way, maybe in a thread, is waited for rather than repeated.
                work = self._overflow.work or self._overflow.put(self._taken, self._with_token(), RESCUE_S)
                self._spooled(work())
        except Exception as error:
            self._overflow.work = None
            logger.warning("%d events of source %s were not spooled: %s", len(self._taken), self._options.source, error)
        self._trouble = trouble

    def _form(self, source: "Source") -> Flush:
        """The flush under way, or a new one of the oldest events; a doubtful one stays as it is."""
        flush = self._flush
        if flush is None or (not flush.doubtful and flush.source is not source):
            self._sequence += 1
            oldest = self._taken[: self._room]
            flush = self._flush = Flush(oldest, source, self._keys, self._session, self._sequence)
        return flush

    def _judge(self, flush: Flush, answer: Answer) -> None:
        match answer.kind:
            case "ok":
                self._accept(flush.count)
            case "stale":
                self._judge_stale(flush)
            case "unknown":
                self._judge_unknown(flush)
            case "full":
                self._judge_full(flush, answer.queued)

    def _judge_stale(self, flush: Flush) -> None:
        """Go on under a new session: another process uses this one, such as a resumed snapshot of it."""
        self._renew()
        flush.doubtful = True
        self._failed(Trouble("unconfirmed", "its session was continued elsewhere"))
        self._fail(flush.count)

    def _judge_unknown(self, flush: Flush) -> None:
        """Look the source up again: it was removed, or added anew, and earlier appends are gone with it."""
        self._directory.forget()
        self._announcements.forget()
        if flush.doubtful:
            self._left_behind = max(self._left_behind, flush.count)
        self._flush = None
        again = self._trouble is not None
        self._failed(no_ledger(flush.source.name))
        if again:
            self._back_off()

    def _judge_full(self, flush: Flush, queued: int) -> None:
        """Send fewer events if some fit; else wait for room or refuse them."""
        fitting = flush.fitting(queued)
        if flush.doubtful:
            self._failed(backlog_full(flush, queued))
            self._back_off()
        elif fitting and flush.count > 1:
            self._room = fitting
            self._flush = None
        else:
            self._failed(backlog_full(flush, queued))
            self._retry_at = self._clock.monotonic() + FULL_RETRY_S
            if not self._options.blocks:
                self._fail(len(self._taken))

    def _refuse_unknown(self) -> None:
        self._failed(unknown_source(self._where(), self._options.source))
        self._fail(len(self._taken))

    def _weather(self, error: BaseException | None) -> None:
        self._failed(unwritten(self._where(), error))
        self._back_off()

    def _failed(self, trouble: Trouble) -> None:
        if trouble.reason == "unavailable" and self._overflow.error is not None:
            trouble = Trouble("unavailable", f"{trouble.message}; and {self._overflow.error}")
        self._trouble = trouble
        self._failures += 1

    def _back_off(self) -> None:
        delay = min(BACKOFF_S * 2.0 ** min(self._failures - 1, 10), BACKOFF_MAX_S)
        self._retry_at = self._clock.monotonic() + delay

    def _limit(self) -> float:
        """Seconds that an event may wait: the budget, or the patience while the backlog is full."""
        full = self._trouble is not None and self._trouble.reason == "backlog_full"
        return self._options.patience_s if full else self._options.budget_s

    def _left(self) -> float:
        """Seconds until the oldest event is to be given up."""
        return self._taken[0].at - self._edge()

    def _edge(self) -> float:
        """The time before which an event must have come to be given up now."""
        slack = min(SLACK_S, self._options.budget_s / 10)
        return self._clock.monotonic() - self._limit() + slack

    def _timeout(self) -> float:
        """Seconds for one command: half of what the oldest event has left, so that a second attempt fits.

        While Redis answers, a late event, such as one that slept with its machine, gets a fair attempt.
        """
        budget = self._options.budget_s
        left = self._taken[0].at + max(budget, self._limit()) - self._clock.monotonic()
        lost = self._trouble is not None and self._trouble.reason == "unavailable"
        fair = max(left / 2, min(left, 0.1), SLACK_S if lost else budget / 4)
        return min(fair, self._overflow.direct_s(self._taken[0]))

    def _expire(self) -> None:
        """Give up the events whose time has ended; each was tried at least once."""
        edge = self._edge() + _INSTANT_S
        over = 0
        while over < len(self._taken) and self._taken[over].at <= edge:
            over += 1
        if over:
            self._fail(over)

    def _renew(self) -> None:
        """Go on under a new session."""
        self._session, self._sequence = secrets.token_hex(12), 0
        self._given_up = None

    def _accept(self, count: int) -> None:
        self._take_leave(self._taken[:count], Accepted)
        self._room = min(self._room * 2, MAX_BATCHES * MAX_EVENTS)
        self._given_up = None

    def _take_leave(self, done: list[Pending], outcome: type[Accepted | Spooled]) -> None:
        """Let events go that are durable."""
        for pending in done:
            pending.settle(outcome)
        self._leave(done)
        self._flush = None
        self._trouble = None
        self._failures = 0
        self._metrics.accepted(self._options.source, done, self._clock.monotonic())
        for pending in done:
            pending.body = b""  # Bots may keep receipts for long.

    def _fail(self, count: int) -> None:
        """Reject the oldest events: `unconfirmed` where they may be queued, else for the trouble."""
        trouble = self._trouble
        assert trouble is not None
        flush = self._flush
        in_doubt = flush.count if flush is not None and flush.doubtful else 0
        doubtful = min(count, max(in_doubt, self._left_behind))
        done = self._taken[:count]
        outcomes = [
            (trouble.in_doubt if index < doubtful else trouble).rejection(pending) for index, pending in enumerate(done)
        ]
        for pending, outcome in zip(done, outcomes, strict=True):
            pending.settle(outcome)
        self._leave(done)
        if flush is not None and count:
            flush.count -= min(count, flush.count)
            if flush.doubtful and not flush.count:
                self._given_up = flush
            if not flush.doubtful or not flush.count:
                self._flush = None
        for pending, outcome in zip(done, outcomes, strict=True):
            self._rejections.report(outcome, pending)

    def _leave(self, done: list[Pending]) -> None:
        del self._taken[: len(done)]
        self._left_behind = max(0, self._left_behind - len(done))
        self._buffer.release(done)
