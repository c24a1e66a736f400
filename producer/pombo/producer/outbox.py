"""The producer's core, without I/O: what to send when, and what each event's outcome is.

`Outbox.run` is a generator that yields steps (`Sleep`, `Ask`); a driver of threads or asyncio takes them and
sends the replies back, or throws what went wrong. All decisions are here, on the given clock.

One flush is under way at a time. The oldest events are `taken` out of the buffer; those of the flush are the
first of them. An event leaves by its outcome, in the order of acceptance:

* the append answers ok: accepted
* it answers full: `backlog_full`, at once or, when full means waiting, after the patience
* it cannot be sent, or the server refuses: tried again until the budget ends, then `unavailable`
* its answer stays out: the same bytes again until the budget ends, then `unconfirmed`
"""

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import NoPermissionError, NoScriptError, RedisError

from pombo.producer.announcements import Announcements
from pombo.producer.buffer import Buffer, Pending
from pombo.producer.directory import Directory
from pombo.producer.flush import MAX_BATCHES, Answer, Flush, read_answer
from pombo.producer.metrics import Metrics
from pombo.producer.options import Options
from pombo.producer.receipts import Accepted, Reason, Rejected
from pombo.producer.rejections import Rejections, remedy
from pombo.producer.steps import WEATHER, Argument, Ask, Flow, NotSentError, Sleep
from pombo.shared.batches import MAX_EVENTS
from pombo.shared.clock import Clock
from pombo.shared.connection import refused
from pombo.shared.errors import StoredVersionError
from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.shared.sources import Source

