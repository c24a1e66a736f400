"""Four workers come and go at random under load: told to end, killed with -9, stopped and let go on."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from support.installation import Child, Installation, until
from support.results import record

Say = Callable[[str], None]

LASTS_S = float(os.environ.get("POMBO_FLEET_S", "120"))
SEED = int(os.environ.get("POMBO_FLEET_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WORKERS = 4
PARTITIONS = 8
SAMPLE_S = 0.1
UNOWNED_S = 15.0
"""Nobody may be missing for a partition for longer."""
SETTLED_S = {"came": 5.0, "left": 5.0, "went on": 5.0, "killed": 13.0, "stopped": 13.0}
"""After so many seconds a change of the fleet is over: 8 s of silence before a takeover, a few beats for the rest."""
SLOW = {"answer": {"delay_s": 0.05}}
"""Segment takes its time, so that changes meet requests."""


@dataclass
class Member:
    """A worker process: what was done to it, and when it is to go on."""

    child: Child
    worker_id: str = ""
    leaving: bool = False
    goes_on_at: float = 0.0

    @property
    def runs(self) -> bool:
        """Whether it lives, is not stopped, and has not been told to end."""
        return self.child.lives and not self.leaving and not self.goes_on_at

    @property
    def belongs(self) -> bool:
        """Whether it has its share of the partitions: it runs, and has shown itself."""
        return self.runs and bool(self.worker_id)


@dataclass
class Churn:
    """Do things to workers, and look at the leases ten times a second.

    A partition is unowned while its lease is nobody's, or that of a process that is dead or stopped. The fleet is
    balanced when those that belong to it hold all partitions, and none of them two more than another; it has to be
    at every look that is not within `SETTLED_S` of a change.
    """

    installation: Installation
    rng: random.Random
    members: list[Member] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    moments: list[float] = field(default_factory=list)
    """The wall clock (s) at each end or stop that may have cut off a request."""
    longest_unowned: float = 0.0
    looks: int = 0
    settled_looks: int = 0
    unbalanced: list[str] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    """By kind of change, the seconds until the fleet was balanced, of those that nothing else came across."""
    _free: dict[int, float] = field(default_factory=dict)
    _settled_at: float = 0.0
    _last: tuple[str, float] = ("came", 0.0)
    _alone: bool = False
    _next: float = 0.0

    def start(self) -> None:
        """Start one more worker."""
        self.members.append(Member(self.installation.worker()))

    def settles(self) -> bool:
        """Whether all belong, and the last of them has had its time."""
        self.look()
        return all(member.belongs for member in self.members) and time.monotonic() > self._settled_at

    def run(self, seconds: float) -> None:
        """Go on for so long, then let all go on that are stopped."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.look()
            if time.monotonic() >= self._next:
                self.act()
            time.sleep(SAMPLE_S)
        for member in self.members:
            self._let_go_on(member)

    # -- what is done -------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Do one thing at random; often wait until it has settled before the next."""
        running = [member for member in self.members if member.belongs]
        absent = WORKERS - sum(member.child.lives and not member.leaving for member in self.members)
        deeds = [self.start] * (3 * absent)
        if len(running) > 1:
            victim = self.rng.choice(running)
            deeds += [lambda: self._end(victim), lambda: self._kill(victim), lambda: self._stop(victim)]
        if deeds:
            self.rng.choice(deeds)()
        calm = max(SETTLED_S.values()) + self.rng.uniform(1, 4)
        self._next = time.monotonic() + self.rng.choice([self.rng.uniform(1, 5), calm])

    def _end(self, member: Member) -> None:
        member.leaving = True
        member.child.ask_to_end()
        self._change("left")

    def _kill(self, member: Member) -> None:
        self.moments.append(member.child.kill())
        self._change("killed")

    def _stop(self, member: Member) -> None:
        self.moments.append(time.time())
        member.child.process.send_signal(signal.SIGSTOP)
        member.goes_on_at = time.monotonic() + self.rng.choice([self.rng.uniform(1, 7), self.rng.uniform(9, 20)])
        self._change("stopped")

    def _let_go_on(self, member: Member) -> None:
        if member.goes_on_at:
            member.child.process.send_signal(signal.SIGCONT)
            member.goes_on_at = 0.0
            self._change("went on")

    def _change(self, kind: str) -> None:
        now = time.monotonic()
        self.changes[kind] += 1
        # A change in the middle of another one cannot be timed by itself.
        self._alone = now >= self._settled_at
        self._last = kind, now
        self._settled_at = max(self._settled_at, now + SETTLED_S[kind])

    # -- what is seen -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Take one sample."""
        now = time.monotonic()
        for member in self.members:
            if member.goes_on_at and now >= member.goes_on_at:
                self._let_go_on(member)
        owners = self._owners()
        self._look_for_newcomers()
        running = {member.worker_id for member in self.members if member.child.lives and not member.goes_on_at}
        self._look_for_gaps(owners, running, now)
        self._look_for_balance(owners, now)

    def _owners(self) -> dict[int, str]:
        return self.installation.owners("bot", PARTITIONS)

    def _look_for_newcomers(self) -> None:
        new = {member.child.pid: member for member in self.members if member.runs and not member.worker_id}
        if not new:
            return
        stored: Any = self.installation.redis.hgetall(self.installation.keys.workers)
        for worker, text in stored.items():
            member = new.get(orjson.loads(text)["pid"])
            if member is not None:
                member.worker_id = worker.decode()
                self._change("came")

    def _look_for_gaps(self, owners: dict[int, str], running: set[str], now: float) -> None:
        orphans = [partition for partition in range(PARTITIONS) if owners.get(partition) not in running]
        self._free = {partition: self._free.get(partition, now) for partition in orphans}
        self.longest_unowned = max([self.longest_unowned, *(now - since for since in self._free.values())])

    def _look_for_balance(self, owners: dict[int, str], now: float) -> None:
        held = Counter(owners.values())
        shares = {member.worker_id: held[member.worker_id] for member in self.members if member.belongs}
        counts = shares.values()
        balanced = sum(counts) == PARTITIONS and max(counts) - min(counts) <= 1
        self.looks += 1
        if now >= self._settled_at:
            self.settled_looks += 1
            if not balanced:
                kind, at = self._last
                self.unbalanced.append(f"{now - at:.1f} s after one {kind}: {sorted(counts)} of {sorted(owners)}")
        kind, at = self._last
        if balanced and self._alone:
            self.slowest[kind] = max(self.slowest.get(kind, 0.0), now - at)
            self._alone = False


