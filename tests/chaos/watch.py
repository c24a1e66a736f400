"""The oracle of a simulated world: it knows what was offered, told, sent and stored, and judges all of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.actors import Bot, Worker
from chaos.errand import Effect
from chaos.rights import CLAIMED_S, Rights
from chaos.segment import Sending, SimSegment
from chaos.stored import Stored
from chaos.weather import Storm
from chaos.world import World
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from support.oracle import ACCEPTED, MAYBE, Issued, judge

EVERY = 12
"""Effects on Redis between two recounts."""
BUDGET_SLACK_S = 0.5
"""Virtual seconds that a receipt may come after its budget: the last attempt, and a spool's last resort."""
REQUEST_EVENTS = 2500
REQUEST_BYTES = 480_000
"""What Segment takes in one request, less what is around the events."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What was so when a request began."""

    leases: tuple[bytes, ...]
    """Of each partition."""
    unfinished: frozenset[str]
    """Those of its ids that Segment had taken in before, and that Redis held as unfinished: only they may go again."""


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
    forgotten: dict[str, float] = field(default_factory=dict)
    """Ids that Redis held unfinished, or dead, and lost: and when first."""
    forgot_at: list[float] = field(default_factory=list)
    """When Redis lost something."""
    taken_back: int = 0
    """Events that its ledger counted as accepted, and then no more."""
    redriven: set[str] = field(default_factory=set)
    excused: set[str] = field(default_factory=set)
    """Ids that Segment refused for a while, or failed at: they may be dead."""
    spoilt: int = 0
    """Events that no bot offered, in batches that nobody can read."""
    _effects: int = 0

    def __post_init__(self) -> None:
        self.world.samples.append(self._sample)
        self.segment.on_begin.append(self._begin)
        self.stored = Stored(self.world.server, self.source)
        self.rights = Rights(self.world, self.segment, self.stored, self.source.partitions, self.problems)

    # -- while it runs --------------------------------------------------------------------------------------------

    def _sample(self, effect: Effect) -> None:
        if effect.kind != "redis":
            return
        self._effects += 1
        self.rights.look(effect)
        if self._effects % EVERY == 0:
            self.recount(f"after {effect.name} of {effect.process.name}")

    def recount(self, when: str) -> None:
        """Hold the ledger against the stored data, right now."""
        self.recounts += 1
        if self.stored.incarnation() != self.source.incarnation:
            return  # Redis lost everything, and nobody has added the source anew yet.
        backlog = self.stored.count("queued_bytes")
        if self.source.backlog_bytes and backlog > self.source.backlog_bytes:
            self.problems.append(f"{self.world.now:.4f} {when}: {backlog} bytes queued, above the limit")
        for difference in self.world.server.audit(self.source).differences:
            self.problems.append(f"{self.world.now:.4f} {when}: imbalance: {difference}")

    def _begin(self, sending: Sending) -> None:
        leases = self.stored.leases()
        again = {message_id for message_id, _ in self.segment.arrivals}.intersection(sending.ids)
        left = self.stored.unfinished() if again else set()
        sending.state = Begun(tuple(leases), frozenset(again & left))
        self.rights.begin(sending, leases)

    def forget(self, lose: Callable[[], object]) -> None:
        """Have Redis lose something, and know what."""
        before, accepted = self._kept(), self.stored.count("accepted")
        lose()
        lost = before - self._kept()
        self.world.note("redis", "has forgotten", f"{len(lost)} events")
        self.forgotten = dict.fromkeys(lost, self.world.now) | self.forgotten
        self.taken_back += accepted - self.stored.count("accepted")
        self.forgot_at.append(self.world.now)
        self.rights.forget()

    def _kept(self) -> set[str]:
        return self.stored.unfinished() | self.stored.dead().keys()

    # -- at the end -----------------------------------------------------------------------------------------------

    def judge(self, bots: Iterable[Bot], workers: Iterable[Worker]) -> list[str]:
        """Everything that is wrong, as sentences."""
        bots = list(bots)
        self.recount("at the end")
        self._judge_events(bots)
        self._judge_bytes(bots)
        self._judge_repeats()
        self._judge_ledger(bots)
        self._judge_receipts(bots)
        self._judge_losses()
        self._judge_logs()
        self._judge_deaths()
        self._judge_table()
        self._judge_rooms(workers)
        return self.problems

    def _judge_events(self, bots: list[Bot]) -> None:
        logs = [[Issued(one.message_id, one.user, one.outcome) for one in bot.offered] for bot in bots]
        users = {one.message_id: one.user for bot in bots for one in bot.offered}
        first = {message_id: sending.number for message_id, sending in reversed(self.segment.arrivals)}
        rows = [
            {"message_id": message_id, "user": users.get(message_id, "?"), "fate": "kept", "request": first[message_id]}
            for message_id in dict.fromkeys(message_id for message_id, _ in self.segment.arrivals)
        ]
        faults = judge(logs, rows, dead=self.stored.dead()).faults
        # Order holds within a bot: what another one offers too, or instead, may come from there first. And what is
        # redriven goes last.
        owners = {one.user: bot for bot in reversed(bots) for one in bot.offered}
        exempt = (
            self.redriven
            | self.excused
            | {one.message_id for bot in bots for one in bot.offered if owners[one.user] is not bot}
        )
        faults["lost"] = sorted(set(faults.get("lost", ())) - self.forgotten.keys())
        misplaced = judge(logs, [row for row in rows if row["message_id"] not in exempt]).out_of_order
        overdue = late_of_lost(self.segment.sendings, self.forgotten)
        faults["out_of_order"] = [message_id for message_id in misplaced if message_id not in overdue]
        for kind, found in faults.items():
            self.problems += [f"{kind.replace('_', ' ')}: {message_id}" for message_id in found]

    def _judge_bytes(self, bots: list[Bot]) -> None:
        bodies: dict[str, set[bytes]] = defaultdict(set)
        for one in (one for bot in bots for one in bot.offered):
            bodies[one.message_id].add(one.body)
        for sending in self.segment.sendings:
            if not _consists_of(sending.raw, [bodies[message_id] for message_id in sending.ids]):
                self.problems.append(f"request {sending.number} carries other bytes than were offered: {sending.ids}")
            if len(sending.ids) > REQUEST_EVENTS or len(sending.raw) > REQUEST_BYTES:
                size = f"{len(sending.ids)} events, {len(sending.raw)} bytes"
                self.problems.append(f"request {sending.number} is too large: {size}")
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
        accepted = ledger.accepted - self.spoilt
        if not sure <= accepted <= sure + maybe:
            self.problems.append(f"the ledger counts {accepted} accepted, bots know of {sure} to {sure + maybe}")
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

    def _judge_deaths(self) -> None:
        dead, unreadable = self.stored.dead(), self.stored.unreadable()
        unjust = sorted(dead.keys() - self.segment.poison - self.excused)
        self.problems += [f"{i} is dead ({dead[i]}), and nothing was wrong with it" for i in unjust]
        if unreadable != self.spoilt and not self.forgot_at:
            self.problems.append(f"{unreadable} events are dead as nobody could read them, {self.spoilt} were so")

    def _judge_table(self) -> None:
        told, there = self.stored.table(), self.stored.letters()
        if told != there:
            self.problems.append(f"the table of the dead letters tells of {told}, and there are {there}")

    def _judge_rooms(self, workers: Iterable[Worker]) -> None:
        for worker in [worker for worker in workers if not worker.gone and worker.owing]:
            self.problems.append(f"{worker.process.name} counts {worker.owing} bytes in memory that it does not hold")

    def _judge_logs(self) -> None:
        for at, who, what, more, *_ in self.world.trace:
            if who == "log" and ("crash" in what or "stumble" in what or "bug" in what):
                self.problems.append(f"{at:.4f} logged: {what} {more}")
        for process in [process for process in self.world.processes if process.lives]:
            for crash in process.loop.crashes:
                self.problems.append(f"{process.name}: {crash.get('message')}: {crash.get('exception')!r}")


