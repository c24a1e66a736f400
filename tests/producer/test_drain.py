"""The drainer's core against a server in memory and a spool on the disk, on a clock that moves when told."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError, NoScriptError, OutOfMemoryError, TimeoutError

from pombo.producer.drain import BACKOFF_MAX_S, BURST, Drain
from pombo.producer.flush import MAX_BATCHES
from pombo.producer.spool import Spool, read_spool
from pombo.producer.steps import Ask, Disk, NotSentError, Sleep, Step, advance
from pombo.shared.batches import partition_of
from pombo.shared.errors import SpoolError
from pombo.shared.sources import Source
from producer.rig import KEYS, Append, Bench, FakeClock, Server

AWAY = NotSentError()
LOST = ConnectionError("the line was cut")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool" / "pombo.sqlite3")


def source(**options: Any) -> Source:
    return Source.model_validate({"name": "bot", "incarnation": "first", "partitions": 4, **options})


def fill(spool: Spool, number: int, *, doubtful: bool = False, name: str = "bot", users: int = 1) -> Append | None:
    """Spool events m0, m1, … of one producer; with `doubtful` as one flush whose answer stayed out."""
    bench = Bench(spool=spool, source=name)
    receipts = [receipt for at in range(number) for receipt in bench.put(key=f"u{at % users}")]
    append = bench.to_append() if doubtful else None
    bench.until(*receipts, fail=LOST if doubtful else AWAY)
    return append


class Basin:
    """The drainer's core without a driver."""

    def __init__(self, spool: Spool, server: Server | None = None, clock: FakeClock | None = None) -> None:
        self.spool = Spool(spool.path)
        self.server = server or Server()
        self.clock = clock or FakeClock()
        self.flow = Drain(self.spool, keys=KEYS, clock=self.clock).run()
        self.step: Step | None = advance(self.flow)

    def fail(self, error: Exception) -> None:
        self.step = advance(self.flow, None, error)

    def take(self) -> None:
        """Take one step, as it is meant."""
        step = self.step
        try:
            match step:
                case Sleep():
                    self.clock.at += step.seconds or 0.0
                    self.step = advance(self.flow)
                case Disk():
                    self.step = advance(self.flow, step.call())
                case Ask():
                    self.step = advance(self.flow, self.server.execute(step.command))
        except (NoScriptError, SpoolError) as error:
            self.fail(error)

    def to_ask(self, word: str = "EVALSHA") -> Ask:
        """Go on until a command is asked for that begins so, and return it unanswered."""
        while not (isinstance(self.step, Ask) and self.step.command[0] == word):
            self.take()
        return self.step

    def to_append(self) -> Append:
        return Append.read(self.to_ask().command)

    def drain(self, seconds: float = 100.0) -> None:
        """Go on until the end, or for some seconds."""
        ends = self.clock.at + seconds
        while self.step is not None and self.clock.at < ends:
            self.take()

    def die(self) -> None:
        """End as a killed process does: the kernel gives its lock back."""
        self.spool.unlock()


def ids(number: int) -> list[str]:
    return [f"m{at}" for at in range(number)]


