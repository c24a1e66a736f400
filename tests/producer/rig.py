"""What producer tests share: a still clock, a source by hand, a server in memory, the core on a bench."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import NoScriptError

from pombo.producer.buffer import Buffer, Offer, Pending
from pombo.producer.options import Options
from pombo.producer.outbox import Outbox
from pombo.producer.receipts import Receipt, Rejected
from pombo.producer.rejections import Rejections
from pombo.producer.spooled import Shelf
from pombo.producer.steps import Ask, Disk, Sleep, Step, advance
from pombo.shared import batches
from pombo.shared.errors import SpoolError
from pombo.shared.keys import Keys
from pombo.shared.prepared import Prepared
from pombo.shared.scripts import script
from pombo.shared.sources import Source

KEYS = Keys()


class FakeClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Recorder:
    """Metrics that a test can read."""

    def __init__(self) -> None:
        self.accepted_ids: list[str] = []
        self.reasons: Counter[str] = Counter()

    def accepted(self, source: str, events: Sequence[Pending], now: float) -> None:
        self.accepted_ids += [str(pending.message_id) for pending in events]

    def rejected(self, source: str, reason: str) -> None:
        self.reasons[reason] += 1


def add_source(redis: Redis, name: str = "bot", **options: Any) -> Source:
    """Register a source by hand, as far as producers look."""
    source = Source(name=name, incarnation=options.pop("incarnation", "first"), **options)
    redis.hset(KEYS.sources, name, source.dump())
    redis.hset(KEYS.of(name).ledger, "incarnation", source.incarnation)
    redis.incr(KEYS.version)
    return source


def entries(redis: Redis, name: str = "bot", partitions: int = 8) -> list[list[dict[str, Any]]]:
    """Each record batch of a source as its events, partition by partition, in order."""
    found = []
    for partition in range(partitions):
        stream: Any = redis.xrange(KEYS.of(name).stream(partition))
        for _, entry in stream:
            bodies = batches.decode(entry[b"b"], int(entry[b"n"]), int(entry[b"r"]))
            found.append([orjson.loads(body) for body in bodies])
    return found


def stored(redis: Redis, name: str = "bot", partitions: int = 8) -> list[dict[str, Any]]:
    """All events of a source, partition by partition, in order."""
    return [event for entry in entries(redis, name, partitions) for event in entry]


def ids(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["messageId"] for event in events]


def reason(receipt: Receipt) -> str:
    """`accepted`, `open`, or why it was rejected."""
    outcome = receipt.outcome
    if outcome is None:
        return "open"
    return outcome.reason if isinstance(outcome, Rejected) else type(outcome).__name__.lower()


@dataclass
class Append:
    """One append command, taken apart."""

    keys: list[str]
    incarnation: str
    sequence: int
    limit: int
    types: str
    batches: list[tuple[str, int, int, bytes]]
    digest: str
    known: int = 0

    @classmethod
    def read(cls, command: Sequence[Any]) -> "Append":
        number = command[2]
        keys, args = list(command[3 : 3 + number]), list(command[3 + number :])
        parts = [(args[at], args[at + 1], args[at + 2], args[at + 3]) for at in range(6, len(args) - 1, 4)]
        digest = hashlib.sha256(repr((keys, args)).encode()).hexdigest()
        return cls(keys[:-1], args[0], args[1], args[2], args[5], parts, digest, args[-1])

    @property
    def size(self) -> int:
        return sum(len(payload) for *_, payload in self.batches)

    @property
    def ids(self) -> list[str]:
        """messageIds, batch by batch."""
        return [
            orjson.loads(body)["messageId"]
            for _, events, raw, payload in self.batches
            for body in batches.decode(payload, events, raw)
        ]


@dataclass
class Server:
    """What the append script does, in memory; `source` None is a registry without it."""

    source: Source | None = field(default_factory=lambda: Source(name="bot", incarnation="first", partitions=4))
    ledger: str | None = "first"
    loaded: bool = True
    queued: int = 0
    streams: dict[str, list[str]] = field(default_factory=dict)
    sessions: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    appends: list[Append] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)

    def execute(self, command: Sequence[Any]) -> Any:
        if command[0] == "HGET":
            return None if self.source is None else self.source.dump()
        if command[0] == "EVALSHA" and not self.loaded:
            raise NoScriptError("NOSCRIPT No matching script.")
        if command[1] in {script("announce").sha, script("announce").text}:
            self.announced += command[4:]
            return 1
        return self.append(Append.read(command))

    def append(self, append: Append) -> list[Any]:
        self.appends.append(append)
        session = append.keys[1]
        last, reply = self.sessions.get(session, (0, []))
        if append.incarnation != self.ledger:
            return [b"unknown"]
        if last == append.sequence:
            return reply
        if last > append.sequence:
            return [b"stale"]
        if append.limit and self.queued + append.size > append.limit:
            return [b"full", self.queued]
        self.queued += append.size
        for name, batch in zip(append.keys[2:], append.batches, strict=True):
            one = Append(append.keys, "", 0, 0, "", [batch], "")
            self.streams.setdefault(name, []).extend(one.ids)
        total = self.totals.get(session, 0)
        forgot = max(0, append.known - total)
        self.forgotten += forgot
        self.totals[session] = max(append.known, total) + len(append.ids)
        self.sessions[session] = (append.sequence, [b"ok", self.queued, 1, self.totals[session], forgot, b"1-1"])
        return self.sessions[session][1]

    @property
    def ids(self) -> list[str]:
        """MessageIds in the queue, stream by stream."""
        return [message_id for stream in self.streams.values() for message_id in stream]


class Bench:
    """The core without a driver: the test does what it asks, step by step."""

    def __init__(
        self, server: Server | None = None, *, metrics: Any = None, spool: Shelf | None = None, **options: Any
    ) -> None:
        self.options = Options(options.pop("source", "bot"), **options)
        self.server = server or Server()
        self.clock = FakeClock()
        self.metrics = Recorder()
        self.rejected: list[tuple[Rejected, Any]] = []
        self.wakes = 0
        self.awake = False
        metrics = metrics or self.metrics
        rejections = Rejections("bot", lambda *args: self.rejected.append(args), metrics, self.clock)
        self.buffer = Buffer(self.options, self.clock, self._woken)
        self.outbox = Outbox(
            self.options,
            self.buffer,
            keys=KEYS,
            clock=self.clock,
            metrics=metrics,
            rejections=rejections,
            where=lambda: "redis://test",
            spool=spool,
        )
        self._numbers = count()
        self.flow = self.outbox.run()
        self.step: Step | None = advance(self.flow)

    def _woken(self) -> None:
        self.wakes += 1
        self.awake = True

    def disk(self) -> Step | None:
        """Do the step's work on the disk; return the next step."""
        assert isinstance(self.step, Disk)
        try:
            return self.reply(self.step.call())
        except SpoolError as error:
            return self.fail(error)

    def put(self, number: int = 1, key: str = "u1", pad: int = 0) -> list[Receipt]:
        """Enqueue events of one ordering key; ids are m0, m1, … in the order of acceptance."""
        return [self._put(f"m{next(self._numbers)}", key, pad) for _ in range(number)]

    def _put(self, message_id: str, key: str, pad: int) -> Receipt:
        body = orjson.dumps({"messageId": message_id, "type": "track", "userId": key, "pad": "x" * pad})
        pending = Pending(Prepared(message_id, "track", key, body))
        assert Offer.TAKEN is self.buffer.offer(pending)
        return pending

    def reply(self, value: Any = None) -> Step | None:
        """Answer the step; return the next one."""
        self.step = advance(self.flow, value)
        return self.step

    def fail(self, error: Exception) -> Step | None:
        """Fail the step; return the next one."""
        self.step = advance(self.flow, None, error)
        return self.step

    def sleep(self) -> Step | None:
        """Let the time pass that the core wants to wait."""
        assert isinstance(self.step, Sleep)
        self.clock.at += self.step.seconds or 0.0
        self.awake = False
        return self.reply()

    def serve(self) -> Step | None:
        """Have the server execute the step's command; return the next step."""
        assert isinstance(self.step, Ask)
        try:
            return self.reply(self.server.execute(self.step.command))
        except NoScriptError as error:
            return self.fail(error)

    def to_append(self) -> Append:
        """Serve until an append is asked for, and return it unanswered."""
        while True:
            if isinstance(self.step, Sleep):
                self.sleep()
            elif isinstance(self.step, Disk):
                self.disk()
            elif isinstance(self.step, Ask) and self.step.command[0] == "HGET":
                self.serve()
            else:
                assert isinstance(self.step, Ask)
                return Append.read(self.step.command)

    def settle(self) -> None:
        """Serve until the core has nothing left to do."""
        while self.step is not None:
            if self.step == Sleep(None) and not self.awake:
                return
            if isinstance(self.step, Sleep):
                self.sleep()
            elif isinstance(self.step, Disk):
                self.disk()
            else:
                self.serve()

    def until(self, *receipts: Receipt, fail: Exception) -> int:
        """Fail every command until the receipts are settled; return how many commands that were."""
        asked = 0
        while not all(receipt.done for receipt in receipts):
            if isinstance(self.step, Sleep):
                self.sleep()
            elif isinstance(self.step, Disk):
                self.disk()
            else:
                asked += 1
                self.fail(fail)
        return asked