SLACK_S = 0.02
"""Events this near to the end of their budget are given up together: no attempt fits into less."""
_INSTANT_S = 1e-6
BACKOFF_S = 0.01
BACKOFF_MAX_S = 0.25
FULL_RETRY_S = 0.05
"""Seconds between two looks whether a full backlog has room."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last attempt failed; what waiting events are told when their time ends."""

    reason: Reason
    message: str


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
        self._taken: list[Pending] = []
        self._flush: Flush | None = None
        self._room = MAX_BATCHES * MAX_EVENTS
        self._tried = False
        self._retry_at = -math.inf
        self._trouble: Trouble | None = None
        self._failures = 0
        self._announcements = Announcements(keys, clock)

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
            wait = min(self._retry_at - self._clock.monotonic(), self._left())
            if wait > _INSTANT_S:
                yield Sleep(wait)
            else:
                yield from self._attempt()
            if self._tried and self._trouble is not None:
                self._expire()

    def give_up(self, reason: Reason, message: str) -> None:
        """Settle all events that are left, without writing; for a driver that must end or lost its way."""
        self._trouble = Trouble(reason, message)
        self._take()
        while self._taken:
            self._fail(len(self._taken))
            self._take()

    def disown(self, message: str) -> None:
        """Settle all receipts in a forked child: the events belong to the parent. Touches no lock."""
        self._buffer.take(self._options.buffer_events, self._taken)
        for pending in self._taken:
            pending.receipt.abandon(Rejected("unconfirmed", message, None, pending.receipt.message_id))

    def _take(self) -> None:
        self._buffer.take(MAX_BATCHES * MAX_EVENTS, self._taken)
        self._tried = False

    def _attempt(self) -> Flow[None]:
        """Try once to write the oldest events."""
        self._tried = True
        self._retry_at = -math.inf
        try:
            source = yield from self._directory.look(self._timeout())
            if source is None:
                self._refuse_unknown()
                return
            flush = self._form(source)
            answer = yield from self._append(flush)
        except WEATHER as error:
            self._weather(error.__cause__ if isinstance(error, NotSentError) else error)
        except (StoredVersionError, ValueError) as error:
            self._weather(error)
        else:
            self._judge(flush, answer)
            if answer.kind == "ok":
                yield from self._announcements.make(flush)

    def _form(self, source: Source) -> Flush:
        """The flush under way, or a new one of the oldest events; a doubtful one stays as it is."""
        flush = self._flush
        if flush is None or (not flush.doubtful and flush.source is not source):
            self._sequence += 1
            oldest = self._taken[: self._room]
            flush = self._flush = Flush(oldest, source, self._keys, self._session, self._sequence)
        return flush

    def _append(self, flush: Flush) -> Flow[Answer]:
        """Send the flush; it stays doubtful unless an answer says what became of it."""
        append = script("append")
        before = flush.doubtful
        try:
            try:
                reply = yield from self._send(flush, "EVALSHA", append.sha)
            except NoScriptError:
                reply = yield from self._send(flush, "EVAL", append.text)
        except NotSentError:
            flush.doubtful = before
            raise
        except RedisError as error:
            if refused(error) or isinstance(error, NoPermissionError):
                flush.doubtful = before
            raise
        answer = read_answer(reply)
        flush.doubtful = before and answer.kind == "full"
        return answer

    def _send(self, flush: Flush, *command: Argument) -> Flow[object]:
        timeout_s = self._timeout()
        flush.doubtful = True
        return (yield Ask(flush.command(*command), timeout_s))

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
        self._session, self._sequence = secrets.token_hex(12), 0
        flush.doubtful = True
        self._failed("unconfirmed", "its session was continued elsewhere")
        self._fail(flush.count)

    def _judge_unknown(self, flush: Flush) -> None:
        """Look the source up again: it was removed, or added anew, and earlier appends are gone with it."""
        self._directory.forget()
        self._announcements.forget()
        self._flush = None
        again = self._trouble is not None
        self._failed("unavailable", f"source {flush.source.name!r} has no ledger in Redis; see `pombo status`")
        if again:
            self._back_off()

    def _judge_full(self, flush: Flush, queued: int) -> None:
        """Send fewer events if some fit; else wait for room or refuse them."""
        name, limit = flush.source.name, flush.source.backlog_bytes
        message = (
            f"source {name!r} has {queued:,} bytes of events in Redis and its limit is {limit:,}; "
            "see with `pombo status` why its workers do not keep up, or raise its backlog limit"
        )
        fitting = int(0.9 * flush.count * max(limit - queued, 0) / flush.size)
        if flush.doubtful:
            self._failed("unavailable", message)
            self._back_off()
        elif fitting and flush.count > 1:
            self._room = fitting
            self._flush = None
        else:
            self._failed("backlog_full", message)
            self._retry_at = self._clock.monotonic() + FULL_RETRY_S
            if not self._options.blocks:
                self._fail(len(self._taken))

    def _refuse_unknown(self) -> None:
        name = self._options.source
        self._failed(
            "unknown_source",
            f"Redis at {self._where()} has no source {name!r}; add it with `pombo sources add {name} --write-key -`",
        )
        self._fail(len(self._taken))

    def _weather(self, error: BaseException | None) -> None:
        cause = str(error) or type(error).__name__
        self._failed("unavailable", f"writing to Redis at {self._where()} failed: {cause}; {remedy(error)}")
        self._back_off()

    def _failed(self, reason: Reason, message: str) -> None:
        self._trouble = Trouble(reason, message)
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
        return max(left / 2, min(left, 0.1), SLACK_S if lost else budget / 4)

    def _expire(self) -> None:
        """Give up the events whose time has ended; each was tried at least once."""
        edge = self._edge() + _INSTANT_S
        over = 0
        while over < len(self._taken) and self._taken[over].at <= edge:
            over += 1
        if over:
            self._fail(over)

    def _accept(self, count: int) -> None:
        done = self._taken[:count]
        for pending in done:
            pending.receipt.settle(Accepted)
        self._leave(done)
        self._flush = None
        self._trouble = None
        self._failures = 0
        self._room = min(self._room * 2, MAX_BATCHES * MAX_EVENTS)
        self._metrics.accepted(self._options.source, done, self._clock.monotonic())

    def _fail(self, count: int) -> None:
        """Reject the oldest events: `unconfirmed` where they may be queued, else for the trouble."""
        trouble = self._trouble
        assert trouble is not None
        flush = self._flush
        doubtful = min(count, flush.count) if flush is not None and flush.doubtful else 0
        done = self._taken[:count]
        outcomes = [
            _rejected(pending, _in_doubt(trouble) if index < doubtful else trouble)
            for index, pending in enumerate(done)
        ]
        for pending, outcome in zip(done, outcomes, strict=True):
            pending.receipt.settle(outcome)
        self._leave(done)
        if flush is not None and count:
            flush.count -= min(count, flush.count)
            if not flush.doubtful or not flush.count:
                self._flush = None
        for pending, outcome in zip(done, outcomes, strict=True):
            self._rejections.report(outcome, pending)

    def _leave(self, done: list[Pending]) -> None:
        del self._taken[: len(done)]
        self._buffer.release(done)


def _in_doubt(trouble: Trouble) -> Trouble:
    return Trouble(
        "unconfirmed",
        f"it may be written ({trouble.message}); send it again with the same message_id, and it is delivered once",
    )


def _rejected(pending: Pending, trouble: Trouble) -> Rejected:
    return Rejected(trouble.reason, trouble.message, None, pending.receipt.message_id)
