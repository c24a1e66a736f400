"""The pace of a job: how much it does at once, and when it may do more."""

from collections import deque
from collections.abc import Callable

from pombo.shared.clock import Clock

PAGE = 500
"""Letters handled in one step at most."""
STEP_S = 0.5
"""Seconds' worth of a throttled job's letters that one step handles at most."""
SPAN_S = 10.0
"""Over which the speed of progress is measured."""
_LATE_S = 0.05
"""By how much a step may be late and the next still keep to the plan: what timers are late by."""
LOOK_S = 0.5
"""Between two looks, while waiting, whether the job is to stop."""


def page_size(rate: float | None) -> int:
    """Letters handled in one step of a job that may handle `rate` a second; None is as fast as it can."""
    return PAGE if rate is None else max(1, min(PAGE, int(rate * STEP_S)))


class Pace:
    """Let a job do at most `rate` letters a second, evenly: in no second more than that and one page.

    What was missed while the job was slow, or away, is not made up for: a job that goes on after it was cut off
    first waits for as long as the page takes that it may have done just before, or for what it is known to owe.

    Args:
        rate: letters a second; None is no throttle.
        clock: its monotonic time is what counts.
        resumed: whether the job did something in an earlier run.
        owed_s: seconds until the first step may begin, where that is known; a clock may be wrong, so no more than a
            step's worth counts.
        look: called while waiting, with the seconds that are left; what it raises ends the wait.
    """

    def __init__(
        self, rate: float | None, clock: Clock, *, resumed: bool = False, owed_s: float | None = None,
        look: Callable[[float], None] = lambda left: None,
    ) -> None:  # fmt: skip
        self.size = page_size(rate)
        self._rate = rate
        self._clock = clock
        self._look = look
        step_s = self.size / rate if rate and resumed else 0
        self._free_at = clock.monotonic() + (step_s if owed_s is None else max(0, min(step_s, owed_s)))
        self._steps: deque[tuple[float, int]] = deque([(clock.monotonic(), 0)])

    async def turn(self) -> None:
        """Wait until the next step may begin."""
        while self._rate and (left := self._free_at - self._clock.monotonic()) > 0:
            self._look(left)
            await self._clock.sleep(min(left, LOOK_S))
        self._free_at = max(self._free_at, self._clock.monotonic() - _LATE_S)

    def spent(self, letters: int) -> None:
        """Say how much the step handled that began with `turn`."""
        if self._rate:
            self._free_at += letters / self._rate
        now = self._clock.monotonic()
        self._steps.append((now, letters))
        while now - self._steps[0][0] > SPAN_S and len(self._steps) > 2:
            self._steps.popleft()

    @property
    def speed(self) -> float | None:
        """Letters a second over the last `SPAN_S` seconds; None while unknown."""
        since = self._clock.monotonic() - self._steps[0][0]
        letters = sum(letters for _, letters in list(self._steps)[1:])
        return round(letters / since, 1) if since > 0 and letters else None
