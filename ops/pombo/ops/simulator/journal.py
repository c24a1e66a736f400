"""What the simulator received, in order: requests, and the events of those that were accepted.

A life of an event: 1. its request is opened and numbered; 2. after a planned delay, if any, the request is
judged; 3. accepted, each of its events arrives with a number and a fate; 4. the answer's status closes the
request. A request that is refused leaves no events; one that hangs or is reset has no status.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pombo.ops.simulator.messages import Request
from pombo.ops.simulator.submission import Submission, message_id_of
from pombo.ops.simulator.switches import Switches
from pombo.ops.simulator.timestamps import correct, parse
from pombo.ops.simulator.validation import DUPLICATE, KEPT
from pombo.ops.simulator.window import IdempotencyWindow


@dataclass(slots=True)
class Exchange:
    """One request and what became of it; `n` is 0 where it submits nothing (other method, unknown path)."""

    n: int
    at: datetime
    monotonic: float
    method: str
    path: str
    key: str | None
    events: int
    raw_bytes: int
    wire_bytes: int
    retry_count: int | None
    message_ids: tuple[str, ...]
    rule: int | None = None
    action: str | None = None
    status: int | None = None
    code: str | None = None
    finished_at: datetime | None = None
    sealed: Request | None = None


@dataclass(slots=True)
class Arrival:
    """One event of an accepted request; `timestamp` is corrected, the other sender's times are as sent."""

    n: int
    message_id: str
    key: str | None
    user: str | None
    event: str | None
    type: str | None
    fate: str
    timestamp: datetime
    original_timestamp: str | None
    sent_at: str | None
    received_at: datetime
    exchange: Exchange
    index: int


class Journal:
    """Keep exchanges and arrivals, number them, and look for duplicates.

    Segment gives an event without messageId one of its own: `mint` makes them. An event that is dropped on
    ingest does not count for duplicates, since only what is published is deduplicated.
    """

    def __init__(self, mint: Callable[[], str]) -> None:
        self.exchanges: list[Exchange] = []
        self.arrivals: list[Arrival] = []
        self.fates: Counter[str] = Counter()
        self._numbered = 0
        self._mint = mint
        self._window = IdempotencyWindow()

    def open(self, request: Request, submission: Submission | None) -> Exchange:
        """Number a request and note it; one without a submission is noted without a number."""
        self._numbered += submission is not None
        exchange = Exchange(
            n=self._numbered if submission else 0,
            at=request.at,
            monotonic=request.monotonic,
            method=request.method,
            path=request.path,
            key=submission.key if submission else None,
            events=len(submission.items or ()) if submission else 0,
            raw_bytes=submission.raw_bytes if submission else request.wire_bytes,
            wire_bytes=request.wire_bytes,
            retry_count=_count(request.headers.get("x-retry-count")),
            message_ids=submission.message_ids() if submission else (),
        )
        self.exchanges.append(exchange)
        return exchange

    def admit(
        self,
        exchange: Exchange,
        submission: Submission,
        fates: list[str],
        received: datetime,
        switches: Switches,
    ) -> None:
        """Let an accepted request's events arrive, each with its fate."""
        self._window.length = timedelta(seconds=switches.dedup_window_s)
        for index, (item, fate) in enumerate(zip(submission.items or (), fates, strict=True)):
            event = item if isinstance(item, dict) else {}
            arrival = self._arrival(exchange, submission, event, received, switches)
            arrival.index, arrival.fate = index, self._final(fate, arrival.message_id, received)
            self.fates[arrival.fate] += 1
            self.arrivals.append(arrival)

    def _final(self, fate: str, message_id: str, received: datetime) -> str:
        if fate != KEPT or self._window.admit(message_id, received):
            return fate
        return DUPLICATE

    def _arrival(
        self,
        exchange: Exchange,
        submission: Submission,
        event: dict[str, object],
        received: datetime,
        switches: Switches,
    ) -> Arrival:
        sent_at, original = submission.sent_at or event.get("sentAt"), event.get("timestamp")
        return Arrival(
            n=len(self.arrivals) + 1,
            message_id=message_id_of(event) or self._mint(),
            key=submission.key_of(event),
            user=_text(event.get("userId")) or _text(event.get("anonymousId")),
            event=_text(event.get("event")),
            type=_text(event.get("type")),
            fate=KEPT,
            timestamp=correct(parse(original), parse(sent_at), received, switches),
            original_timestamp=original if isinstance(original, str) else None,
            sent_at=sent_at if isinstance(sent_at, str) else None,
            received_at=received,
            exchange=exchange,
            index=0,
        )


def _text(value: object) -> str | None:
    """Return a string as its one shared copy: the same users and event names come again and again."""
    return sys.intern(value) if isinstance(value, str) and value else None


def _count(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() else None
