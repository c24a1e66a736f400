"""Correct the senders' clocks: timestamp = receivedAt - (sentAt - originalTimestamp)."""

from datetime import UTC, datetime, timedelta

from pombo.ops.simulator.switches import Switches


def parse(value: object) -> datetime | None:
    """Read an ISO 8601 instant; one without a zone is taken as UTC, anything else gives None."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def iso(instant: datetime) -> str:
    """Write an instant in UTC with milliseconds and a `Z`, as Segment's own libraries do."""
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def correct(original: datetime | None, sent: datetime | None, received: datetime, switches: Switches) -> datetime:
    """Return the time that an event lands with; an event without a time of its own happened on receipt."""
    if original is None:
        return received
    if sent is None:
        return original if switches.absent_sent_at == "keep" else received
    return _shifted(original, received - sent)


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:
        return instant
