import pytest

from pombo.worker.jobs.pace import PAGE, Pace, page_size
from support.jobs import JumpingClock


@pytest.mark.parametrize(
    ("rate", "letters"), [(None, PAGE), (0.1, 1), (1, 1), (3, 1), (10, 5), (480, 240), (1000, 500), (1e6, 500)]
)
def test_a_page_is_what_half_a_second_allows(rate: float | None, letters: int) -> None:
    """Half a second's worth, one letter at least, and never more than fit into a step."""
    assert letters == page_size(rate)


async def begun(pace: Pace, clock: JumpingClock, steps: int, *, takes: float = 0.0) -> list[float]:
    """When steps of a whole page began, each of which takes so many seconds."""
    found = []
    for _ in range(steps):
        await pace.turn()
        found.append(round(clock.elapsed, 6))
        clock.elapsed += takes
        pace.spent(pace.size)
    return found


async def test_steps_are_even() -> None:
    """One after the other, as the rate allows; the time that a step takes is part of its share."""
    clock = JumpingClock()
    assert [0, 0.5, 1.0, 1.5] == await begun(Pace(10, clock), clock, 4, takes=0.2)


async def test_what_was_missed_is_not_made_up_for() -> None:
    """After a step that took too long, the next ones are as even as ever."""
    clock = JumpingClock()
    pace = Pace(10, clock)
    await begun(pace, clock, 1, takes=7)
    first, second, third = await begun(pace, clock, 3)
    assert 7 == first
    assert second - first == pytest.approx(0.5, abs=0.06)
    assert third - second == pytest.approx(0.5)


async def test_no_second_sees_more_than_the_rate_and_a_page() -> None:
    """However slow and uneven the steps are."""
    clock = JumpingClock()
    pace = Pace(1000, clock)
    moments: list[float] = []
    for takes in (0.0, 0.9, 0.49, 2.0, 0.0, 0.0, 0.51, 0.0, 3.0, 0.0, 0.0, 0.0):
        moments += await begun(pace, clock, 1, takes=takes)
    most = max(sum(pace.size for at in moments if start <= at < start + 1) for start in moments)
    assert most <= 1000 + pace.size


async def test_without_a_rate_nobody_waits() -> None:
    """A job without a throttle goes as fast as it can."""
    clock = JumpingClock()
    assert [0.0] * 5 == await begun(Pace(None, clock, resumed=True), clock, 5)


async def test_who_waits_can_be_called_off() -> None:
    """A slow job looks twice a second whether it is to stop."""
    clock = JumpingClock()

    def look(_: float) -> None:
        if clock.elapsed >= 3:
            raise InterruptedError

    pace = Pace(0.01, clock, look=look)
    await begun(pace, clock, 1)
    with pytest.raises(InterruptedError):
        await pace.turn()
    assert 3 == clock.elapsed


async def test_speed_is_that_of_the_last_seconds() -> None:
    """What is told is the present speed, not the mean since the beginning; unknown before the first step."""
    clock = JumpingClock()
    pace = Pace(None, clock)
    assert pace.speed is None
    for seconds in (100.0, *[1.0] * 20):
        clock.elapsed += seconds
        await pace.turn()
        pace.spent(500)
    assert pace.speed == 500


async def test_who_knows_what_it_owes_waits_for_that() -> None:
    """No more than for a step, as the clock that told it may be wrong, and not at all when that is past."""
    for owed_s, waits_s in ((3.0, 3.0), (99.0, 10.0), (-5.0, 0.0), (None, 10.0)):
        clock = JumpingClock()
        await Pace(0.1, clock, resumed=True, owed_s=owed_s).turn()
        assert waits_s == pytest.approx(clock.elapsed)
