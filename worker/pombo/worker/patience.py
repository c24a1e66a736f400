"""What is done about events whose request failed: go on, look closer, or give up."""

from dataclasses import dataclass
from enum import Enum

SPLIT_AFTER = 5
"""Failures of a request after which it is split, in an outage too: that kills nothing, and costs a few requests."""
POISON_AFTER = 10
"""Failures of an event alone, while others succeed, after which it is dead."""
LONE_AFTER = 50
"""Failures in a row of an event alone, others having succeeded and nothing else being tried, after which it is dead.

They take three minutes. Of requests to a Segment that fails nine of ten, one in 200 fails as often.
"""
SEGMENT_WINDOW_MS = 24 * 3600 * 1000
"""Segment drops repeated messageIds for at least this long; beyond it another send could count twice."""


class Decision(Enum):
    """What to do with a failing chunk."""

    RETRY = "retry"
    SPLIT = "split"
    POISON = "poison"
    EXPIRED = "expired"
    OUTCOME_UNKNOWN = "outcome_unknown"


@dataclass(slots=True)
class Failures:
    """How a chunk has failed so far.

    `since` is when it first did, or what it is a piece of (ms of Redis' clock, 0: never); `total` counts all failures
    of its own, `well` those while the source's breaker was closed, `lone` those in a row as the trial of the open one,
    with nobody else's between them.
    """

    since: int = 0
    total: int = 0
    well: int = 0
    lone: int = 0

    def add(self, now: int, *, broken: bool) -> None:
        """Count one more; `broken`: it leaves, or finds, the breaker open."""
        self.since = self.since or now
        self.total += 1
        self.well += not broken
        self.lone = self.lone + 1 if broken else 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failing chunk: all times in ms of Redis' clock, 0 for none.

    `piece` says that it was split off a failing request. `failing_since` and `unknown_since` are the earliest of its
    parts; a shut gate may have set `failing_since` back. `witness` is when the source's request was sent that was
    accepted last, whichever worker's.
    """

    events: int
    failures: Failures
    piece: bool
    failing_since: int
    unknown_since: int
    witness: int
    now: int


def decide(trouble: Trouble, max_age_s: float) -> Decision:
    """Judge a chunk after a failure that may pass.

    Events are only blamed alone, and before `max_age_s` only when something else was accepted since they first failed:
    an outage fails everyone alike and kills nothing.
    """
    if outcome_lost(trouble.unknown_since, trouble.now):
        return Decision.OUTCOME_UNKNOWN
    aged = trouble.failing_since > 0 and trouble.now - trouble.failing_since >= max_age_s * 1000
    if trouble.events > 1:
        enough = trouble.piece or trouble.failures.total >= SPLIT_AFTER
        return Decision.SPLIT if enough or aged else Decision.RETRY
    if aged:
        return Decision.EXPIRED
    return Decision.POISON if _blamed(trouble) else Decision.RETRY


def _blamed(trouble: Trouble) -> bool:
    since = min((at for at in (trouble.failing_since, trouble.failures.since) if at), default=0)
    if not since or trouble.witness <= since:
        return False
    return trouble.failures.well >= POISON_AFTER or trouble.failures.lone >= LONE_AFTER


def outcome_lost(unknown_since: int, now: int) -> bool:
    """Whether sending again could count twice, because Segment no longer knows the messageId."""
    return unknown_since > 0 and now - unknown_since >= SEGMENT_WINDOW_MS
