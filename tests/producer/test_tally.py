"""What a producer knows that Redis accepted, and Redis no longer does."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from pombo.producer.buffer import Pending
from pombo.producer.drain import Drain
from pombo.producer.flush import SESSION_S, Flush, read_answer
from pombo.producer.spool import Spool
from pombo.producer.steps import Ask, Disk, NotSentError, Sleep, advance
from pombo.producer.tally import SURE_S
from pombo.shared.scripts import script
from pombo.shared.sources import Source
from producer.rig import KEYS, Append, Bench, FakeClock, Server, add_source, reason
from support.older import bring_back, keep

LOST = ConnectionError("the line was cut")


def accept(bench: Bench, number: int) -> None:
    """Have events accepted, in one flush."""
    bench.put(number)
    bench.settle()


def go_back(bench: Bench, state: Server) -> None:
    """Have the server come back as it was, but for what it was asked and forgot."""
    bench.server.sessions, bench.server.totals = dict(state.sessions), dict(state.totals)


class TestProducer:
    def test_all_is_known(self) -> None:
        """A Redis that forgot nothing hears the running total, and finds nothing."""
        bench = Bench()
        for number in (3, 2, 4):
            accept(bench, number)
        assert [0, 3, 5] == [append.known for append in bench.server.appends]
        assert 0 == bench.server.forgotten

    def test_counts_exactly(self, caplog: pytest.LogCaptureFixture) -> None:
        """An older state that lacks two flushes of 2 and 4 lacks 6 events: told once, in one line."""
        bench = Bench()
        accept(bench, 3)
        older = deepcopy(bench.server)
        accept(bench, 2)
        accept(bench, 4)
        go_back(bench, older)
        with caplog.at_level(logging.WARNING, "pombo.producer"):
            accept(bench, 1)
            accept(bench, 1)
        assert 6 == bench.server.forgotten
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("Redis forgot 6 events of source bot")
        assert 11 == bench.server.totals[bench.server.appends[-1].keys[1]]

    def test_session_gone(self) -> None:
        """A state from before the session lacks all of it."""
        bench = Bench()
        accept(bench, 3)
        go_back(bench, Server())
        accept(bench, 1)
        assert 3 == bench.server.forgotten

    def test_twice(self) -> None:
        """Each loss counts once."""
        bench = Bench()
        accept(bench, 1)
        for _ in range(2):
            older = deepcopy(bench.server)
            accept(bench, 5)
            go_back(bench, older)
            accept(bench, 1)
        assert 10 == bench.server.forgotten

    def test_doubtful_flush_that_was_lost(self) -> None:
        """A flush that was applied, unheard, and then lost was not acknowledged: its repeat brings it anew."""
        bench = Bench()
        accept(bench, 3)
        older = deepcopy(bench.server)
        (receipt,) = bench.put()
        bench.to_append()
        assert isinstance(bench.step, Ask)
        bench.server.execute(bench.step.command)
        go_back(bench, older)
        bench.fail(LOST)
        bench.settle()
        accept(bench, 1)
        assert ("accepted", 0) == (reason(receipt), bench.server.forgotten)
        assert [3, 3, 4] == [append.known for append in bench.server.appends[-3:]]

    def test_doubtful_flush_that_stayed(self) -> None:
        """One that was applied, unheard, and kept counts once; what was lost before it is noted by its first try."""
        bench = Bench()
        accept(bench, 3)
        go_back(bench, Server())
        bench.put(2)
        bench.to_append()
        assert isinstance(bench.step, Ask)
        bench.server.execute(bench.step.command)
        bench.fail(LOST)
        bench.settle()
        accept(bench, 1)
        assert (3, 5) == (bench.server.forgotten, bench.server.appends[-1].known)

    def test_given_up_and_come_through(self) -> None:
        """Events that were given up as unconfirmed, and came through, are no loss, and hide none."""
        bench = Bench()
        accept(bench, 3)
        receipts = bench.put(4)
        bench.to_append()
        assert isinstance(bench.step, Ask)
        bench.server.execute(bench.step.command)
        bench.until(*receipts, fail=LOST)
        older = deepcopy(bench.server)
        accept(bench, 2)
        assert (0, {"unconfirmed"}) == (bench.server.forgotten, set(map(reason, receipts)))
        go_back(bench, older)
        accept(bench, 1)
        assert 2 == bench.server.forgotten

    @pytest.mark.parametrize(("idle_s", "forgotten"), [(SURE_S - 1, 3), (SURE_S, 0), (SESSION_S, 0)])
    def test_idle(self, idle_s: float, forgotten: int) -> None:
        """A session that may have ended by its age is no loss."""
        bench = Bench()
        accept(bench, 3)
        bench.clock.at += idle_s
        go_back(bench, Server())
        accept(bench, 1)
        assert forgotten == bench.server.forgotten

    def test_idle_in_doubt(self) -> None:
        """A process that was stopped for days with a flush in doubt raises no alarm when it goes on."""
        bench = Bench()
        accept(bench, 3)
        bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.clock.at += SESSION_S
        go_back(bench, Server())
        bench.settle()
        assert (0, 0) == (bench.server.appends[-1].known, bench.server.forgotten)

    def test_source_added_anew(self) -> None:
        """A source that was removed and added again has forgotten nothing."""
        bench = Bench()
        accept(bench, 3)
        bench.server.ledger = "second"
        bench.server.source = Source(name="bot", incarnation="second", partitions=4)
        go_back(bench, Server())
        accept(bench, 1)
        accept(bench, 1)
        assert (0, [0, 1]) == (bench.server.forgotten, [append.known for append in bench.server.appends[-2:]])

    def test_resumed_snapshot(self) -> None:
        """Two processes of one session, as a snapshot makes them, raise no alarm, whoever goes on."""
        bench = Bench()
        accept(bench, 3)
        session = bench.server.appends[-1].keys[1]
        bench.server.sessions[session], bench.server.totals[session] = (99, []), 500
        (receipt,) = bench.put()
        bench.settle()
        accept(bench, 1)
        assert ("unconfirmed", 0) == (reason(receipt), bench.server.forgotten)
        assert [0] == [append.known for append in bench.server.appends if append.keys[1] != session]

    def test_answer_of_an_older_pombo(self) -> None:
        """A stored reply without totals is read, and tells nothing."""
        assert ("ok", 7, 0, 0) == read_answer([b"ok", 7, 1, b"1-1", b"1-2"])
        assert ("ok", 7, 12, 3) == read_answer([b"ok", 7, 1, 12, 3, b"1-1"])


class TestDrainer:
    def go_on(self, drain: Drain, server: Server) -> None:
        """Drain the spool to its end."""
        flow = drain.run()
        step = advance(flow)
        while step is not None:
            match step:
                case Disk():
                    step = advance(flow, step.call())
                case Ask():
                    step = advance(flow, server.execute(step.command))
                case Sleep():
                    step = advance(flow)

    def fill(self, spool: Spool, number: int, fail: Exception) -> None:
        """Spool events: those of a flush whose answer stayed out, where that is what fails."""
        bench = Bench(spool=spool)
        receipts = bench.put(number)
        if fail is LOST:
            bench.to_append()
        bench.until(*receipts, fail=fail)

    def test_counts_exactly(self, tmp_path: Path) -> None:
        """A drainer notices what Redis forgot of its own appends."""
        spool, server = Spool(tmp_path / "spool" / "pombo.sqlite3"), Server()
        drain = Drain(spool, keys=KEYS, clock=FakeClock())
        for number in (3, 2):
            self.fill(spool, number, NotSentError())
            self.go_on(drain, server)
        server.totals.clear()
        server.sessions.clear()
        self.fill(spool, 1, NotSentError())
        self.go_on(drain, server)
        assert ([0, 3, 5], 5) == ([append.known for append in server.appends], server.forgotten)

    def test_attempts_of_others(self, tmp_path: Path) -> None:
        """What others began goes under their session, and tells nothing; one's own total stays as it is."""
        spool, server = Spool(tmp_path / "spool" / "pombo.sqlite3"), Server()
        drain = Drain(spool, keys=KEYS, clock=FakeClock())
        for number, fail in ((3, NotSentError()), (2, LOST), (4, NotSentError())):
            self.fill(spool, number, fail)
            self.go_on(drain, server)
        assert ([0, 0, 3], 0) == ([append.known for append in server.appends], server.forgotten)


