from itertools import pairwise

import pytest

from pombo.ops.demo.bots import BAD_IDS
from pombo.ops.demo.faults import CYCLE_S, SCRIPT, due, refusal
from pombo.ops.demo.kills import Kills
from pombo.ops.demo.run import UNATTENDED_S
from pombo.ops.simulator import Simulator


def test_each_fault_is_due_once_a_cycle() -> None:
    """However the time is cut, every fault of the script strikes once, in order, and again a cycle later."""
    moments = [number * 0.7 for number in range(int(2 * CYCLE_S / 0.7) + 1)]
    struck = [fault for before, now in pairwise(moments) for fault in due(before, now)]

    assert [*SCRIPT, *SCRIPT] == struck


@pytest.mark.parametrize(("before", "now"), [(0.0, 0.0), (0.0, SCRIPT[0].at - 0.1), (SCRIPT[0].at, SCRIPT[0].at)])
def test_nothing_is_due_before_its_time(before: float, now: float) -> None:
    """A fault is due at its time, and not again at the next look."""
    assert [] == due(before, now)


def test_a_long_pause_misses_nothing() -> None:
    """A look that comes late finds all that was due, over the end of a cycle too."""
    assert [*SCRIPT[1:], SCRIPT[0]] == due(SCRIPT[0].at, CYCLE_S + SCRIPT[0].at)


def test_the_whole_script_strikes_unattended() -> None:
    """A demo without a terminal is long enough for every fault, and has a kill among them."""
    assert SCRIPT[-1].at < UNATTENDED_S
    assert "kill" in {fault.action for fault in SCRIPT}


async def test_the_simulator_takes_every_rule() -> None:
    """Each rule of the script is one that the simulator knows."""
    async with Simulator(port=0) as simulator:
        for fault in SCRIPT:
            simulator.set_plan([*([fault.rule] if fault.rule else []), refusal(BAD_IDS)])


def test_a_kill_is_over_when_its_partitions_are_held() -> None:
    """A killed worker is waited for until it holds nothing; then the wait is known."""
    kills = Kills()
    assert "No worker was killed." == kills.describe()
    kills.note("w1", 10.0)
    assert [] == kills.look({"w1", "w2"}, 12.0)
    assert "1 killed with -9, and not all partitions found another worker." == kills.describe()

    assert [8.5] == kills.look({"w2"}, 18.5)
    assert [] == kills.look({"w2"}, 19.0)
    assert "A worker was killed with -9; others served its partitions 8.5 s later." == kills.describe()


def test_several_kills_tell_the_longest_wait() -> None:
    """Of several kills the longest wait is told."""
    kills = Kills()
    for worker, at in (("w1", 0.0), ("w2", 60.0)):
        kills.note(worker, at)
        kills.look(set(), at + 9 - at / 60)

    told = "2 times a worker was killed with -9; others served its partitions 9.0 s later at most."
    assert told == kills.describe()
