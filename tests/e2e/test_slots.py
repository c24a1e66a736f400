"""A cluster in turmoil: slots move at random and primaries die, while bots and workers go on."""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.crc import key_slot
from redis.exceptions import RedisError

from support import servers
from support.installation import Bot, Installation, until
from support.losses import acknowledge, forgotten_by_audit, named
from support.oracle import ACCEPTED
from support.replicated import Replicated
from support.results import record
from support.servers import DURABLE

Say = Callable[[str], None]

LASTS_S = float(os.environ.get("POMBO_CHAOS_S", "300"))
SEED = int(os.environ.get("POMBO_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
RATE, USERS = 200.0, 30
STEADY = 200
"""Deliveries between two deeds."""
LAG_S = 1.0
"""A replica may lack what was accepted so long before its primary died."""
SLOW = {"answer": {"delay_s": 0.05}}
TAGS = (b"{bot}", b"{@registry}", b"{@fleet}")


@dataclass
class Turmoil:
    """Move a slot, or kill a primary, and see that all flows again, until the time is over."""

    here: Installation
    shape: Replicated
    rng: random.Random
    bots: list[Bot]
    deeds: Counter[str] = field(default_factory=Counter)
    deaths: list[tuple[float, float]] = field(default_factory=list)
    """The wall clock (s) at each kill, and when another had taken the place."""
    longest_s: float = 0.0
    """From a deed's end until every bot had something accepted, and events were delivered."""

    def run(self, seconds: float) -> None:
        """Go on for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.rng.choice([self._move, self._move, self._move, self._kill])()
            self._flows()

    def _move(self) -> None:
        slot = key_slot(self.rng.choice(TAGS))
        target = self.rng.choice([server for server in self.shape.holders() if server is not self.shape.owner(slot)])
        self.shape.begin_move(slot, target)
        lot = self.rng.choice((1, 5, 50))
        while self.shape.move_keys(slot, target, lot):
            if self.rng.random() < 0.2:
                time.sleep(self.rng.uniform(0, 0.3))
        self.shape.end_move(slot, target)
        self.deeds["moves"] += 1

    def _kill(self) -> None:
        slot = key_slot(self.rng.choice(TAGS))
        victim, at = self.shape.owner(slot), time.time()
        victim.kill()
        until(lambda: self.shape.owner(slot) is not victim, "promotion of a replica")
        self.deaths.append((at, time.time()))
        victim.restart()
        until(self.shape.whole, "whole cluster")
        self.deeds["deaths"] += 1

    def _flows(self) -> None:
        begun, goal = time.time(), self._delivered() + STEADY
        until(lambda: all(accepted_since(bot, begun) for bot in self.bots), "events accepted")
        until(lambda: self._delivered() > goal, "events delivered")
        self.longest_s = max(self.longest_s, time.time() - begun)

    def _delivered(self) -> int:
        with suppress(RedisError):
            return self.here.ledger("bot")["delivered"]
        return 0


def accepted_since(bot: Bot, moment: float) -> bool:
    """Whether the bot has had something accepted since."""
    return any(one.at > moment and one.outcome in ACCEPTED for one in bot.issued())


@pytest.mark.e2e
@pytest.mark.chaos_long
@pytest.mark.timeout(LASTS_S + 300)
def test_slots_move_and_primaries_die(tmp_path: Path, say: Say) -> None:
    """Lost is only what a replica may have lacked; nothing is out of order, nothing is restarted by hand."""
    with servers.nodes(Replicated, DURABLE) as shape, Installation(tmp_path, shape) as here:
        _turmoil(here, shape, say)


def _turmoil(here: Installation, shape: Replicated, say: Say) -> None:
    here.add("bot", "t" * 32)
    here.segment.set_plan([SLOW])
    workers = here.workers(2)
    bots = [here.stream("bot", name, users=USERS, rate=RATE, budget_s=30) for name in ("a", "b")]
    turmoil = Turmoil(here, shape, random.Random(SEED), bots)
    turmoil.run(LASTS_S)
    logs = [bot.stop() for bot in bots]
    here.drained("bot")

    findings = here.judge("bot", logs, forgotten=[(at - LAG_S, over) for at, over in turmoil.deaths])
    told = named(here, sure=False)
    moves, deaths = turmoil.deeds["moves"], turmoil.deeds["deaths"]
    seen = (
        f"lost {len(findings.lost)}, which no replica had; flowing again after {turmoil.longest_s:.1f} s at worst; "
        f"`audit`: {'; '.join(told) or 'balanced'}"
    )
    say(f"seed {SEED}, {moves} slots moved, {deaths} times a primary killed: {seen}; {findings}")
    record(
        "Redis", "cluster: slots move and primaries die at random", seen, runs=moves + deaths, findings=findings,
        moves=moves, kills=deaths, back_worst_s=round(turmoil.longest_s, 1), forgotten_events=forgotten_by_audit(told),
    )  # fmt: skip
    at = {one.message_id: one.at for log in logs for one in log}
    spans = [(death - LAG_S, over) for death, over in turmoil.deaths]
    assert [] == [one for one in findings.lost if not any(begun < at[one] <= ended for begun, ended in spans)]
    assert not findings.faults.keys() - {"lost"}, {kind: ids[:5] for kind, ids in findings.faults.items()}
    assert {"accepted"} == {one.outcome for log in logs for one in log}
    assert all(worker.lives for worker in workers)
    acknowledge(here, told)