# -- the script -------------------------------------------------------------------------------------------------------


class Session:
    """A producer session by hand, on a real server."""

    def __init__(self, redis: Redis, name: str = "s1") -> None:
        self.redis = redis
        self.name = name
        self.source = add_source(redis, incarnation="first", partitions=2)
        self.sequence = 0

    def append(self, number: int, known: int, *, sequence: int | None = None) -> Any:
        """Append so many events to one partition, knowing what was accepted before."""
        self.sequence = sequence or self.sequence + 1
        bench = Bench()
        bench.put(number)
        taken: list[Pending] = []
        bench.buffer.take(number, taken)
        flush = Flush(taken, self.source, KEYS, self.name, self.sequence)
        flush.known = known
        execute: Any = self.redis.execute_command
        return execute(*flush.command("EVAL", script("append").text))

    @property
    def notes(self) -> list[tuple[bytes, bytes]]:
        found: Any = self.redis.xrange(KEYS.of("bot").losses)
        return [(fields[b"session"], fields[b"forgotten"]) for _, fields in found]

    @property
    def forgotten(self) -> int:
        return int(self.redis.hget(KEYS.of("bot").ledger, "forgotten") or 0)


@pytest.fixture
def session(sync_redis: Redis) -> Session:
    return Session(sync_redis)


