"""What happens with a rejection beside the receipt: the callback, a log line, a counter."""

import logging
import re
from collections.abc import Callable
from typing import Any

import orjson
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)

from pombo.producer.buffer import Pending
from pombo.producer.calls import Event
from pombo.producer.metrics import Metrics
from pombo.producer.receipts import Reason, Rejected
from pombo.shared.clock import Clock

OnRejected = Callable[[Rejected, Any], object]

logger = logging.getLogger("pombo.producer")

LOG_EVERY_S = 10.0
"""Seconds between two log lines of one reason; the later line says how many came between."""

# What a server's refusal is told by: its class, or words, as scripts wrap the codes; and what to do.
_REMEDIES: tuple[tuple[tuple[type[RedisError], ...], str, str], ...] = (
    (
        (AuthenticationError,),
        r"NOAUTH|WRONGPASS",
        "put the right user and password into POMBO_REDIS_URL",
    ),
    ((NoPermissionError,), r"NOPERM", "let its administrator widen this user's ACL"),
    ((ReadOnlyError,), r"READONLY", "it is a replica: point POMBO_REDIS_URL to the primary"),
    ((OutOfMemoryError,), r"\bOOM\b", "it is full: let workers drain it, or raise its maxmemory"),
    ((), r"MISCONF", "it cannot save to its disk: make room there"),
)


def remedy(error: BaseException | None) -> str:
    """What to do about a failed write, in a few words."""
    for kinds, pattern, advice in _REMEDIES:
        if isinstance(error, kinds) or re.search(pattern, str(error)):
            return advice
    return "see `pombo status`"


def _identity(rejected: Rejected) -> str:
    """The messageId for a log line: one that was refused may hold anything, and none begins a line of its own."""
    message_id = rejected.message_id
    if not message_id or rejected.field == "messageId":
        return "without id"
    return message_id if message_id.isprintable() else ascii(message_id)


class Rejections:
    """Report each rejection of one source once."""

    def __init__(self, source: str, on_rejected: OnRejected | None, metrics: Metrics, clock: Clock) -> None:
        self._source = source
        self._on_rejected = on_rejected
        self._metrics = metrics
        self._clock = clock
        self._logged_at: dict[Reason, float] = {}
        self._silent: dict[Reason, int] = {}

    def report(self, rejected: Rejected, event: "Event | Pending") -> None:
        """Count and log a rejection, and hand it to `on_rejected` with the event.

        An event that was sound is handed over as it was to be sent, with its messageId and timestamp; any
        other as the bot gave it. What `on_rejected` raises is logged.
        """
        self._metrics.rejected(self._source, rejected.reason)
        self._log(rejected)
        if self._on_rejected is None:
            return
        try:
            self._on_rejected(rejected, orjson.loads(event.body) if isinstance(event, Pending) else event)
        except Exception:
            logger.exception("on_rejected of source %s failed; the rejection stays in the receipt", self._source)

    def _log(self, rejected: Rejected) -> None:
        reason = rejected.reason
        now = self._clock.monotonic()
        if now - self._logged_at.get(reason, -LOG_EVERY_S) < LOG_EVERY_S:
            self._silent[reason] = self._silent.get(reason, 0) + 1
            return
        self._logged_at[reason] = now
        silent = self._silent.pop(reason, 0)
        more = f" (and {silent} more since the last line)" if silent else ""
        logger.warning(
            "event %s of source %s rejected: %s%s",
            _identity(rejected),
            self._source,
            rejected,
            more,
        )

    def close(self) -> None:
        """Log what the rate limit kept back."""
        for reason, silent in self._silent.items():
            logger.warning("%d more events of source %s rejected: %s", silent, self._source, reason)
        self._silent.clear()
