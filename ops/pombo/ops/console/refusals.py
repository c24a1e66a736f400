"""Refusals: logins that failed, as the trail of logins tells them; from where and how often, never with what.

Whoever reaches the console can fail. So an address has a line when it fails, and one more for all of the minute after
it; and all of them have so many lines an hour, beyond which they share one. Names are left out: who is in a hurry puts
the token there.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from pombo.shared.clock import Clock

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0
LINES: Final = 20
"""Of an hour: with `LOGINS_KEPT` the logins of four days are seen, whatever strangers do."""
ELSEWHERE: Final = "several"
"""The address of those that share a line."""

Note = Callable[[Mapping[str, Any]], Awaitable[object]]


class Refusals:
    """Count what failed, and note it.

    Args:
        note: writes a line with this detail.
        clock: monotonic time.
    """

    def __init__(self, note: Note, clock: Clock) -> None:
        self._note, self._clock = note, clock
        self._hour = self._minute = float("-inf")
        self._left = LINES
        self._more: dict[str, int] = {}
        """Of this minute, by address: how often it failed since its line."""
        self._elsewhere = 0

    async def add(self, address: str) -> None:
        """Note a login that failed."""
        now = self._clock.monotonic()
        if now - self._minute >= MINUTE_S:
            await self._sum_up()
            self._minute = now
        if now - self._hour >= HOUR_S:
            await self.flush()
            self._hour, self._left = now, LINES
        if address in self._more:
            self._more[address] += 1
        elif self._left > 0:
            self._more[address] = 0
            await self._line(address, 1)
        else:
            self._elsewhere += 1

    async def flush(self) -> None:
        """Write what was only counted: before somebody reads, and before the console ends."""
        await self._sum_up()
        if self._elsewhere:
            times, self._elsewhere = self._elsewhere, 0
            await self._note({"address": ELSEWHERE, "times": times})

    async def _sum_up(self) -> None:
        counted, self._more = self._more, {}
        for address, times in counted.items():
            if times and self._left > 0:
                await self._line(address, times)
            else:
                self._elsewhere += times

    async def _line(self, address: str, times: int) -> None:
        self._left -= 1
        await self._note({"address": address, "times": times})
