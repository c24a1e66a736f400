"""The drainer's core, without I/O: brings what the spool holds to Redis, in order, each source in its turn.

A round goes over all sources that have events, some appends each.

1. The oldest events of a source, as many as one append takes, are noted in the spool as an `Attempt`, with the token
   under which they go. What was noted by others — a dead process, a producer whose answer stayed out — goes first, and
   exactly as it was noted.
2. They are appended. `ok` lets them go, in the same step that notes the next ones: one write to the disk an append.
3. What is certainly not in Redis is no longer noted, and formed anew: another number of events may fit then. What is
   in doubt stays noted, whatever happens to this process.
"""

import math
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from redis.exceptions import TimeoutError

from pombo.producer.announcements import Announcements
from pombo.producer.directory import Directory
from pombo.producer.flush import MAX_BATCHES, MAX_FLUSH_RAW, Answer, Flush, append
from pombo.producer.spooled import BACKLOG_FULL, NO_LEDGER, UNKNOWN_SOURCE, UNREADABLE
from pombo.producer.spoolrows import Attempt, Head
from pombo.producer.steps import WEATHER, Disk, Flow, NotSentError, Sleep
from pombo.producer.tally import Tally
from pombo.shared.batches import MAX_EVENTS
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError, StoredVersionError
from pombo.shared.keys import Keys

if TYPE_CHECKING:
    from pombo.shared.sources import Source

TIMEOUTS_S = (5.0, 10.0)
"""Seconds for one command, longer each time that an answer stays out: a slow Redis is drained too."""
QUICK_S = 1.0
"""An answer within these seconds makes the next command wait for less again."""
BACKOFF_S = 0.05
BACKOFF_MAX_S = 1.0
STUCK_RETRY_S = 1.0
"""Seconds between two looks whether a source that is stuck no longer is."""
FULL_RETRY_S = 0.25
"""Seconds between two looks whether a full backlog has room."""
TURN_S = 0.25
"""Seconds between two looks whether another process has stopped draining."""
BURST = 8
"""Appends of one source before the next one has its turn."""
_MOST = MAX_BATCHES * MAX_EVENTS


class Store(Protocol):
    """The spool, as its drainer sees it; `spool.Spool` says what each does."""

    def waiting(self) -> list[str]: ...  # noqa: D102
    def peek(self, source: str, *, after: int, most: int, most_bytes: int) -> Head | None: ...  # noqa: D102
    def turn(self, source: str, done: Attempt | None, begun: Attempt | None) -> bool: ...  # noqa: D102
    def drop(self, source: str, attempt: Attempt) -> None: ...  # noqa: D102
    def stick(self, source: str, reason: str) -> None: ...  # noqa: D102
    def shrink(self) -> None: ...  # noqa: D102
    def lock(self) -> bool: ...  # noqa: D102
    def unlock(self) -> None: ...  # noqa: D102


@dataclass(slots=True)
class _Lane:
    """What the drainer remembers of one source."""

    directory: Directory
    announcements: Announcements
    retry_at: float = -math.inf
    failures: int = 0
    room: int = _MOST
    gone: str = ""
    """The incarnation that is not the source's any more, if a look at the registry now says so too."""
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class _Batch:
    """One append, and its note in the spool."""

    flush: Flush
    attempt: Attempt