def late_of_lost(sendings: Iterable[Sending], lost_at: Mapping[str, float]) -> set[str]:
    """Ids that Redis lost while a request with them was held up: nobody was left who could keep their order.

    Whoever sends such a request had looked at its lease before the loss, and each request that names the id had begun
    by then. One that begins later shows that Redis holds the event, or that its sender believes in what is gone: then
    order is owed.

    Args:
        sendings: all requests.
        lost_at: the ids that Redis lost, and when first.
    """
    requests: dict[str, list[Sending]] = defaultdict(list)
    for sending in sendings:
        for message_id in lost_at.keys() & sending.ids:
            requests[message_id].append(sending)
    return {
        message_id
        for message_id, named in requests.items()
        if all(one.begun_at <= lost_at[message_id] for one in named)
        and all(one.arrived_at is None or one.arrived_at > lost_at[message_id] for one in named)
    }


def _consists_of(raw: bytes, parts: Sequence[set[bytes]]) -> bool:
    """Whether `raw` is one of each of the parts, with commas between them."""
    for number, choices in enumerate(parts):
        raw = raw.removeprefix(b",") if number else raw
        fitting = [body for body in choices if raw.startswith(body)]
        if not fitting:
            return False
        raw = raw[len(max(fitting, key=len)) :]
    return not raw
