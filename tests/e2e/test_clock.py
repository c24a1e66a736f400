"""Wall clocks that jump an hour ahead and back: of workers and bots, and of Redis."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from pombo.ops.serverbinary import find_program
from support.installation import Bot, Installation, until
from support.oracle import seconds
from support.results import record
from support.wrongclock import HOUR_S, WrongClock

Say = Callable[[str], None]

KEY = "j" * 32
SECTION = "The machine"
JUMPS_S = (HOUR_S, -HOUR_S, 0)
RESUMED_S = 5.0
LATE_S = 2.0
WARM = 200
BUDGET_S = 10.0
HOLD_S = 20


def delivered(here: Installation, more: int) -> float:
    """Wait until so many more events are delivered; seconds that took."""
    begun = time.monotonic()
    goal = here.ledger("bot")["delivered"] + more
    until(lambda: here.ledger("bot")["delivered"] >= goal, "a steady flow", poll_s=0.005)
    return time.monotonic() - begun


def jump(here: Installation, clock: WrongClock, bots: Sequence[Bot]) -> float:
    """Let the clock jump ahead, back and right again; the longest that anything then took to flow (s)."""
    longest = 0.0
    for ahead_s in JUMPS_S:
        clock.set(ahead_s)
        issued = [len(bot.issued()) for bot in bots]
        longest = max(longest, delivered(here, 1))
        begun = time.monotonic()
        until(lambda: all(len(b.issued()) > n for b, n in zip(bots, issued, strict=True)), "receipts")  # noqa: B023
        longest = max(longest, time.monotonic() - begun)
        delivered(here, WARM)
        here.audit()
    return longest


@pytest.mark.e2e
def test_clock_of_workers_and_bots(installation: Installation, say: Say, tmp_path: Path) -> None:
    """Nobody waits for a time of day: all goes on, and Segment is told Redis' time."""
    here = installation
    clock = WrongClock(tmp_path)
    here.add("bot", KEY)
    here.set_env(**clock.env)
    here.workers(2)
    bots = [
        here.stream("bot", name, *more, users=30, rate=100, budget_s=BUDGET_S)
        for name, *more in (("a",), ("b", "--asyncio"))
    ]
    delivered(here, WARM)
    clock.set(HOUR_S)
    until(lambda: any(_is_wrong(bot) for bot in bots), "a bot that tells the wrong time")
    longest = jump(here, clock, bots)
    logs = [bot.stop() for bot in bots]
    here.drained("bot")

    findings = here.judge("bot", logs)
    seen = f"an hour ahead, back, and right again: nothing stood still for more than {longest:.1f} s"
    say(f"clock of workers and bots {seen}; {findings}")
    record(SECTION, "clock of workers and bots jumps an hour", seen, runs=len(JUMPS_S), findings=findings)
    findings.assert_sound()
    here.audit()
    assert not findings.explained
    assert {"accepted"} == {one.outcome for log in logs for one in log}
    assert longest <= LATE_S


def _is_wrong(bot: Bot) -> bool:
    """Whether its last receipt is of a time that has not come yet."""
    return any(one.at > time.time() + HOUR_S / 2 for one in bot.issued()[-1:])


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    """The clock of the server."""
    return WrongClock(tmp_path)


@pytest.fixture
def misled(tmp_path: Path, clock: WrongClock) -> Iterator[Installation]:
    """An installation whose Redis has that clock."""
    with Installation(tmp_path, server_bin=clock.server(find_program().path)) as made:
        yield made


@pytest.mark.e2e
def test_clock_of_redis(misled: Installation, clock: WrongClock, say: Say) -> None:
    """Appends, claims, holds and leases go on, whatever time Redis takes it to be."""
    here = misled
    here.add("bot", KEY)
    here.workers(2)
    bots = [here.stream("bot", name, users=30, rate=100, budget_s=BUDGET_S) for name in ("a", "b")]
    delivered(here, WARM)
    clock.set(HOUR_S)
    until(lambda: here.redis.time()[0] > time.time() + HOUR_S / 2, "a Redis that is an hour ahead")
    longest = jump(here, clock, bots)
    logs = [bot.stop() for bot in bots]
    here.drained("bot")

    findings = here.judge("bot", logs)
    seen = f"an hour ahead, back, and right again: nothing stood still for more than {longest:.1f} s"
    say(f"clock of Redis {seen}; {findings}")
    record(SECTION, "clock of Redis jumps an hour", seen, runs=len(JUMPS_S), findings=findings)
    findings.assert_sound()
    here.audit()
    assert not findings.explained
    assert {"accepted"} == {one.outcome for log in logs for one in log}
    assert longest <= LATE_S


@pytest.mark.e2e
def test_clock_of_redis_goes_back_during_a_hold(misled: Installation, clock: WrongClock, say: Say) -> None:
    """A hold of seconds does not become one of an hour: it ends, and Segment is asked again."""
    here = misled
    here.add("bot", KEY, rate=1_000)
    here.workers(2)
    bot = here.stream("bot", "a", users=30, rate=100)
    delivered(here, WARM)
    here.segment.set_plan([{"answer": {"status": 429, "headers": {"Retry-After": HOLD_S}}, "times": 1}])
    until(lambda: here.state("bot") == "held", "hold")
    clock.set(-HOUR_S)
    until(lambda: here.redis.time()[0] < time.time() - HOUR_S / 2, "a Redis that is an hour behind", poll_s=0.005)
    back = time.time()
    lasted = delivered(here, WARM)
    log = bot.stop()
    here.drained("bot")

    findings = here.judge("bot", [log])
    first = min(at - back for row in here.segment.requests() if (at := seconds(row["at"])) > back)
    seen = f"the hold of {HOLD_S} s ended {first:.1f} s later, not after an hour"
    say(f"clock of Redis goes back an hour during a hold: {seen}, {WARM} events after {lasted:.1f} s; {findings}")
    record(SECTION, "clock of Redis goes back an hour during a hold", seen, findings=findings, ended_s=round(first, 1))
    findings.assert_sound()
    here.audit()
    assert first <= HOLD_S + RESUMED_S
