"""The life of one request's events, from claim to settlement."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from pombo.shared.clock import Clock, iso, moment
from pombo.shared.deadletters import LetterHeader
from pombo.shared.logs import get_logger
from pombo.shared.sources import Source
from pombo.worker.account import LOGGER, history, tell_age, tell_attempt
from pombo.worker.answers import TOO_MANY, Answer, Outcome, Verdict, classify
from pombo.worker.backoff import backoff
from pombo.worker.limit import Closed
from pombo.worker.masking import masked
from pombo.worker.metrics import Metrics
from pombo.worker.parts import Chunk, Part, Room, chunks
from pombo.worker.patience import Decision, Failures, Trouble, decide, outcome_lost
from pombo.worker.rotation import Rotation
from pombo.worker.signals import Signals
from pombo.worker.store import Letter, SourceStore
from pombo.worker.transport import Transport, make_request

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

log = get_logger(LOGGER)

WAITING = frozenset({"held", "parked", "paused", "broken"})
"""Reasons of a shut gate that stop the clock of `max_age`."""
PARK_SUSPECTS = 3
"""So many events refused alone, and nothing of their request accepted: the fault is not theirs."""
LETTERS_AT_ONCE = 200
_LIMITED_BASE_S = 1.0
_LIMITED_CAP_S = 60.0
_LEAST_HINT_S = 0.1
_STAND_BACK_S = 0.25
"""Whose request failed leaves the next trial of an open breaker to others; who waits longest asks first."""
_GATE_POLL_S = 5.0
"""A shut gate is asked again this often at least, should a wake-up be lost."""


class Guard(Protocol):
    """Know whether this worker may still believe in its leases."""

    def fresh(self) -> bool:
        """Whether a beat was confirmed lately enough."""
        ...

    async def confirmed(self) -> None:
        """Wait until a beat is confirmed."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What every delivery of a worker works with; all of it comes in from outside."""

    transport: Transport
    clock: Clock
    rng: random.Random
    metrics: Metrics
    guard: Guard
    room: Room = field(default_factory=Room)
    delivered_log: "BoundLogger" = log
    """For the lines of requests that Segment took."""
    signals: Signals = field(default_factory=Signals)
    """What is noted for the console."""


class Lane(Protocol):
    """The source's side of a delivery."""

    store: SourceStore
    tools: Tools

    @property
    def source(self) -> Source:
        """The source's settings now in force."""
        ...

    @property
    def write_key(self) -> str:
        """Its write key now in force."""
        ...

    @property
    def version(self) -> int:
        """The registry version of both."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be sent."""
        ...

    async def pause(self, seconds: float, parts: Sequence[Part]) -> bool:
        """Wait, or less when the flow changes; False when these parts are to be left alone."""
        ...


class _Ending(Enum):
    DONE = auto()
    AGAIN = auto()
    REFUSED = auto()
    FAILED = auto()
    SPLIT = auto()
    STOPPED = auto()


@dataclass(slots=True)
class _Suspect:
    chunk: Chunk
    answer: Answer
    reason: str