def totals(reply: Any) -> list[int]:
    """Total and forgotten."""
    return list(reply[3:5])


class TestScript:
    def test_total(self, session: Session) -> None:
        """The total of a session goes up by what is appended; nothing is noted."""
        assert [[3, 0], [5, 0]] == [totals(session.append(3, 0)), totals(session.append(2, 3))]
        assert (0, [], False) == (session.forgotten, session.notes, session.redis.exists(KEYS.of("bot").losses))

    def test_forgotten(self, session: Session) -> None:
        """What an older state lacks is noted with the session, in the ledger too, and the append goes on."""
        session.append(3, 0)
        older = keep(session.redis)
        session.append(4, 3)
        bring_back(session.redis, older)
        assert [8, 4] == totals(session.append(1, 7))
        assert (4, [(b"s1", b"4")]) == (session.forgotten, session.notes)
        assert [9, 0] == totals(session.append(1, 8))

    def test_repeat(self, session: Session) -> None:
        """A repeat of the append that noted a loss answers the same, and notes nothing more."""
        first = session.append(1, 7)
        assert [8, 7] == totals(first)
        assert first == session.append(1, 7, sequence=session.sequence)
        assert (7, 1) == (session.forgotten, len(session.notes))

    def test_unknown(self, session: Session) -> None:
        """Who knows no total raises no alarm, and learns it."""
        session.append(3, 0)
        assert [4, 0] == totals(session.append(1, 0))

    def test_session_of_an_older_pombo(self, session: Session) -> None:
        """A stored session without a total is taken at its owner's word."""
        session.append(3, 0)
        session.redis.hdel(KEYS.of("bot").session("s1"), "total")
        assert [8, 0] == totals(session.append(1, 7))

    def test_nothing_is_noted_unless_written(self, session: Session) -> None:
        """An append that is refused notes nothing: the next one that is taken does."""
        session.source = session.source.model_copy(update={"backlog_bytes": 1})
        assert b"full" == session.append(1, 7)[0]
        session.source = session.source.model_copy(update={"incarnation": "second", "backlog_bytes": 0})
        assert [b"unknown"] == session.append(1, 7)
        assert (0, []) == (session.forgotten, session.notes)

    def test_bounded(self, session: Session) -> None:
        """Of many losses the newest are kept, and all are counted."""
        for number in range(120):
            session.append(1, 10 * (number + 1))
        assert 100 == len(session.notes)
        assert session.forgotten == sum(10 if not n else 9 for n in range(120))


def test_append_reads_its_tail() -> None:
    """The known total is the last argument, behind the record batches."""
    bench = Bench()
    accept(bench, 2)
    bench.put()
    bench.to_append()
    assert isinstance(bench.step, Ask)
    command = bench.step.command
    assert (2, 2, 4, KEYS.of("bot").losses) == (command[-1], Append.read(command).known, command[2], command[6])
