"""What Segment's answers mean: one pure function from an answer to a verdict.

The first row that matches wins:

| answer | verdict |
|---|---|
| 2xx with `{"success": false}` | as 400 |
| 2xx | DELIVERED |
| 429, or a retryable status with `Retry-After` or `X-RateLimit-Reset` | HOLD |
| 400 that names the write key | PARK |
| 400 413 414 422 | REFUSED |
| 408 410 425 460, 5xx except 501 505, network error, timeout | RETRY |
| anything else | PARK |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Literal

import orjson

MAX_HOLD_S = 3600.0
TOO_MANY = 429
_REFUSED = frozenset({400, 413, 414, 422})
_RETRYABLE = frozenset({408, 410, 425, 460})
_FINAL = frozenset({501, 505})
_EPOCH = 1_000_000_000
_WRITE_KEY = re.compile(rb"write[\s_-]?key", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?")
_ANSWER_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request.

    `status` is None when no answer came; `failure` then says what happened, `unknown` whether Segment may have
    accepted the request all the same, `late` that no answer came in time, and `unusable` that the endpoint can never be
    reached as it is written. Header names are in lower case.
    """

    status: int | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str = ""
    unknown: bool = False
    unusable: bool = False
    late: bool = False

    def text(self) -> str:
        """The body, or the failure, as a dead letter keeps it: 2,048 characters at most."""
        return (self.body.decode("utf-8", "replace") or self.failure)[:_ANSWER_CHARACTERS]


class Outcome(Enum):
    """What is done about an answer."""

    DELIVERED = "delivered"
    HOLD = "held"
    PARK = "parked"
    REFUSED = "refused"
    RETRY = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means.

    `wait` is for HOLD the seconds asked for, or None when Segment named none, and for RETRY the backoff. `reason` is
    for PARK (a sentence) and
    REFUSED (a dead reason). `unknown` is for RETRY: the events may have arrived.
    """

    outcome: Outcome
    wait: float | None = None
    reason: str = ""
    unknown: bool = False


def classify(answer: Answer, now: datetime) -> Verdict:
    """Judge an answer that was read at `now` (UTC)."""
    status = answer.status
    if status is None:
        return _silence(answer)
    if 200 <= status < 300:
        if not _says_failure(answer.body):
            return Verdict(Outcome.DELIVERED)
        status = 400
    hint = wait_hint(answer.headers, now)
    if status == TOO_MANY or (_retryable(status) and hint is not None):
        return Verdict(Outcome.HOLD, wait=hint)
    if status in _REFUSED:
        return _refusal(status, answer)
    if _retryable(status):
        return Verdict(Outcome.RETRY, reason=f"status {status}")
    return Verdict(Outcome.PARK, reason=_park_reason(status))


def _silence(answer: Answer) -> Verdict:
    if answer.unusable:
        return Verdict(Outcome.PARK, reason=f"the endpoint cannot be used: {answer.failure}; `pombo sources set`")
    return Verdict(Outcome.RETRY, reason=answer.failure, unknown=answer.unknown)


def _retryable(status: int) -> bool:
    return status in _RETRYABLE or (500 <= status < 600 and status not in _FINAL)


def _says_failure(body: bytes) -> bool:
    if b"false" not in body:
        return False
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(parsed, dict) and parsed.get("success") is False


def _refusal(status: int, answer: Answer) -> Verdict:
    if status == 400 and _WRITE_KEY.search(answer.body):
        return Verdict(Outcome.PARK, reason="Segment says that the write key is invalid: `pombo sources rotate-key`")
    reason: Literal["too_large", "rejected_by_segment"] = (
        "too_large" if status in {413, 414} or b"payload limit" in answer.body.lower() else "rejected_by_segment"
    )
    return Verdict(Outcome.REFUSED, reason=reason)


def _park_reason(status: int) -> str:
    if status in {401, 403}:
        return f"Segment answered {status}: the write key is refused; `pombo sources rotate-key`"
    if 300 <= status < 400:
        return f"the endpoint redirects ({status}); check it with `pombo sources show`"
    return f"Segment answered {status}: check the endpoint with `pombo sources show`"


def wait_hint(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that the answer asks to wait, 0 to one hour: `Retry-After`, else `X-RateLimit-Reset`; None without.

    An HTTP date, or an epoch, is read against the answer's own `Date`, so that neither machine's clock matters.
    """
    for name in ("retry-after", "x-ratelimit-reset"):
        value = headers.get(name, "").strip()
        seconds = _seconds(value, _date(headers.get("date", "")) or now) if value else None
        if seconds is not None:
            return min(max(seconds, 0.0), MAX_HOLD_S)
    return None


def _seconds(value: str, reference: datetime) -> float | None:
    if not _NUMBER.fullmatch(value):
        date = _date(value)
        return None if date is None else (date - reference).total_seconds()
    number = float(value)
    return number - reference.timestamp() if number >= _EPOCH else number


def _date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