@dataclass(eq=False)
class Delivery:
    """Bring claimed events to Segment.

    1. The claim has written their in-flight records; the first request goes out at once.
    2. Accepted: the events are settled, and leave.
    3. Asked to wait, or turned away for a reason that is the source's: the gate shuts for the fleet, and the same
       events go again when it opens.
    4. Failed: the same events go again after a backoff, or, when the source's breaker is open, with the gate's leave.
       Meanwhile those of other partitions have their turn, and a request that goes on failing is split, so that
       nobody waits for events that are at fault but those behind them; see `patience` for when these are given up.
    5. Refused: the chunk is bisected, first half first; an event refused alone is a suspect, and dead as soon as
       anything of its request is accepted or the last chunk is through. When all are refused alone, the fault is
       the source's: it is parked and nothing dies.
    6. A part whose lease is lost is left alone: its new owner resumes its record.
    7. At a stop, what is waiting is left where it is; the record says what is still to do.
    """

    lane: Lane
    parts: list[Part]
    sends: int = 0
    probe: bool = False
    prompt: bool = True
    _sent_at: int = 0
    _tried: bool = False
    _stand_back_s: float = 0
    _evidence: int = 0
    _admitted: bool = False
    _accepted: bool = False
    _limited: int = 0
    _witness: int = 0
    _pending: Rotation = field(init=False)
    _lost: list[Part] = field(default_factory=list)
    _suspects: list[_Suspect] = field(default_factory=list)

    async def run(self) -> None:
        """Work until every event is settled, lost to another worker, or left at a stop."""
        self._admitted = self.sends == 0 and self.prompt
        unfinished = chunks(self.parts, self.sends)
        while unfinished:
            self._pending = Rotation(unfinished)
            while (chunk := self._pending.next()) is not None:
                chunk.leave_out(self._lost)
                ending = await self._send(chunk) if chunk.events else _Ending.DONE
                if ending is _Ending.STOPPED:
                    return
                self._go_on(chunk, ending)
            unfinished = await self._judge_suspects()

    def _go_on(self, chunk: Chunk, ending: _Ending) -> None:
        if ending is _Ending.DONE:
            self._pending.finish()
        elif ending is _Ending.REFUSED:
            self._pending.cut(chunk.halves())
        elif ending is _Ending.SPLIT:
            self._pending.yield_turn(chunk.pieces())
        elif ending is _Ending.FAILED:
            self._pending.yield_turn()

    async def _send(self, chunk: Chunk) -> _Ending:
        if not await self._admission(chunk):
            return _Ending.STOPPED if self.lane.stopping or chunk.events else _Ending.DONE
        answer, verdict = await self._exchange(chunk)
        if verdict.outcome is Outcome.DELIVERED:
            await self._deliver(chunk)
            return _Ending.DONE
        if verdict.outcome is Outcome.REFUSED:
            return await self._refuse(chunk, answer, verdict)
        if verdict.outcome is Outcome.RETRY:
            return await self._fail(chunk, answer, verdict)
        if verdict.outcome is Outcome.HOLD:
            await self._hold(answer, verdict)
        else:
            await self._park(verdict.reason)
        return _Ending.AGAIN

    # -- before a request -----------------------------------------------------------------------------------------

    async def _admission(self, chunk: Chunk) -> bool:
        """Wait until `chunk` may be sent; False when it is not to be sent by us any more."""
        if self._admitted and self.lane.tools.guard.fresh():
            self._admitted = False
            return True
        self._admitted = False
        while not self.lane.stopping:
            await self.lane.tools.guard.confirmed()
            if await self._bury_outdated(chunk):
                return False
            attempt = await self.lane.store.attempt(chunk, [part for part in self._ours() if part not in chunk.parts])
            if attempt.lost:
                self._lost += attempt.lost
                chunk.leave_out(self._lost)
                if not chunk.events:
                    return False
                continue
            self._witness = attempt.witness
            if attempt.go and self.lane.tools.guard.fresh():
                self.probe = attempt.probe
                return True
            if attempt.closed is not None and not await self._wait_at_gate(attempt.closed):
                return False
        return False

    def _ours(self) -> list[Part]:
        """The parts that have unfinished events and are not lost."""
        return [part for part in self._pending.parts if part not in self._lost]

    async def _wait_at_gate(self, closed: Closed) -> bool:
        broken, parts = closed.reason == "broken", self._ours()
        # Whose request is the trial of an open breaker, and fails, is not waiting: else it would fail for ever.
        waiting = closed.reason in WAITING and not (broken and self._tried)
        begun = self.lane.store.now_ms()
        self._tried = False
        self._stand_back_s /= 2 if waiting else 1
        wait = min(closed.wait_s, _GATE_POLL_S) + (self._stand_back_s if broken else 0)
        stays = await self.lane.pause(wait, parts)
        if waiting:
            waited = self.lane.store.now_ms() - begun
            for part in parts:
                part.failing_since = part.failing_since + waited if broken and part.failing_since else 0
            for chunk in self._pending:
                chunk.failures.lone = 0
        return stays

    async def _bury_outdated(self, chunk: Chunk) -> bool:
        now = self.lane.store.now_ms()
        if not any(outcome_lost(part.unknown_since, now) for part in chunk.parts):
            return False
        answer = Answer(None, failure="no answer within Segment's 24 h window for repeated messageIds")
        await self._bury([_Suspect(one, answer, "outcome_unknown") for one in chunk.singles()])
        chunk.slices = []
        return True

    # -- the request ----------------------------------------------------------------------------------------------

    async def _exchange(self, chunk: Chunk) -> tuple[Answer, Verdict]:
        tools, source = self.lane.tools, self.lane.source
        self._evidence = self.lane.version
        self._tried, self._stand_back_s = False, 0
        bodies = chunk.bodies()
        # Redis' clock, as Segment corrects timestamps by sentAt, and this machine's may be wrong.
        self._sent_at = self.lane.store.now_ms()
        key = self.lane.write_key
        request = make_request(source.url, key, bodies, sends=chunk.sends, now=moment(self._sent_at))
        started = tools.clock.monotonic()
        answer = masked(await tools.transport.post(request), key)
        seconds = tools.clock.monotonic() - started
        verdict = classify(answer, moment(self.lane.store.now_ms()))
        if verdict.outcome is Outcome.RETRY:
            verdict = replace(verdict, wait=backoff(chunk.failures.well + 1, tools.rng))
        if verdict.outcome is Outcome.DELIVERED:
            chunk.sends += 1
        else:
            chunk.note(history(answer, verdict, self.lane.store.now_ms(), seconds))
        tell_attempt(tools, source.name, chunk, request, answer=answer, verdict=verdict, seconds=seconds)
        return answer, verdict

    # -- after a request ------------------------------------------------------------------------------------------

    async def _deliver(self, chunk: Chunk) -> None:
        self._accepted = True
        self._limited = 0
        lost = await self.lane.store.settle(chunk, (), probe=self.probe, sent_at=self._sent_at)
        self._lost += lost
        self.probe = False
        settled = chunk.without(lost) if lost else chunk
        now = self.lane.store.now_ms()
        self.lane.tools.signals.delivered(self.lane.source.name, settled, now)
        tell_age(self.lane.tools, self.lane.source.name, chunk, now)
        self._begin_anew(chunk)
        await self._bury(self._suspects)
        self._suspects = []

    async def _refuse(self, chunk: Chunk, answer: Answer, verdict: Verdict) -> _Ending:
        await self.lane.store.alive(self._sent_at)
        if chunk.events > 1:
            return _Ending.REFUSED
        suspect = _Suspect(chunk, answer, verdict.reason)
        if self._accepted:
            await self._bury([suspect])
        else:
            self._suspects.append(suspect)
        return _Ending.DONE

    async def _hold(self, answer: Answer, verdict: Verdict) -> None:
        self._limited += 1
        patience = min(_LIMITED_CAP_S, _LIMITED_BASE_S * 2.0 ** (self._limited - 1))
        # A hint of nothing, or none, must not make a loop of requests.
        seconds = verdict.wait if verdict.wait and verdict.wait >= _LEAST_HINT_S else patience
        if answer.status == TOO_MANY:
            await self.lane.store.hold(seconds, excess_at=self._sent_at)
            return
        await self.lane.store.hold(seconds)
        await self._report(answer, f"status {answer.status}")

    async def _report(self, answer: Answer, why: str) -> bool:
        """Report a failure to the fleet; whether the source's breaker is open."""
        breaker = await self.lane.store.fail(self._sent_at, why, late=answer.late)
        self._tried, self._stand_back_s = True, _STAND_BACK_S
        if breaker.opened:
            self.lane.tools.metrics.breaker_opened.labels(self.lane.source.name).inc()
            log.warning("source.broken", source=self.lane.source.name, reason=why)
        return breaker.broken

    async def _park(self, reason: str) -> None:
        if await self.lane.store.park(reason, self._evidence):
            log.error("source.parked", source=self.lane.source.name, reason=reason)

    async def _fail(self, chunk: Chunk, answer: Answer, verdict: Verdict) -> _Ending:
        broken, now = await self._report(answer, verdict.reason), self.lane.store.now_ms()
        chunk.failures.add(now, broken=broken)
        for part in chunk.parts:
            part.failing_since = part.failing_since or now
            if verdict.unknown:
                part.unknown_since = part.unknown_since or now
        decision = decide(self._trouble(chunk, now), self.lane.source.max_age_s)
        if decision is Decision.SPLIT:
            return _Ending.SPLIT
        if decision is not Decision.RETRY:
            await self._bury([_Suspect(one, answer, decision.value) for one in chunk.singles()])
            self._begin_anew(chunk)
            for behind in self._pending.behind(chunk.parts):
                # It has only waited: what was accepted before it is sent is no witness against it.
                behind.failures = Failures()
            return _Ending.DONE
        # With an open breaker the gate says when.
        waits = broken or await self.lane.pause(verdict.wait or 0, self._ours())
        return _Ending.FAILED if waits else _Ending.STOPPED

    def _begin_anew(self, chunk: Chunk) -> None:
        """Who waited behind `chunk`, which is through, has a clock of its own."""
        for part in chunk.parts:
            part.failing_since = 0

    def _trouble(self, chunk: Chunk, now: int) -> Trouble:
        return Trouble(
            events=chunk.events, failures=chunk.failures, piece=chunk.piece, now=now, witness=self._witness,
            failing_since=min(part.failing_since for part in chunk.parts),
            unknown_since=min((p.unknown_since for p in chunk.parts if p.unknown_since), default=0),
        )  # fmt: skip

    # -- dead letters ---------------------------------------------------------------------------------------------

    async def _judge_suspects(self) -> list[Chunk]:
        """Decide about events refused alone when nothing of their request was accepted."""
        suspects = [s for s in self._suspects if s.chunk.without(self._lost).events]
        refused, self._suspects = len(self._suspects), []
        if not suspects or refused < PARK_SUSPECTS:
            await self._bury(suspects)
            return []
        # Segment's own words may repeat an event, and a reason is logged and shown.
        await self._park(
            f"Segment refuses every event, each alone (status {suspects[-1].answer.status}); "
            f"`pombo sources test {self.lane.source.name}` shows its words"
        )
        return chunks([part for part in self.parts if part not in self._lost], suspects[-1].chunk.sends)

    async def _bury(self, suspects: Sequence[_Suspect]) -> None:
        letters = [self._letter(suspect) for suspect in suspects if suspect.chunk.without(self._lost).events]
        for start in range(0, len(letters), LETTERS_AT_ONCE):
            some = letters[start : start + LETTERS_AT_ONCE]
            lost = await self.lane.store.settle(None, some)
            self._lost += lost
            written = [letter for letter in some if letter.part not in lost]
            self.lane.tools.signals.dead(self.lane.source.name, written, self.lane.store.now_ms())
            for letter in some:
                name, partition = self.lane.source.name, letter.part.partition
                log.warning("event.dead", source=name, reason=letter.reason, partition=partition)

    def _letter(self, suspect: _Suspect) -> Letter:
        ((part, (index,)),) = suspect.chunk.slices
        header = LetterHeader(
            reason=suspect.reason, status=suspect.answer.status, attempts=suspect.chunk.sends,
            answer=suspect.answer.text() or None, partition=part.partition,
            accepted_at=iso(moment(part.accepted_ms(index))), history=suspect.chunk.history,
        )  # fmt: skip
        return Letter(part, index, suspect.reason, header.dump())
