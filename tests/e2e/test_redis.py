"""Redis killed with -9 and started again on the same folder, three times, while bots and workers go on."""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from support.installation import Bot, Installation, until
from support.oracle import ACCEPTED
from support.results import record

Say = Callable[[str], None]

KILLS = 3
RATE = 200.0
RECOVERED_S = 5.0
BETWEEN = 1_500
"""Deliveries before each kill."""
SLOW = {"answer": {"delay_s": 0.05}}
"""Segment takes its time, so that every kill meets requests."""


def _accepted_since(bot: Bot, moment: float) -> bool:
    return any(one.at > moment and one.outcome in ACCEPTED for one in bot.issued())


def _refused_since(bot: Bot, moment: float) -> bool:
    return any(one.at > moment and one.outcome not in ACCEPTED for one in bot.issued())


def _delivered(installation: Installation, goal: int) -> bool:
    return installation.ledger("bot")["delivered"] >= goal


def _recovered(installation: Installation, bots: list[Bot], moment: float, delivered: int) -> bool:
    """Whether every bot has had something accepted since, and something has been delivered."""
    return _delivered(installation, delivered + 1) and all(_accepted_since(bot, moment) for bot in bots)


@pytest.mark.e2e
def test_redis_killed_three_times(installation: Installation, say: Say) -> None:
    """Bots and workers come back by themselves, and whatever a receipt called accepted arrives once."""
    installation.add("bot", "s" * 32)
    installation.segment.set_plan([SLOW])
    workers = installation.workers(2)
    usual = installation.stream("bot", "usual", users=30, rate=RATE)
    patient = installation.stream("bot", "patient", users=30, rate=RATE, budget_s=20)

    kills: list[float] = []
    lasted: list[float] = []
    for number in range(KILLS):
        goal = installation.ledger("bot")["delivered"] + BETWEEN
        until(partial(_delivered, installation, goal), "a steady flow")
        kills.append(installation.kill_server())
        if number == 1:  # An outage longer than the usual budget.
            until(partial(_refused_since, usual, kills[-1]), "rejections")
        back = installation.restart_server()
        delivered = installation.ledger("bot")["delivered"]
        until(partial(_recovered, installation, [usual, patient], back, delivered), "recovery")
        lasted.append(time.time() - back)
    logs = [usual.stop(), patient.stop()]
    installation.drained("bot")

    findings = installation.judge("bot", logs, kills=kills)
    outcomes = Counter(one.outcome for one in logs[0])
    say(
        f"Redis killed {KILLS} times: {findings}; all well again after {', '.join(f'{s:.1f}' for s in lasted)} s; "
        f"a bot with a budget of 1 s: {dict(outcomes)}"
    )
    record(
        "Redis", "killed -9 and started again, bots without a spool",
        f"bots and workers at work again {max(lasted):.1f} s after its return at worst", runs=KILLS, findings=findings,
        recovered_worst_s=round(max(lasted), 1),
    )  # fmt: skip
    findings.assert_sound()
    assert max(lasted) <= RECOVERED_S
    installation.audit()
    assert all(worker.lives for worker in workers)
    assert {"accepted"} == {one.outcome for one in logs[1]}
    assert 0 < outcomes["unavailable"] + outcomes["unconfirmed"]
