"""The machine's clocks, and clocks made of them."""

from datetime import UTC, datetime

from pombo.shared.clock import Clock, SystemClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Stopped(SystemClock):
    """The machine's clocks, both of them stopped."""

    def now(self) -> datetime:
        return NOON

    def monotonic(self) -> float:
        return 7.0


def test_a_clock_made_of_the_machines_keeps_its_own_time() -> None:
    """What a subclass says is heard: wrong clocks, and the simulator's, are made that way."""
    clock: Clock = Stopped()
    assert (NOON, 7.0) == (clock.now(), clock.monotonic())


def test_the_machines_clocks() -> None:
    """The one is in UTC, the other does not run backwards."""
    clock: Clock = SystemClock()
    before, moment = clock.monotonic(), clock.now()
    assert UTC is moment.tzinfo
    assert before <= clock.monotonic()
