"""Who may do what in a simulated world: each script that takes effect is held against what gives the right to it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from chaos.errand import Effect
from chaos.segment import Sending, SimSegment
from chaos.stored import Stored
from chaos.world import World
from pombo.shared.batches import partition_of
from pombo.worker.membership import PACE

CLAIMED_S: Final = 10.0
"""Virtual seconds within which a request follows its claim, or never does."""
_UNCERTAIN_S: Final = 4.0
"""A beat is given up after 3 s, and the next one begins a second later: so old may be what a worker knows of Redis."""
_QUIET_S: Final = PACE.takeover - _UNCERTAIN_S
"""Silence after which a lease may be taken, at the earliest."""
_LONGEST_HOLD_S: Final = 3600.0


@dataclass(slots=True)
class _Pulse:
    """A worker's beats as Redis got them: those that moved its counter."""

    beat: int = -1
    moved_at: float = float("-inf")
    steady: bool = False
    """Whether the last one came in time."""

    def move(self, beat: int, now: float, back_at: float) -> None:
        """Take a beat in; nobody's is late for what Redis was away."""
        if beat > self.beat:
            self.steady = self.silence(now, back_at) < _QUIET_S
            self.beat, self.moved_at = beat, now

    def silence(self, now: float, back_at: float) -> float:
        """Seconds since the last one, or since Redis is back."""
        return now - max(self.moved_at, back_at)


class _Change(NamedTuple):
    """One lease of a script that changes leases: what was there, was expected, is new, and is there now."""

    key: str
    before: str
    expected: str
    new: str
    now: str

    @property
    def partition(self) -> int:
        return int(self.key.rpartition(":")[2])


