"""What is done about events whose request failed: go on, look closer, or give up."""

from dataclasses import dataclass
from enum import Enum

SPLIT_AFTER = 5
"""Failures of a request, while others of its source succeed, after which it is bisected."""
POISON_AFTER = 10
"""Failures of an event alone, while others succeed, after which it is dead."""
SEGMENT_WINDOW_MS = 24 * 3600 * 1000
"""Segment drops repeated messageIds for at least this long; beyond it another send could count twice."""


class Decision(Enum):
    """What to do with a failing chunk."""

    RETRY = "retry"
    SPLIT = "split"
    POISON = "poison"
    EXPIRED = "expired"
    OUTCOME_UNKNOWN = "outcome_unknown"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failing chunk: all times in ms of Redis' clock, 0 for none.

    `failing_since` and `unknown_since` are the earliest of its parts; `failed_at` is when the first of its `failures`
    was, before which a shut gate may have set `failing_since` back; `last_success` is when the source's latest request
    was accepted, by any worker.
    """

    events: int
    failures: int
    poison: bool
    failing_since: int
    unknown_since: int
    last_success: int
    now: int
    failed_at: int = 0


def decide(trouble: Trouble, max_age_s: float) -> Decision:
    """Judge a chunk after a failure that may pass.

    An event is only blamed when its source is well: an outage fails everyone alike and kills nothing before
    `max_age_s`.
    """
    if outcome_lost(trouble.unknown_since, trouble.now):
        return Decision.OUTCOME_UNKNOWN
    if trouble.failing_since and trouble.now - trouble.failing_since >= max_age_s * 1000:
        return Decision.EXPIRED
    since = min((at for at in (trouble.failing_since, trouble.failed_at) if at), default=0)
    if not since or trouble.last_success <= since:
        return Decision.RETRY
    if trouble.events == 1:
        return Decision.POISON if trouble.failures >= POISON_AFTER else Decision.RETRY
    return Decision.SPLIT if trouble.poison or trouble.failures >= SPLIT_AFTER else Decision.RETRY


def outcome_lost(unknown_since: int, now: int) -> bool:
    """Whether sending again could count twice, because Segment no longer knows the messageId."""
    return unknown_since > 0 and now - unknown_since >= SEGMENT_WINDOW_MS