class TestDraining:
    def test_in_order(self, spool: Spool) -> None:
        """Everything goes to Redis in its order, is announced, and leaves the spool."""
        fill(spool, 500)
        basin = Basin(spool)
        basin.drain()
        assert basin.step is None
        assert (ids(500), []) == (basin.server.ids, read_spool(spool.path))
        assert [f"bot/{partition_of('u0', 4)}"] == basin.server.announced

    def test_patient_announcement(self, spool: Spool) -> None:
        """An announcement may take as long as the append before it: its end would cost the connection."""
        fill(spool, 1)
        basin = Basin(spool)
        append = basin.to_ask()
        basin.take()
        assert append.timeout_s == basin.to_ask().timeout_s

    def test_partitions(self, spool: Spool) -> None:
        """Events go to the partition of their ordering key, which the spool keeps as a hash."""
        fill(spool, 50, users=7)
        basin = Basin(spool)
        basin.drain()
        for at, user in enumerate(f"u{number % 7}" for number in range(50)):
            assert f"m{at}" in basin.server.streams[f"pombo:{{bot}}:stream:{partition_of(user, 4)}"]

    def test_many_appends(self, spool: Spool) -> None:
        """What does not fit into one append follows in the next, one note on the disk each."""
        fill(spool, 1000, users=500)
        basin = Basin(spool, Server(source(partitions=256)))
        basin.drain()
        assert 1000 == len(set(basin.server.ids)) == len(basin.server.ids)
        assert all(len(append.batches) <= MAX_BATCHES for append in basin.server.appends)
        assert list(range(1, len(basin.server.appends) + 1)) == [one.sequence for one in basin.server.appends]

    def test_sources_take_turns(self, spool: Spool) -> None:
        """A source with much holds up none with little."""
        fill(spool, 6000, users=3000)
        fill(spool, 1, name="quiet")
        server = Server(source(partitions=256))
        server.execute = _for_all(server)  # type: ignore[method-assign]
        basin = Basin(spool, server)
        basin.drain()
        names = [append.keys[0] for append in server.appends]
        assert names.index("pombo:{quiet}:ledger") <= BURST

    def test_what_came_meanwhile(self, spool: Spool) -> None:
        """Events that are spooled while it drains go too."""
        fill(spool, 3)
        basin = Basin(spool)
        basin.to_append()
        fill(spool, 2)
        basin.drain()
        assert [*ids(3), *ids(2)] == basin.server.ids

    def test_disk_space_comes_back(self, spool: Spool) -> None:
        """An emptied spool is small again."""
        fill(spool, 5000)
        large = spool.path.stat().st_size + Path(f"{spool.path}-wal").stat().st_size
        Basin(spool).drain()
        assert large > 10 * (spool.path.stat().st_size + Path(f"{spool.path}-wal").stat().st_size)


def _for_all(server: Server) -> Any:
    """Serve every name as a source of the same settings."""
    execute = Server.execute

    def serve(command: Any) -> Any:
        if command[0] == "HGET":
            assert server.source is not None
            return server.source.model_copy(update={"name": command[2]}).dump()
        return execute(server, command)

    return serve


class TestDoubt:
    def test_handed_over(self, spool: Spool) -> None:
        """A flush that a producer left in doubt goes again under its token: applied before, it is not applied twice."""
        for applied in (True, False):
            append = fill(spool, 3, doubtful=True)
            assert append is not None
            fill(spool, 2)
            server = Server()
            if applied:
                server.append(append)
            Basin(spool, server).drain()
            assert [*ids(3), *ids(2)] == server.ids
            assert append.keys[1] == server.appends[-2].keys[1] != server.appends[-1].keys[1]

    def test_lost_answer(self, spool: Spool) -> None:
        """After a lost answer the same command goes again."""
        fill(spool, 3)
        basin = Basin(spool)
        first = basin.to_append()
        basin.server.append(first)
        basin.fail(LOST)
        assert first.digest == basin.to_append().digest
        basin.drain()
        assert ids(3) == basin.server.ids

    @pytest.mark.parametrize("steps", range(14))
    @pytest.mark.parametrize("executed", [True, False], ids=["after", "before"])
    def test_killed(self, spool: Spool, steps: int, executed: bool) -> None:
        """Whatever step it is killed at, the next one repeats nothing and leaves nothing out."""
        fill(spool, 150, users=100)
        server = Server(source(partitions=256))
        victim = Basin(spool, server)
        for _ in range(steps):
            victim.take()
        if executed and isinstance(victim.step, Disk):
            victim.step.call()
        elif executed and isinstance(victim.step, Ask):
            server.execute(victim.step.command)
        victim.die()
        fill(spool, 1)
        Basin(spool, server).drain()
        assert sorted([*ids(150), "m0"]) == sorted(server.ids)
        assert [] == read_spool(spool.path)

    def test_late_command_of_a_dead_process(self, spool: Spool) -> None:
        """A command that arrives after its process died and another one repeated it changes nothing."""
        fill(spool, 3)
        server = Server()
        victim = Basin(spool, server)
        late = victim.to_append()
        victim.die()
        Basin(spool, server).drain()
        server.append(late)
        fill(spool, 2)
        Basin(spool, server).drain()
        server.append(late)
        assert [*ids(3), *ids(2)] == server.ids

    def test_two_at_once(self, spool: Spool) -> None:
        """A stopped process that wakes up among another's work does no harm, even without the lock."""
        fill(spool, 150, users=100)
        server = Server(source(partitions=256))
        for steps in range(12):
            stopped = Basin(spool, server)
            for _ in range(steps):
                stopped.take()
            stopped.die()
            Basin(spool, server).drain()
            stopped.drain()
            assert ids(150) == sorted(server.ids, key=lambda name: int(name[1:]))
            server = Server(source(partitions=256))
            fill(spool, 150, users=100)

    def test_copied_folder(self, spool: Spool, tmp_path: Path) -> None:
        """A copy of the folder, as in a machine's image, goes on under other tokens: neither hides events."""
        fill(spool, 1)
        server = Server()
        Basin(spool, server).drain()
        spool.rest()
        copy = Spool(tmp_path / "copy" / spool.path.name)
        shutil.copytree(spool.path.parent, copy.path.parent)
        fill(spool, 2)
        fill(copy, 3)
        Basin(spool, server).drain()
        Basin(copy, server).drain()
        assert [*ids(1), *ids(2), *ids(3)] == server.ids

    def test_stale(self, spool: Spool) -> None:
        """A session that someone else used is left; the events go under a new one."""
        fill(spool, 2)
        basin = Basin(spool)
        append = basin.to_append()
        basin.server.sessions[append.keys[1]] = (99, [])
        basin.drain()
        assert ids(2) == basin.server.ids
        assert append.keys[1] != basin.server.appends[-1].keys[1]