class Drain:
    """Decide for one process; see the module."""

    def __init__(self, spool: Store, *, keys: Keys, clock: Clock) -> None:
        self._spool = spool
        self._keys = keys
        self._clock = clock
        # Of this process alone, never of the spool: a copy of its folder must not go on with the same tokens.
        self._session, self._sequence = secrets.token_hex(12), 0
        self._lanes: dict[str, _Lane] = {}
        self._patience = 0
        self._failures = 0

    def run(self) -> Flow[None]:
        """Bring every event of the spool to Redis; return when it is empty."""
        while True:
            try:
                waiting = yield Disk(self._spool.waiting)
                if not waiting:
                    yield Disk(self._spool.shrink)
                    self._spool.unlock()
                    return
                pause = yield from self._turn(waiting)
            except SpoolError:  # Who puts events in says so.
                pause = BACKOFF_MAX_S
            if pause:
                self._spool.unlock()
                yield Sleep(pause)

    def _turn(self, waiting: list[str]) -> Flow[float]:
        """One round, if no other process drains; return the seconds until the next one."""
        if not (yield Disk(self._spool.lock)):
            return TURN_S
        progress = False
        for name in waiting:
            lane = self._lane(name)
            if lane.retry_at > self._clock.monotonic():
                continue
            try:
                progress |= yield from self._serve(name, lane)
            except NotSentError:  # Nobody is there: the other sources need not try.
                self._failures += 1
                return _backoff(self._failures)
        self._failures = 0
        if progress:
            return 0.0
        next_at = min(self._lane(name).retry_at for name in waiting)
        return min(max(next_at - self._clock.monotonic(), BACKOFF_S), BACKOFF_MAX_S)

    def _lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            directory = Directory(self._keys, name, self._clock)
            lane = self._lanes[name] = _Lane(directory, Announcements(self._keys, self._clock))
        return lane

    def _serve(self, name: str, lane: _Lane) -> Flow[bool]:
        """Append some of one source's events; tell whether that brought it forward."""
        try:
            source = yield from lane.directory.look(TIMEOUTS_S[self._patience])
        except StoredVersionError:
            return (yield from self._stick(name, lane, UNREADABLE))
        except WEATHER as error:
            self._weather(lane, error)
            return False
        if source is None:
            return (yield from self._stick(name, lane, UNKNOWN_SOURCE))
        batch = yield from self._begin(name, lane, source, None)
        for left in range(BURST - 1, -1, -1):
            if batch is None:
                break
            try:
                answer = yield from self._append(lane, batch.flush)
            except (*WEATHER, ValueError) as error:
                if not batch.flush.doubtful:
                    yield Disk(partial(self._spool.drop, name, batch.attempt))
                self._weather(lane, error)
                return False
            if answer.kind != "ok":
                return (yield from self._judge(name, lane, batch, answer))
            batch = yield from self._let_go(name, lane, source, batch, more=left > 0)
        return batch is not None or left < BURST - 1

    def _let_go(self, name: str, lane: _Lane, source: "Source", done: _Batch, *, more: bool) -> Flow[_Batch | None]:
        """Let appended events leave the spool; return the next append, noted in the same step, if there is `more`."""
        lane.failures = 0
        lane.room = min(lane.room * 2, _MOST)
        following = None
        if more:
            following = yield from self._begin(name, lane, source, done.attempt)
        else:
            yield Disk(partial(self._spool.turn, name, done.attempt, None))
        # As patient as an append: behind a slow Redis a new connection would cost more than the wait.
        yield from lane.announcements.make(done.flush, TIMEOUTS_S[self._patience])
        return following

    def _begin(self, name: str, lane: _Lane, source: "Source", done: Attempt | None) -> Flow[_Batch | None]:
        """Form the next append and note it, where `done` leaves in the same step; None: there is none."""
        while True:
            after = 0 if done is None else done.last
            peek = partial(self._spool.peek, name, after=after, most=lane.room, most_bytes=MAX_FLUSH_RAW)
            head: Head | None = yield Disk(peek)
            batch = None if head is None else self._formed(head, source)
            noted = None if batch is None or batch.flush.doubtful else batch.attempt
            if (done is not None or noted is not None) and not (
                yield Disk(partial(self._spool.turn, name, done, noted))
            ):
                return None  # Another process drains too; the next round sees what it did.
            done = None
            if batch is None or batch.attempt.sent.incarnation == source.incarnation:
                return batch
            if lane.gone != batch.attempt.sent.incarnation:
                # Sent to the source as it was before it was removed; or the copy of it here is the older one.
                lane.gone = batch.attempt.sent.incarnation
                lane.directory.forget()
                return None
            yield Disk(partial(self._spool.drop, name, batch.attempt))

    def _formed(self, head: Head, source: "Source") -> _Batch:
        attempt = head.attempt
        if attempt is None:
            self._sequence += 1
            flush = Flush(head.events, source, self._keys, self._session, self._sequence)
            return _Batch(flush, Attempt(head.events[0].id, head.events[flush.count - 1].id, flush.sent))
        sent = attempt.sent
        flush = Flush(head.events, source, self._keys, sent.session, sent.sequence, whole=True)
        flush.doubtful = True
        return _Batch(flush, attempt)

    def _append(self, lane: _Lane, flush: Flush) -> Flow[Answer]:
        began = self._clock.monotonic()
        lane.tally.prepare(flush, began)
        answer = yield from append(flush, lambda: TIMEOUTS_S[self._patience])
        if self._clock.monotonic() - began < QUICK_S:
            self._patience = 0
        if answer.kind == "ok" and flush.sent.session == self._session:
            # What others began goes under their sessions, once: of those nothing is known here.
            lane.tally.note(flush, answer, began)
        return answer

    def _judge(self, name: str, lane: _Lane, batch: _Batch, answer: Answer) -> Flow[bool]:
        """Do what an answer other than ok asks for; tell whether to go on at once."""
        flush, attempt = batch.flush, batch.attempt
        if answer.kind == "stale":
            # Somebody else used the session, such as a resumed snapshot of its owner.
            yield Disk(partial(self._spool.drop, name, attempt))
            self._session, self._sequence = secrets.token_hex(12), 0
            return True
        if not flush.doubtful:
            yield Disk(partial(self._spool.drop, name, attempt))
        if answer.kind == "full":
            fitting = flush.fitting(answer.queued)
            if fitting and flush.count > 1 and not flush.doubtful:
                lane.room = fitting
                return True
            return (yield from self._stick(name, lane, BACKLOG_FULL, FULL_RETRY_S))
        lane.directory.forget()
        lane.announcements.forget()
        lane.failures += 1
        if lane.failures == 1:
            return True  # It may have been added anew.
        return (yield from self._stick(name, lane, NO_LEDGER))

    def _stick(self, name: str, lane: _Lane, reason: str, retry_s: float = STUCK_RETRY_S) -> Flow[bool]:
        """Leave a source waiting for something that is no weather."""
        lane.retry_at = self._clock.monotonic() + retry_s
        yield Disk(partial(self._spool.stick, name, reason))
        return False

    def _weather(self, lane: _Lane, error: Exception) -> None:
        """Try the source again later; raise what concerns all sources."""
        if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            self._patience = min(self._patience + 1, len(TIMEOUTS_S) - 1)
        if isinstance(error, NotSentError):
            raise error
        lane.failures += 1
        lane.retry_at = self._clock.monotonic() + _backoff(lane.failures)


def _backoff(failures: int) -> float:
    return float(min(BACKOFF_S * 2.0 ** min(failures - 1, 10), BACKOFF_MAX_S))
