import time

from pombo.shared.clock import SystemClock


class WitnessClock(SystemClock):
    """The machine's clocks, with the monotonic one that other programs read by `time.monotonic()`.

    What tests measure against the simulator's requests must not be off by the time that a machine slept.
    """

    def monotonic(self) -> float:
        """Return `time.monotonic()`, in seconds."""
        return time.monotonic()
