"""The oracle of a simulated world: it knows what was offered, told, sent and stored, and judges all of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from chaos.actors import Bot
from chaos.segment import Sending, SimSegment
from chaos.weather import Storm
from chaos.world import Effect, World
from pombo.shared import batches
from pombo.shared.batches import partition_of
from pombo.shared.deadletters import LetterHeader
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from support.oracle import ACCEPTED, MAYBE, Issued, judge

EVERY = 12
"""Effects on Redis between two recounts."""
CLAIMED_S = 10.0
"""Virtual seconds within which a request follows its claim, or never does."""
BUDGET_SLACK_S = 0.5
"""Virtual seconds that a receipt may come after its budget: the last attempt, and a spool's last resort."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What was so when a request began: who held which partition, and which of its ids were already taken in."""

    leases: tuple[bytes, ...]
    unfinished: frozenset[str]


@dataclass(eq=False)
class Watch:
    """Look at one source of a world while it runs, and judge it at its end."""

    world: World
    segment: SimSegment
    source: Source
    problems: list[str] = field(default_factory=list)
    recounts: int = 0
    duplicates: Counter[str] = field(default_factory=Counter)
    """What was taken in twice by Segment, by cause."""
    forgotten: set[str] = field(default_factory=set)
    """Ids that Redis held, and lost."""
    forgot_at: list[float] = field(default_factory=list)
    """When Redis lost something."""
    taken_back: int = 0
    """Events that its ledger counted as accepted, and then no more."""
    redriven: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    """Ids that Segment refused for a while."""
    _effects: int = 0
    _holds: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world.samples.append(self._sample)
        self.segment.on_begin.append(self._begin)
        self._of = Keys().of(self.source.name)

    # -- while it runs --------------------------------------------------------------------------------------------

    def _sample(self, effect: Effect) -> None:
        if effect.kind != "redis":
            return
        self._effects += 1
        match effect.name.removeprefix("EVAL "):
            case "claim" | "settle" | "attempt" if effect.reply is not None:
                self._look_at_rights(effect)
            case "hold" if effect.reply is not None:
                wanted = min(3600.0, int(_arguments(effect)[0]) / 1000)
                self._holds.append((self.world.now, self.world.now + wanted - 0.001))  # Redis counts whole ms.
            case "lease" if effect.reply is not None:
                self._look_for_the_overtaken()
        if self._effects % EVERY == 0:
            self.recount(f"after {effect.name} of {effect.process.name}")

    def _look_at_rights(self, effect: Effect) -> None:
        """A step that took effect was its worker's to take, and no request is let through a hold."""
        repeated = False
        plan, where = (
            orjson.loads(_arguments(effect)[0]),
            f"{self.world.now:.4f} {effect.name} of {effect.process.name}",
        )
        if effect.name.endswith("settle"):
            rows = [state in {b"ok"} for state, *_ in (row for row in effect.reply[1:] if isinstance(row, list))]
        elif effect.name.endswith("claim"):
            rows = [row[0] == b"claimed" for row in effect.reply[5:]] if effect.reply[0] == b"ok" else []
            repeated = effect.reply[0] == b"ok" and effect.reply[4] == -1  # Its gate was asked the first time.
        else:
            rows = [True] * len(plan["parts"]) if effect.reply[0] == b"go" else []
        held = set(self._leases())
        for part, took in zip(plan["parts"], rows, strict=False):
            if took and part["lease"].encode() not in held:
                self.problems.append(f"{where}: took effect without its lease {part['lease']}")
        passed = any(rows) and not repeated and not effect.name.endswith("settle")
        if passed and any(begun < self.world.now < ends for begun, ends in self._holds):
            self.problems.append(f"{where}: was let through during a hold")

    def _leases(self) -> list[bytes]:
        leases = self.world.server.raw("MGET", *(self._of.lease(p) for p in range(self.source.partitions)))
        return [lease or b"" for lease in leases]

    def _look_for_the_overtaken(self) -> None:
        """Let those go on who are stopped until their lease is taken."""
        owners = {lease.partition(b":")[0].decode() for lease in self._leases()}
        waiting = [p for p in self.world.processes if p.name in self.world.overtaken]
        for process in waiting:
            if process.identity not in owners:
                self.world.thaw(process.name)

    def recount(self, when: str) -> None:
        """Hold the ledger against the stored data, right now."""
        self.recounts += 1
        if self.world.server.raw("HGET", self._of.ledger, "incarnation") != self.source.incarnation.encode():
            return  # Redis lost everything, and nobody has added the source anew yet.
        for difference in self.world.server.audit(self.source).differences:
            self.problems.append(f"{self.world.now:.4f} {when}: imbalance: {difference}")

    def _begin(self, sending: Sending) -> None:
        leases = self._leases()
        again = {message_id for message_id, _ in self.segment.arrivals}.intersection(sending.ids)
        left = unfinished(self.world.server.raw, self.source) if again else set()
        sending.state = Begun(tuple(leases), frozenset(again & left))
        mine = {p for p, lease in enumerate(leases) if lease.startswith(f"{sending.worker.identity}:".encode())}
        others = {partition_of(user, self.source.partitions) for user in sending.users} - mine
        if others and not self.forgot_at:
            self.problems.append(
                f"{self.world.now:.4f} {sending.worker.name} began request {sending.number} for partitions "
                f"{sorted(others)} without their leases"
            )

    def forget(self, lose: Callable[[], object]) -> None:
        """Have Redis lose something, and know what."""
        before, accepted = self._kept(), self._accepted()
        lose()
        self.world.note("redis", "has forgotten", f"{len(before - self._kept())} events")
        self.forgotten |= before - self._kept()
        self.taken_back += accepted - self._accepted()
        self.forgot_at.append(self.world.now)
        self._holds.clear()  # Redis has forgotten them too, maybe.

    def _kept(self) -> set[str]:
        return unfinished(self.world.server.raw, self.source) | self.dead().keys()

    def _accepted(self) -> int:
        return int(self.world.server.raw("HGET", self._of.ledger, "accepted") or 0)

    # -- at the end -----------------------------------------------------------------------------------------------

    def judge(self, bots: Iterable[Bot]) -> list[str]:
        """Everything that is wrong, as sentences."""
        bots = list(bots)
        self.recount("at the end")
        dead = self.dead()
        self._judge_events(bots, dead)
        self._judge_bytes(bots)
        self._judge_repeats()
        self._judge_ledger(bots)
        self._judge_receipts(bots)
        self._judge_losses()
        self._judge_logs()
        unjust = dead.keys() - self.segment.poison - self.excused
        self.problems += [f"{i} is dead ({dead[i]}), and nothing was wrong with it" for i in sorted(unjust)]
        return self.problems

    def dead(self) -> dict[str, str]:
        """The dead letters there are: messageId and reason."""
        rows = self.world.server.raw("XRANGE", self._of.dead, "-", "+")
        found = {}
        for _, fields in rows:
            letter = dict(zip(fields[::2], fields[1::2], strict=True))
            found[batches.message_id(letter[b"b"]).decode()] = LetterHeader.load(letter[b"h"]).reason
        return found

    def _judge_events(self, bots: list[Bot], dead: Mapping[str, str]) -> None:
        logs = [[Issued(one.message_id, one.user, one.outcome) for one in bot.offered] for bot in bots]
        users = {one.message_id: one.user for bot in bots for one in bot.offered}
        first = {message_id: sending.number for message_id, sending in reversed(self.segment.arrivals)}
        rows = [
            {"message_id": message_id, "user": users.get(message_id, "?"), "fate": "kept", "request": first[message_id]}
            for message_id in dict.fromkeys(message_id for message_id, _ in self.segment.arrivals)
        ]
        faults = judge(logs, rows, dead=dead).faults
        # Order holds within a bot: what another one offers too, or instead, may come from there first. And what is
        # redriven goes last.
        owners = {one.user: bot for bot in reversed(bots) for one in bot.offered}
        exempt = (
            self.redriven
            | self.excused
            | {one.message_id for bot in bots for one in bot.offered if owners[one.user] is not bot}
        )
        faults["lost"] = sorted(set(faults.get("lost", ())) - self.forgotten)
        faults["out_of_order"] = judge(logs, [row for row in rows if row["message_id"] not in exempt]).out_of_order
        for kind, found in faults.items():
            self.problems += [f"{kind.replace('_', ' ')}: {message_id}" for message_id in found]

    def _judge_bytes(self, bots: list[Bot]) -> None:
        bodies: dict[str, set[bytes]] = defaultdict(set)
        for one in (one for bot in bots for one in bot.offered):
            bodies[one.message_id].add(one.body)
        for sending in self.segment.sendings:
            if not _consists_of(sending.raw, [bodies[message_id] for message_id in sending.ids]):
                self.problems.append(f"request {sending.number} carries other bytes than were offered: {sending.ids}")
            twice = [i for i, count in Counter(sending.ids).items() if count > 1]
            self.problems += [f"request {sending.number} carries {i} twice" for i in twice]

    def _judge_repeats(self) -> None:
        last: dict[str, Sending] = {}
        for message_id, sending in self.segment.arrivals:
            before = last.get(message_id)
            last[message_id] = sending
            if before is not None:
                self._judge_repeat(message_id, before, sending)

    def _judge_repeat(self, message_id: str, before: Sending, again: Sending) -> None:
        before, again = sorted((before, again), key=lambda sending: sending.number)  # A late one may arrive last.
        where = f"{message_id} went out with request {before.number}, and again with {again.number}"
        assert before.arrived_at is not None
        assert again.arrived_at is not None
        if any(before.begun_at - CLAIMED_S <= at <= again.arrived_at for at in self.forgot_at):
            self.duplicates["Redis forgot"] += 1
        elif message_id not in again.state.unfinished and before.arrived_at < again.begun_at:
            self.problems.append(f"{where}, though it was finished by then")
        elif not before.answered:
            self.duplicates["answer lost"] += 1
        elif not before.worker.lives:
            self.duplicates["worker died"] += 1
        elif before.worker is not again.worker or before.state.leases != again.state.leases:
            self.duplicates["lease lost"] += 1
        else:
            self.problems.append(f"{where}, without a cause")

    def _judge_ledger(self, bots: list[Bot]) -> None:
        if self.forgot_at:
            return
        outcomes = Counter(one.outcome for bot in bots for one in bot.offered)
        sure, maybe = (sum(outcomes[word] for word in words) for words in (ACCEPTED, MAYBE))
        ledger = self.world.server.audit(self.source).ledger
        if not sure <= ledger.accepted <= sure + maybe:
            self.problems.append(f"the ledger counts {ledger.accepted} accepted, bots know of {sure} to {sure + maybe}")
        copies = sure + maybe - len({one.message_id for bot in bots for one in bot.offered if one.outcome in ACCEPTED})
        if ledger.deduplicated > copies:
            self.problems.append(f"{ledger.deduplicated} deduplicated, but at most {copies} copies were offered")

    def _judge_losses(self) -> None:
        """What Redis lost is named, by producers to the event, unless the witnesses are struck themselves."""
        if not self.taken_back or self.world.weather.struck or isinstance(self.world.weather, Storm):
            return
        raw, audit = self.world.server.raw, self.world.server.audit(self.source)
        if not audit.lost and not raw("XLEN", Keys().losses):
            self.problems.append(f"Redis forgot {self.taken_back} accepted events, and the audit does not say so")
        if audit.ledger.forgotten > self.taken_back:
            self.problems.append(f"the audit names {audit.ledger.forgotten} lost events, there are {self.taken_back}")

    def _judge_receipts(self, bots: list[Bot]) -> None:
        for bot in bots:
            if not bot.process.lives or bot.process.frozen_until:
                continue
            for one in bot.offered:
                took = (one.told_at if one.told_at is not None else self.world.now) - one.at
                if one.told_at is None or took > bot.budget_s + BUDGET_SLACK_S:
                    self.problems.append(f"{one.message_id}: its receipt took {took:.2f} s, of {bot.budget_s:g} s")

    def _judge_logs(self) -> None:
        for at, who, what, more, *_ in self.world.trace:
            if who == "log" and ("crash" in what or "stumble" in what or "bug" in what):
                self.problems.append(f"{at:.4f} logged: {what} {more}")
        for process in [process for process in self.world.processes if process.lives]:
            for crash in process.loop.crashes:
                self.problems.append(f"{process.name}: {crash.get('message')}: {crash.get('exception')!r}")


