"""The journal as the steering API and the in-process one show it."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NotRequired, TypedDict

from pombo.ops.simulator.journal import Arrival, Exchange
from pombo.ops.simulator.submission import Item, Submission, read
from pombo.ops.simulator.switches import Switches
from pombo.ops.simulator.timestamps import iso


class EventRow(TypedDict):
    """One event: `n` counts arrivals from 1, times are ISO 8601, `payload` comes only when asked for."""

    message_id: str
    key: str | None
    user: str | None
    event: str | None
    n: int
    received_at: str
    fate: str
    type: str | None
    timestamp: str
    original_timestamp: str | None
    sent_at: str | None
    request: int
    payload: NotRequired[Item | None]


class RequestRow(TypedDict):
    """One request: `monotonic` in seconds, sizes in bytes (`bytes` inflated, `wire_bytes` as sent).

    `status` and `finished_at` are null until it is answered; `rule` is the number of the planned rule that
    fired, `code` what a batch as a whole failed with after its 200.
    """

    n: int
    at: str
    monotonic: float
    finished_at: str | None
    key: str | None
    method: str
    path: str
    status: int | None
    action: str | None
    rule: int | None
    code: str | None
    events: int
    bytes: int
    wire_bytes: int
    retry_count: int | None
    message_ids: NotRequired[list[str]]


def select(
    arrivals: Sequence[Arrival], *, key: str | None = None, user: str | None = None, since: int = 0
) -> Iterator[Arrival]:
    """Return the arrivals after number `since`, of one write key and one user if given."""
    return (
        arrival
        for arrival in map(arrivals.__getitem__, range(max(since, 0), len(arrivals)))
        if (not key or arrival.key == key) and (not user or arrival.user == user)
    )


def event_row(arrival: Arrival) -> EventRow:
    """Show one arrival without its payload."""
    return {
        "message_id": arrival.message_id,
        "key": arrival.key,
        "user": arrival.user,
        "event": arrival.event,
        "n": arrival.n,
        "received_at": iso(arrival.received_at),
        "fate": arrival.fate,
        "type": arrival.type,
        "timestamp": iso(arrival.timestamp),
        "original_timestamp": arrival.original_timestamp,
        "sent_at": arrival.sent_at,
        "request": arrival.exchange.n,
    }


def request_row(exchange: Exchange, *, ids: bool = False) -> RequestRow:
    """Show one exchange, with the messageIds that the client sent if asked for."""
    row: RequestRow = {
        "n": exchange.n,
        "at": iso(exchange.at),
        "monotonic": exchange.monotonic,
        "finished_at": iso(exchange.finished_at) if exchange.finished_at else None,
        "key": exchange.key,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "action": exchange.action,
        "rule": exchange.rule,
        "code": exchange.code,
        "events": exchange.events,
        "bytes": exchange.raw_bytes,
        "wire_bytes": exchange.wire_bytes,
        "retry_count": exchange.retry_count,
    }
    if ids:
        row["message_ids"] = list(exchange.message_ids)
    return row


class Payloads:
    """Show events as they land: with the batch's context, a messageId and corrected times, cut to the limit.

    Only the request's gzipped body is kept; neighbours of one request share one reading of it.
    """

    def __init__(self, switches: Switches) -> None:
        self._limit = switches.property_limit
        self._exchange: Exchange | None = None
        self._submission: Submission | None = None

    def row(self, arrival: Arrival) -> EventRow:
        """Show one arrival with its payload, which is null where the item was no object."""
        return {**event_row(arrival), "payload": self._payload(arrival)}

    def _payload(self, arrival: Arrival) -> Item | None:
        submission = self._read(arrival.exchange)
        item = submission.items[arrival.index] if submission and submission.items else None
        if submission is None or not isinstance(item, dict):
            return None
        landed = {name: self._cut(name, value) for name, value in submission.merged(item).items()}
        landed.pop("writeKey", None)
        return landed | {
            "messageId": arrival.message_id,
            "originalTimestamp": arrival.original_timestamp,
            "timestamp": iso(arrival.timestamp),
            "sentAt": arrival.sent_at,
            "receivedAt": iso(arrival.received_at),
        }

    def _cut(self, name: str, value: Any) -> Any:
        if name not in ("properties", "traits") or not isinstance(value, dict) or len(value) <= self._limit:
            return value
        return dict(islice(value.items(), self._limit))

    def _read(self, exchange: Exchange) -> Submission | None:
        if exchange is not self._exchange:
            self._exchange = exchange
            self._submission = read(exchange.sealed) if exchange.sealed else None
        return self._submission