@pytest.mark.e2e
@pytest.mark.timeout(400)
def test_workers_come_and_go_at_random(installation: Installation, say: Say) -> None:
    """Partitions are shared evenly and soon, nobody is missing for long, nothing is lost, late or out of order."""
    installation.add("bot", "f" * 32, partitions=PARTITIONS)
    installation.segment.set_plan([SLOW])
    churn = Churn(installation, random.Random(SEED))
    for _ in range(WORKERS):
        churn.start()
    bots = [installation.stream("bot", name, users=60, rate=75) for name in ("a", "b")]
    until(churn.settles, "four workers that share")
    churn.run(LASTS_S)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")

    findings = installation.judge("bot", logs, kills=churn.moments)
    slowest = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in sorted(churn.slowest.items()))
    say(
        f"seed {SEED}, {LASTS_S:.0f} s, {dict(churn.changes)}: {findings}; a partition was nobody's for "
        f"{churn.longest_unowned:.1f} s at most; balanced again after {slowest} at worst; "
        f"{churn.settled_looks} of {churn.looks} looks at a settled fleet, {len(churn.unbalanced)} of them uneven"
    )
    record(
        "Our processes", "four workers come and go at random: ended, killed -9, stopped",
        f"a partition was nobody's for {churn.longest_unowned:.1f} s at most", runs=churn.changes.total(),
        findings=findings, unowned_worst_s=round(churn.longest_unowned, 1),
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert UNOWNED_S >= churn.longest_unowned
    assert [] == churn.unbalanced
    assert churn.settled_looks >= churn.looks / 10