def _arguments(effect: Effect) -> Sequence[Any]:
    """The ARGV of a script's call."""
    return effect.command[3 + int(effect.command[2]) :]


def _consists_of(raw: bytes, parts: Sequence[set[bytes]]) -> bool:
    """Whether `raw` is one of each of the parts, with commas between them."""
    for number, choices in enumerate(parts):
        raw = raw.removeprefix(b",") if number else raw
        fitting = [body for body in choices if raw.startswith(body)]
        if not fitting:
            return False
        raw = raw[len(max(fitting, key=len)) :]
    return not raw


def unfinished(raw: Any, source: Source) -> set[str]:
    """The ids of all events that a source holds queued or in flight."""
    of = Keys().of(source.name)
    found: set[str] = set()
    for partition in range(source.partitions):
        stored = raw("HGETALL", of.record(partition))
        record = dict(zip(stored[::2], stored[1::2], strict=True))
        ids: list[str] = []
        for _, fields in raw("XRANGE", of.stream(partition), "-", "+"):
            entry = dict(zip(fields[::2], fields[1::2], strict=True))
            bodies = batches.decode(entry[b"b"], int(entry[b"n"]), int(entry[b"r"]))
            ids += [batches.message_id(body).decode() for body in bodies]
        done = record.get(b"done", b"")
        found |= {one for index, one in enumerate(ids) if done[index : index + 1] != b"1"}
    return found
