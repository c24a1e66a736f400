"""The seam through which time comes in."""

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

# CLOCK_BOOTTIME also counts a suspended machine's time, so a lease cannot outlive a closed laptop lid.
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def moment(milliseconds: int) -> datetime:
    """The instant that Redis' clock shows as `milliseconds`, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def iso(instant: datetime) -> str:
    """An instant in ISO 8601, UTC, to the millisecond."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Clock(Protocol):
    """Tell wall-clock and monotonic time, and wait."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards and go on while the process is stopped."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The machine's own clocks; made of built-in functions alone, as each event of a bot asks both."""

    # Of the class: set on each clock they would hide what a subclass puts in their place.
    now = staticmethod(partial(datetime.now, UTC))
    monotonic = staticmethod(time.monotonic if _BOOTTIME is None else partial(time.clock_gettime, _BOOTTIME))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