class TestWeather:
    def test_away(self, spool: Spool) -> None:
        """While Redis is away it is asked about once a second, and nothing is written to the disk for it."""
        fill(spool, 3)
        basin = Basin(spool)
        asked = 0
        while basin.clock.at < 1060:
            if isinstance(basin.step, Ask):
                asked += 1
                basin.fail(AWAY)
            else:
                basin.take()
        assert 55 < asked < 75
        basin.drain(BACKOFF_MAX_S + 0.1)
        assert (ids(3), None) == (basin.server.ids, basin.step)

    def test_others_get_their_turn(self, spool: Spool) -> None:
        """Between two attempts that failed another process may try: this one may be the only one cut off."""
        fill(spool, 3)
        one, two = Basin(spool), Basin(spool)
        one.to_ask("HGET")
        two.take()
        two.take()
        assert isinstance(two.step, Sleep)
        one.fail(AWAY)
        two.drain()
        assert ids(3) == two.server.ids

    def test_full_redis(self, spool: Spool) -> None:
        """A Redis that is full leaves nothing noted: it is refused, not in doubt."""
        fill(spool, 3)
        basin = Basin(spool)
        basin.to_append()
        basin.fail(OutOfMemoryError("OOM command not allowed"))
        basin.take()
        head = spool.peek("bot", after=0, most=10, most_bytes=1000)
        assert head is not None
        assert head.attempt is None
        basin.drain()
        assert ids(3) == basin.server.ids

    def test_patience_grows(self, spool: Spool) -> None:
        """A command whose answer stays out gets more time, so that a slow Redis is drained too."""
        fill(spool, 3)
        basin = Basin(spool)
        timeouts = []
        for _ in range(4):
            timeouts.append(basin.to_ask().timeout_s)
            basin.fail(TimeoutError("timed out"))
        assert [5.0, 10.0, 10.0, 10.0] == timeouts

    def test_one_source_in_trouble(self, spool: Spool) -> None:
        """A source whose appends fail holds up no other."""
        fill(spool, 1, name="ill")
        fill(spool, 1, name="well")
        server = Server()
        server.execute = _for_all(server)  # type: ignore[method-assign]
        basin = Basin(spool, server)
        while basin.clock.at < 1002 and basin.step is not None:
            if isinstance(basin.step, Ask) and "pombo:{ill}:ledger" in basin.step.command:
                basin.fail(LOST)
            else:
                basin.take()
        assert ["ill"] == [one.source for one in read_spool(spool.path)]

    def test_disk_trouble(self, spool: Spool) -> None:
        """A disk that fails for a while ends nothing."""
        fill(spool, 3)
        basin = Basin(spool)
        for _ in range(5):
            while not isinstance(basin.step, Disk):
                basin.take()
            basin.fail(SpoolError("no"))
        basin.drain()
        assert ids(3) == basin.server.ids

    def test_deleted_folder(self, spool: Spool) -> None:
        """A spool that was deleted under its drainer is empty, and is not made again."""
        fill(spool, 3)
        basin = Basin(spool)
        basin.to_append()
        for path in spool.path.parent.iterdir():
            path.unlink()
        basin.drain()
        assert (None, False) == (basin.step, spool.path.exists())