@dataclass(eq=False)
class Rights:
    """Look at every script of the workers of a world, one function for each, and at every request that begins."""

    world: World
    segment: SimSegment
    stored: Stored
    partitions: int
    problems: list[str]
    _leases: dict[str, str] = field(default_factory=dict)
    _pulses: dict[str, _Pulse] = field(default_factory=dict)
    _holds: list[tuple[float, float]] = field(default_factory=list)
    _heard_at: float = 0.0
    _back_at: float = 0.0
    """When Redis could be reached again, after nobody had reached it for longer than between two beats."""
    _asleep: frozenset[str] = frozenset()
    """Who was stopped at that moment: it was silent by itself."""
    _lost_at: float = float("-inf")

    def forget(self) -> None:
        """Redis has lost something: leases are what it says now, and holds are forgotten, maybe."""
        self._leases = dict(zip(self.stored.lease_keys(), map(bytes.decode, self.stored.leases()), strict=True))
        self._holds.clear()
        self._lost_at = self.world.now

    def begin(self, sending: Sending, leases: Iterable[bytes]) -> None:
        """A request is for partitions that its worker holds, unless Redis has just forgotten that."""
        mine = {p for p, lease in enumerate(leases) if lease.startswith(f"{sending.worker.identity}:".encode())}
        others = {partition_of(user, self.partitions) for user in sending.users} - mine
        if others and not self._uncertain():
            self._report(f"{sending.worker.name} began request {sending.number} without the leases of {sorted(others)}")

    def look(self, effect: Effect) -> None:
        """Look at what a script did that took effect."""
        self._note_reach(effect)
        if effect.reply is None:
            return
        match effect.name.removeprefix("EVAL "):
            case "claim":
                self._claim(effect)
            case "attempt":
                self._attempt(effect)
            case "settle":
                self._settle(effect)
            case "bury":
                self._bury(effect)
            case "hold":
                self._hold(effect)
            case "beat":
                self._beat(effect)
            case "lease":
                self._lease(effect)

    def _note_reach(self, effect: Effect) -> None:
        if effect.process.shielded:
            return
        if self.world.now - self._heard_at > 1.5 * PACE.beat:
            self._back_at = self.world.now
            stopped = (one.identity for one in self.world.processes if one.frozen_until > self.world.now)
            self._asleep = frozenset(stopped)
        self._heard_at = self.world.now

    # -- scripts that leases give the right to --------------------------------------------------------------------

    def _claim(self, effect: Effect) -> None:
        if effect.reply[0] not in {b"ok", b"closed"}:
            return
        states = effect.reply[5:]
        self._require_leases(effect, [state[0] == b"claimed" for state in states])
        # The gate of a repeat was asked the first time; its pace is -1 then.
        if effect.reply[0] == b"ok" and effect.reply[4] != -1 and any(state[0] == b"claimed" for state in states):
            self._require_open(effect)

    def _attempt(self, effect: Effect) -> None:
        if effect.reply[0] == b"go":
            self._require_leases(effect, [True] * len(_plan(effect)["parts"]))
            self._require_open(effect)

    def _settle(self, effect: Effect) -> None:
        if effect.reply[0] != b"table":
            self._require_leases(effect, [row[0] == b"ok" for row in effect.reply[1:] if isinstance(row, list)])

    def _bury(self, effect: Effect) -> None:
        lease = effect.arguments[0]
        if effect.reply == b"ok" and lease.encode() not in self.stored.leases():
            self._report(f"{_who(effect)} took effect without its lease {lease}")

    def _require_leases(self, effect: Effect, took: Iterable[bool]) -> None:
        held = set(self.stored.leases())
        for part, effective in zip(_plan(effect)["parts"], took, strict=False):
            if effective and part["lease"].encode() not in held:
                self._report(f"{_who(effect)} took effect without its lease {part['lease']}")

    # -- the gate -------------------------------------------------------------------------------------------------

    def _require_open(self, effect: Effect) -> None:
        """Nothing is let through a pause or a hold, and a park lets through its probe alone."""
        if self.stored.flow("paused") is not None:
            self._report(f"{_who(effect)} was let through a pause")
        if self.stored.flow("parked") is not None and not effect.reply[2]:
            self._report(f"{_who(effect)} was let through a park, and is no probe")
        if any(begun < self.world.now < ends for begun, ends in self._holds):
            self._report(f"{_who(effect)} was let through a hold")

    def _hold(self, effect: Effect) -> None:
        wanted = min(_LONGEST_HOLD_S, int(effect.arguments[0]) / 1000)
        self._holds.append((self.world.now, self.world.now + wanted - 0.001))  # Redis counts whole ms.

    # -- leases ---------------------------------------------------------------------------------------------------

    def _beat(self, effect: Effect) -> None:
        worker, description, *more = effect.arguments
        if description:
            self._pulses.setdefault(worker, _Pulse()).move(int(more[0]), self.world.now, self._back_at)

    def _lease(self, effect: Effect) -> None:
        changed = [change for change in self._changes(effect) if change.before != change.now]
        for change in changed:
            if change.before != change.expected:
                self._report(f"{_who(effect)} changed {change.key} without knowing it: {change.before!r}")
            self._look_at_who_is_robbed(effect, change)
        self._look_at_what_is_handed_back(effect, {change.partition for change in changed if not change.now})
        self._look_for_the_overtaken()

    def _changes(self, effect: Effect) -> list[_Change]:
        given = effect.arguments
        changes = []
        for key, expected, new, reply in zip(effect.keys, given[::2], given[1::2], effect.reply, strict=True):
            changes.append(_Change(key, self._leases.get(key, ""), expected, new, reply.decode()))
            self._leases[key] = reply.decode()
        return changes

    def _look_at_who_is_robbed(self, effect: Effect, change: _Change) -> None:
        """A lease is another's to take when its owner was silent, is stopped, or reaches nobody."""
        owner = change.before.partition(":")[0]
        if not owner or owner == effect.process.identity or not change.now or self._uncertain():
            return
        robbed = next((one for one in self.world.processes if one.identity == owner), None)
        pulse = self._pulses.get(owner, _Pulse())
        beats = robbed is not None and robbed.runs and robbed.frozen_until <= self.world.now and not robbed.cut
        back_at = float("-inf") if owner in self._asleep else self._back_at
        silence = pulse.silence(self.world.now, back_at)
        if beats and pulse.steady and silence < _QUIET_S:
            self._report(f"{_who(effect)} robbed {owner}, {silence:.1f} s after its beat")

    def _look_at_what_is_handed_back(self, effect: Effect, partitions: set[int]) -> None:
        """Who hands a lease back has settled what was answered."""
        if not partitions:
            return
        last = {message_id: sending for sending in self.segment.sendings for message_id in sending.ids}
        left = sorted(
            message_id
            for message_id in self.stored.in_flight(partitions) & last.keys()
            if last[message_id].worker is effect.process
            and last[message_id].answered
            and last[message_id].begun_at > self._lost_at
        )
        if left:
            self._report(f"{_who(effect)} handed back what was answered and is not settled: {left}")

    def _look_for_the_overtaken(self) -> None:
        """Let those go on who are stopped until their lease is taken."""
        owners = {lease.partition(":")[0] for lease in self._leases.values()}
        for process in [one for one in self.world.processes if one.name in self.world.overtaken]:
            if process.identity not in owners:
                self.world.thaw(process.name)

    def _uncertain(self) -> bool:
        """Whether Redis has lost something a short time ago."""
        return self.world.now - self._lost_at < CLAIMED_S

    def _report(self, problem: str) -> None:
        self.problems.append(f"{self.world.now:.4f} {problem}")


def _who(effect: Effect) -> str:
    return f"{effect.name} of {effect.process.name}"


def _plan(effect: Effect) -> dict[str, Any]:
    plan: dict[str, Any] = orjson.loads(effect.arguments[0])
    return plan
