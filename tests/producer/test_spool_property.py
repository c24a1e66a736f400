"""Whatever the weather, whoever is killed: with a spool nothing durable is lost, doubled or out of order."""

import tempfile
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError, NoScriptError, OutOfMemoryError

from pombo.producer.buffer import Offer, Pending
from pombo.producer.drain import Drain
from pombo.producer.receipts import Receipt
from pombo.producer.spool import Spool, read_spool
from pombo.producer.steps import Ask, Disk, NotSentError, Sleep, Step, advance
from pombo.shared.errors import SpoolError
from pombo.shared.prepared import Prepared
from pombo.shared.sources import Source
from producer.rig import KEYS, Bench, FakeClock, Server, reason

FATES = ["ok", "ok", "ok", "reply lost", "never arrives", "arrives late", "refused", "not sent"]
DISK_FATES = ["ok", "ok", "ok", "ok", "fails"]
USERS = ["u1", "u2", "u3"]


@dataclass
class Event:
    """One event, when it was offered, and when its receipt was settled; times count what happens in the world."""

    name: str
    user: str
    process: int
    offered: int
    receipt: Receipt
    settled: int | None = None


@dataclass
class World:
    """Some processes, each a producer and a drainer, that share a server and a spool."""

    path: Path
    data: st.DataObject
    server: Server
    late: list[tuple[Any, ...]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    processes: list["Process"] = field(default_factory=list)
    now: int = 0
    numbers: Any = field(default_factory=count)
    process_numbers: Any = field(default_factory=count)

    def tick(self) -> None:
        self.now += 1
        for event in self.events:
            if event.settled is None and event.receipt.done:
                event.settled = self.now

    def ask(self, step: Ask) -> tuple[Any, Exception | None]:
        """Let a command meet a fate; return the reply and the error."""
        fate = self.data.draw(st.sampled_from(FATES), label="fate")
        match fate:
            case "refused":
                return None, OutOfMemoryError("OOM command not allowed")
            case "not sent":
                return None, NotSentError()
            case "arrives late":
                self.late.append(step.command)
            case "reply lost":
                self.execute(step.command)
            case "ok":
                return self.execute(step.command)
        return None, ConnectionError("the line was cut")

    def execute(self, command: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        try:
            return self.server.execute(command), None
        except NoScriptError as error:
            return None, error

    def work(self, step: Disk) -> tuple[Any, Exception | None]:
        """Do work on the disk, or have the disk fail."""
        if self.data.draw(st.sampled_from(DISK_FATES), label="disk") == "fails":
            return None, SpoolError("no")
        try:
            return step.call(), None
        except SpoolError as error:
            return None, error


class Process:
    """One process: its producer's core and its drainer's, until it is killed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.number = next(world.process_numbers)
        self.spool = Spool(world.path)
        self.bench = Bench(world.server, spool=self.spool, spool_bytes=3000)
        self.clock = FakeClock()
        self.drain = Drain(self.spool, keys=KEYS, clock=self.clock).run()
        self.step: Step | None = advance(self.drain)

    def put(self) -> None:
        world = self.world
        user = world.data.draw(st.sampled_from(USERS), label="user")
        name = f"e{next(world.numbers)}"
        body = orjson.dumps({"messageId": name, "type": "track", "userId": user})
        pending = Pending(Prepared(name, "track", user, body))
        assert Offer.TAKEN is self.bench.buffer.offer(pending)
        world.events.append(Event(name, user, self.number, world.now, pending))

    def produce(self) -> None:
        """Take one step of the producer."""
        bench = self.bench
        match bench.step:
            case Sleep():
                bench.clock.at += self.world.data.draw(st.sampled_from([0.0, 0.001, 0.6]), label="pause")
                bench.sleep()
            case Ask() as step:
                reply, error = self.world.ask(step)
                bench.reply(reply) if error is None else bench.fail(error)
            case Disk() as step:
                reply, error = self.world.work(step)
                bench.reply(reply) if error is None else bench.fail(error)

    def pour(self) -> None:
        """Take one step of the drainer."""
        if self.step is None:
            self.drain = Drain(self.spool, keys=KEYS, clock=self.clock).run()
            self.step = advance(self.drain)
        match self.step:
            case Sleep() as step:
                self.clock.at += step.seconds or 0
                self.step = advance(self.drain)
            case Ask() as step:
                reply, error = self.world.ask(step)
                self.step = advance(self.drain, reply, error)
            case Disk() as step:
                reply, error = self.world.work(step)
                self.step = advance(self.drain, reply, error)

    def die(self) -> None:
        """Be killed, maybe just after what was asked for was done."""
        if self.world.data.draw(st.booleans(), label="done before the kill"):
            for step in (self.bench.step, self.step):
                if isinstance(step, Ask):
                    self.world.execute(step.command)
                elif isinstance(step, Disk):
                    self.world.work(step)
        self.spool.unlock()
        self.spool.rest()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_weather(data: st.DataObject) -> None:
    """Every durable event arrives once; its key's order is that of offers, seen from any process."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(
            Path(folder) / "pombo.sqlite3", data, Server(Source(name="bot", incarnation="first", partitions=2))
        )
        world.processes = [Process(world) for _ in range(data.draw(st.integers(1, 3), label="processes"))]
        for _ in range(data.draw(st.integers(20, 60), label="steps")):
            take_step(world)
        calm(world)
        check(world)


def take_step(world: World) -> None:
    process = world.data.draw(st.sampled_from(world.processes), label="process")
    what = world.data.draw(st.sampled_from(["put"] + 4 * ["produce"] + 4 * ["pour"] + ["late", "die"]), label="what")
    match what:
        case "put":
            process.put()
        case "produce" | "pour":
            for _ in range(world.data.draw(st.integers(1, 6), label="times")):
                process.produce() if what == "produce" else process.pour()
                world.tick()
        case "late" if world.late:
            world.execute(world.late.pop(world.data.draw(st.integers(0, len(world.late) - 1), label="which")))
        case "die" if world.data.draw(st.integers(0, 3), label="really") == 0:
            process.die()
            world.processes[world.processes.index(process)] = Process(world)
    world.tick()


def calm(world: World) -> None:
    """Let all come to an end in good weather; late commands arrive in the end."""
    for process in world.processes:
        process.bench.settle()
        world.tick()
        process.spool.unlock()
    last = Process(world)
    while last.step is not None:
        match last.step:
            case Sleep() as step:
                last.clock.at += step.seconds or 0
                last.step = advance(last.drain)
            case Disk() as step:
                last.step = advance(last.drain, step.call())
            case Ask() as step:
                last.step = advance(last.drain, *world.execute(step.command))
    for command in world.late:
        world.execute(command)


def check(world: World) -> None:
    offered = {event.name: event for event in world.events}
    durable = {event.name: event for event in world.events if reason(event.receipt) in {"accepted", "spooled"}}
    written = world.server.ids
    assert [] == read_spool(world.path)
    assert len(set(written)) == len(written)
    assert set(durable) <= set(written)
    unsure = {"unconfirmed", "open"}
    assert all(reason(event.receipt) in unsure for event in world.events if event.name in set(written) - set(durable))
    for process in world.processes:
        assert (0, 0) == (process.bench.buffer.events, process.bench.buffer.bytes)
    for stream in world.server.streams.values():
        for at, later in enumerate(stream):
            for earlier in stream[:at]:
                if offered[earlier].user == offered[later].user:
                    in_order(offered[earlier], offered[later])


def in_order(first: Event, second: Event) -> None:
    """`second` may come after `first` unless it was offered before, here, or settled before the other was offered."""
    if first.process == second.process:
        assert int(first.name[1:]) < int(second.name[1:])
    if reason(second.receipt) == "unconfirmed":
        return  # It is settled, and may still arrive.
    assert second.settled is None or second.settled > first.offered
