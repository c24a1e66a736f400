"""Clocks that go wrong: what a client's clock is off by, told by its `sentAt`.

Segment computes `timestamp = receivedAt - (sentAt - timestamp)`. It would do so with the worker's `sentAt`, which is
that of another clock and another time, so the gateway does it when it receives the event.
"""

from datetime import datetime, timedelta

from pombo.shared.values import instant

TOLERANCE = timedelta(seconds=1)
"""A shorter difference is the way's rather than the clock's: the timestamp stays as the client gave it, and is the
same one at each repeat."""


def skew(sent_at: object, received_at: datetime) -> timedelta | None:
    """By how much the client's clock is behind ours; None when it does not tell, or not by more than `TOLERANCE`."""
    if not isinstance(sent_at, str):
        return None
    try:
        difference = received_at - instant(sent_at)
    except (ValueError, OverflowError):
        return None
    return None if abs(difference) <= TOLERANCE else difference


def corrected(timestamp: object, difference: timedelta) -> object:
    """A client's timestamp by our clock; whatever is none stays for the check of the event to name."""
    if not isinstance(timestamp, str):
        return timestamp
    try:
        return instant(timestamp) + difference
    except (ValueError, OverflowError):
        return timestamp