def _left_in_doubt(spool: Spool, server: Server, number: int) -> Append:
    """Put into the spool what a producer sent, although the spool held events when it looked."""
    bench = Bench(server)
    bench.put(number)
    append = bench.to_append()
    flush = bench.outbox._flush
    assert flush is not None
    spool.put("bot", flush.events, limit=1 << 30, wait_s=5.0, sent=flush.sent, sent_events=number)
    return append


class TestSource:
    def test_waits_for_its_source(self, spool: Spool) -> None:
        """What was spooled for a source that does not exist waits, says so, and goes when the source is added."""
        fill(spool, 3)
        basin = Basin(spool, Server(source=None))
        basin.drain(10)
        assert ["unknown_source"] == [one.stuck for one in read_spool(spool.path)]
        basin.server.source = source()
        basin.drain(2)
        assert (ids(3), None) == (basin.server.ids, basin.step)

    def test_holds_up_no_other(self, spool: Spool) -> None:
        """An unknown source is no weather for the others."""
        fill(spool, 1, name="nobody")
        fill(spool, 2)
        server = Server()
        basin = Basin(spool, server)
        while basin.clock.at < 1002:
            if isinstance(basin.step, Ask) and basin.step.command[2] == "nobody":
                basin.step = advance(basin.flow, None)
            else:
                basin.take()
        assert (ids(2), ["nobody"]) == (server.ids, [one.source for one in read_spool(spool.path)])

    @pytest.mark.parametrize("doubtful", [True, False])
    def test_added_anew(self, spool: Spool, doubtful: bool) -> None:
        """What went to a source that was removed and added anew goes to the new one."""
        fill(spool, 3, doubtful=doubtful)
        basin = Basin(spool)
        basin.to_append()
        basin.server.source, basin.server.ledger = source(incarnation="second", partitions=2), "second"
        basin.drain()
        assert (ids(3), "second") == (basin.server.ids, basin.server.appends[-1].incarnation)

    def test_added_anew_unnoticed(self, spool: Spool) -> None:
        """A drainer that has not noticed takes no append of the new source for one that is gone with the old."""
        server = Server()
        fill(spool, 1)
        basin = Basin(spool, server)
        basin.to_append()
        basin.take()
        server.source, server.ledger, server.streams = source(incarnation="second"), "second", {}
        append = _left_in_doubt(spool, server, 2)
        server.append(append)
        basin.drain()
        assert (ids(2), None) == (server.ids, basin.step)

    def test_no_ledger(self, spool: Spool) -> None:
        """A source whose ledger is lost is stuck, and says so."""
        fill(spool, 3)
        basin = Basin(spool, Server(ledger=None))
        basin.drain(5)
        assert ["no_ledger"] == [one.stuck for one in read_spool(spool.path)]
        assert len(basin.server.appends) < 10

    def test_newer_settings(self, spool: Spool) -> None:
        """Settings that a newer pombo stored leave the source stuck, and say so."""
        fill(spool, 3)
        basin = Basin(spool)
        while basin.clock.at < 1003:
            if isinstance(basin.step, Ask):
                basin.step = advance(basin.flow, b'{"v": 2}')
            else:
                basin.take()
        assert ["unreadable_source"] == [one.stuck for one in read_spool(spool.path)]

    def test_full_backlog(self, spool: Spool) -> None:
        """At its backlog limit a source waits, sends what fits, and goes on when there is room."""
        fill(spool, 3000)
        server = Server(source(backlog_bytes=3000))
        basin = Basin(spool, server)
        basin.drain(3)
        (left,) = read_spool(spool.path)
        assert "backlog_full" == left.stuck
        assert 0 < left.events < 3000
        while basin.step is not None:
            server.queued = 0
            basin.drain(1)
        assert ids(3000) == server.ids
