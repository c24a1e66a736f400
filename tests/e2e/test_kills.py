"""Workers killed with -9 in the middle of their requests, ten in a row, while bots go on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import pytest

from support.installation import Child, Installation, until
from support.results import record

Say = Callable[[str], None]

KILLS = 10
WORKERS = 3
RECOVERED_S = 15.0
HANDED_OVER_S = 5.0
"""A partition of the living that moves to another worker is without one for less than this, whoever has died."""
SLOW = {"answer": {"delay_s": 0.25}}
"""Segment takes its time, so that every kill meets a request."""


@dataclass
class Death:
    """One kill: the partitions that nobody living holds yet, and the records that nobody has finished yet."""

    at: float
    orphaned: set[int]
    unfinished: dict[int, str]
    owned_after: float = 0.0
    finished_after: float = 0.0

    def look(self, owners: dict[int, str], records: dict[int, str], living: set[str]) -> None:
        """Note what has recovered by now."""
        age = time.time() - self.at
        back = {partition for partition in self.orphaned if owners.get(partition) in living}
        if back:
            self.orphaned -= back
            self.owned_after = age
        done = {partition for partition, record in self.unfinished.items() if records.get(partition) != record}
        if done:
            self.unfinished = {p: record for p, record in self.unfinished.items() if p not in done}
            self.finished_after = age

    @property
    def over(self) -> bool:
        return not self.orphaned and not self.unfinished


@dataclass
class Reaper:
    """Kill workers that have a request under way, one after the other recovered from, and watch how that goes.

    Each is replaced at once, as a supervisor would.
    """

    installation: Installation
    source: str
    workers: list[Child]
    deaths: list[Death] = field(default_factory=list)
    ids: dict[int, str] = field(default_factory=dict)
    longest_gap: float = 0.0
    """Seconds for which a partition was nobody's at most."""
    _free: dict[int, float] = field(default_factory=dict)

    def step(self) -> bool:
        """Look around, kill if it is time; whether all is over."""
        here = self.installation
        self.ids |= here.fleet()
        owners, records = here.owners(self.source), here.in_flight(self.source)
        living = {self.ids[child.pid]: child for child in self.workers if child.lives and child.pid in self.ids}
        self._look_for_gaps(owners)
        for death in self.deaths:
            death.look(owners, records, set(living))
        if len(self.deaths) == KILLS:
            return all(death.over for death in self.deaths)
        busy = [living[owner] for partition, owner in owners.items() if partition in records and owner in living]
        if busy and all(death.over for death in self.deaths):
            self._kill(busy[0], owners, records)
        return False

    def _look_for_gaps(self, owners: dict[int, str]) -> None:
        self._free = {p: self._free.get(p, time.time()) for p in range(8) if p not in owners}
        self.longest_gap = max([self.longest_gap, *(time.time() - since for since in self._free.values())])

    def _kill(self, victim: Child, owners: dict[int, str], records: dict[int, str]) -> None:
        held = {partition for partition, owner in owners.items() if owner == self.ids[victim.pid]}
        at = victim.kill()
        self.deaths.append(Death(at, held, {p: records[p] for p in held if p in records}))
        self.workers.append(self.installation.worker())


@pytest.mark.e2e
@pytest.mark.timeout(300)
def test_ten_kills_in_a_row(installation: Installation, say: Say) -> None:
    """Nothing is lost or reordered, and what a killed worker held is served again within 15 s."""
    installation.add("bot", "k" * 32)
    installation.segment.set_plan([SLOW])
    workers = installation.workers(WORKERS)
    bots = [installation.stream("bot", name, users=40, rate=75) for name in ("a", "b")]
    until(lambda: len(installation.owners("bot")) == 8, "leases of all partitions")

    reaper = Reaper(installation, "bot", workers)
    until(reaper.step, "recovery from ten kills", 200)
    logs = [bot.stop() for bot in bots]
    installation.drained("bot")

    findings = installation.judge("bot", logs, kills=[death.at for death in reaper.deaths])
    owned = [death.owned_after for death in reaper.deaths]
    finished = [death.finished_after for death in reaper.deaths]
    say(
        f"{KILLS} kills: {findings}; partitions owned again after {median(owned):.1f} s (worst {max(owned):.1f}), "
        f"events in flight delivered after {median(finished):.1f} s (worst {max(finished):.1f}); "
        f"a partition was nobody's for {reaper.longest_gap:.1f} s at most"
    )
    record(
        "Our processes", "worker killed -9 amid a request",
        f"partitions owned again after {median(owned):.1f} s (worst {max(owned):.1f}), events in flight delivered "
        f"after {median(finished):.1f} s (worst {max(finished):.1f})",
        runs=KILLS, findings=findings, recovered_median_s=round(median(finished), 1),
        recovered_worst_s=round(max(*owned, *finished), 1),
    )  # fmt: skip
    findings.assert_sound()
    installation.audit()
    assert RECOVERED_S >= max(*owned, *finished)
    assert HANDED_OVER_S >= reaper.longest_gap
