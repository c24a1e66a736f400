"""The core with a spool: when events go to the disk, in which order, and what their receipts say."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError, ReadOnlyError, TimeoutError

from pombo.producer.overflow import RESCUE_S, Once
from pombo.producer.spool import Spool, read_spool
from pombo.producer.spooled import UNKNOWN_SOURCE, Holding
from pombo.producer.steps import Ask, Disk, NotSentError
from pombo.shared.errors import SpoolError
from pombo.shared.sources import Source
from producer.rig import Bench, Server, reason

AWAY = NotSentError()
LOST = ConnectionError("the line was cut")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "pombo.sqlite3")


def spooled(spool: Spool, source: str = "bot") -> list[str]:
    """MessageIds in the spool, in order."""
    head = spool.peek(source, after=0, most=10_000, most_bytes=1 << 30)
    found: list[str] = []
    while head is not None:
        found += [event.body.split(b'"')[3].decode() for event in head.events]
        head = spool.peek(source, after=head.events[-1].id, most=10_000, most_bytes=1 << 30)
    return found


class Broken:
    """A spool that holds nothing, or says that it does, and takes nothing."""

    def __init__(self, spool: Spool, *, holds: bool = False) -> None:
        self._spool = spool
        self.holds = holds
        self.mended = False

    def holding(self, source: str) -> Holding | None:
        return Holding(1) if self.holds else self._spool.holding(source)

    def put(self, *args: object, **options: object) -> int:
        if self.mended:
            return self._spool.put(*args, **options)  # type: ignore[arg-type]
        raise SpoolError("the spool /x is full; make room there")

    def tell(self, source: str, why: str) -> None:
        self._spool.tell(source, why)


class TestWeather:
    @pytest.mark.parametrize("error", [AWAY, LOST, ReadOnlyError("READONLY"), OutOfMemoryError("OOM"), TimeoutError()])
    def test_spooled_after_half_the_budget(self, spool: Spool, error: Exception) -> None:
        """What Redis does not take for half of the budget is on the disk within the budget, in order."""
        bench = Bench(spool=spool)
        receipts = bench.put(5)
        started = bench.clock.at
        bench.until(*receipts, fail=error)
        assert ["spooled"] * 5 == list(map(reason, receipts))
        assert 0.45 < bench.clock.at - started < 0.6
        assert [f"m{number}" for number in range(5)] == spooled(spool)
        assert (0, 0) == (bench.buffer.events, bench.buffer.bytes)
        assert [f"m{number}" for number in range(5)] == bench.metrics.accepted_ids

    def test_a_hang_leaves_time_for_the_disk(self, spool: Spool) -> None:
        """Commands that time out one after the other leave the disk a third of the budget."""
        bench = Bench(spool=spool)
        (receipt,) = bench.put()
        started = bench.clock.at
        while not receipt.done:
            if isinstance(bench.step, Ask):
                bench.clock.at += bench.step.timeout_s
                bench.fail(TimeoutError("timed out"))
            elif isinstance(bench.step, Disk):
                assert bench.clock.at - started < 0.67
                bench.disk()
            else:
                bench.sleep()
        assert "spooled" == reason(receipt)

    def test_recovery_within_half_the_budget(self, spool: Spool) -> None:
        """A short outage spools nothing."""
        bench = Bench(spool=spool)
        (receipt,) = bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.settle()
        assert ("accepted", []) == (reason(receipt), spooled(spool))

    def test_unreadable_registry(self, spool: Spool) -> None:
        """A source in a form that this version cannot read is weather: its events wait on the disk."""
        bench = Bench(spool=spool)
        (receipt,) = bench.put()
        while not receipt.done:
            if isinstance(bench.step, Disk):
                bench.disk()
            elif isinstance(bench.step, Ask):
                bench.reply(b'{"v": 2}')
            else:
                bench.sleep()
        assert "spooled" == reason(receipt)

    def test_no_spool(self) -> None:
        """Without a spool nothing is different from before."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.until(receipt, fail=AWAY)
        assert "unavailable" == reason(receipt)

    def test_unused_spool_makes_no_file(self, spool: Spool) -> None:
        """While Redis takes the events there is no database."""
        bench = Bench(spool=spool)
        bench.put()
        bench.settle()
        assert not spool.path.exists()


class TestOrder:
    def test_later_events_queue_behind(self, spool: Spool) -> None:
        """While the spool holds events of the source, later ones follow at once, though Redis is well."""
        bench = Bench(spool=spool)
        bench.until(*bench.put(), fail=AWAY)
        (receipt,) = bench.put()
        started = bench.clock.at
        bench.settle()
        assert ("spooled", ["m0", "m1"], []) == (reason(receipt), spooled(spool), bench.server.ids)
        assert bench.clock.at - started < 0.01

    def test_of_other_processes_too(self, spool: Spool) -> None:
        """It does not matter whose events the spool holds."""
        other = Bench(spool=Spool(spool.path))
        other.until(*other.put(), fail=AWAY)
        bench = Bench(spool=spool)
        (receipt,) = bench.put()
        bench.settle()
        assert "spooled" == reason(receipt)

    def test_of_other_sources_not(self, spool: Spool) -> None:
        """Events of another source hold nobody back."""
        other = Bench(spool=spool, source="other")
        other.until(*other.put(), fail=AWAY)
        bench = Bench(spool=spool)
        (receipt,) = bench.put()
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_direct_again(self, spool: Spool) -> None:
        """When the spool is empty again the next event goes to Redis."""
        bench = Bench(spool=spool)
        bench.until(*bench.put(), fail=AWAY)
        spool.path.unlink()
        (receipt,) = bench.put()
        bench.settle()
        assert ("accepted", ["m1"]) == (reason(receipt), bench.server.ids)


class TestDoubt:
    def test_goes_frozen(self, spool: Spool) -> None:
        """A flush in doubt is spooled with its token and before the rest; the core goes on under a new session."""
        bench = Bench(spool=spool)
        receipts = bench.put(2)
        append = bench.to_append()
        receipts += bench.put(1)
        bench.until(*receipts[:2], fail=LOST)
        bench.settle()
        assert ["spooled"] * 3 == list(map(reason, receipts))
        head = spool.peek("bot", after=0, most=100, most_bytes=1000)
        assert head is not None
        assert head.attempt is not None
        assert 2 == len(head.events)
        assert append.keys[1].endswith(head.attempt.sent.session)
        assert (append.sequence, "first") == (head.attempt.sent.sequence, head.attempt.sent.incarnation)
        spool.path.unlink()
        bench.put()
        assert append.keys[1] != bench.to_append().keys[1]

    def test_given_up_events_go_along(self, spool: Spool) -> None:
        """Events that ran out while the spool was full go with their flush when it takes events again."""
        broken = Broken(spool)
        bench = Bench(spool=broken)
        (old,) = bench.put()
        bench.clock.at += 0.5
        (young,) = bench.put()
        bench.to_append()
        bench.until(old, fail=LOST)
        assert ("unconfirmed", "open") == (reason(old), reason(young))
        broken.mended = True
        bench.until(young, fail=LOST)
        assert ("spooled", ["m0", "m1"]) == (reason(young), spooled(spool))

    def test_given_up_never_overtakes(self, spool: Spool) -> None:
        """What was given up in doubt while the spool was full can never be written after what was spooled then."""
        broken = Broken(spool)
        bench = Bench(spool=broken)
        (old,) = bench.put()
        late = bench.to_append()
        bench.until(old, fail=LOST)
        broken.mended = True
        young = bench.put(2)
        bench.until(*young, fail=AWAY)
        assert ["unconfirmed", "spooled", "spooled"] == list(map(reason, [old, *young]))
        assert ["m1", "m2"] == spooled(spool)
        head = spool.peek("bot", after=0, most=100, most_bytes=1000)
        assert head is not None
        assert head.attempt is not None
        assert 1 == len(head.events)
        assert late.keys[1].endswith(head.attempt.sent.session)
        assert late.sequence < head.attempt.sent.sequence

    def test_full_backlog(self, spool: Spool) -> None:
        """A full backlog refuses events as ever, but what is in doubt may be in Redis, and is spooled."""
        server = Server(Source(name="bot", incarnation="first", backlog_bytes=1))
        bench = Bench(server, spool=spool)
        (doubtful,) = bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.settle()
        spool.path.unlink()
        (sure,) = bench.put()
        bench.settle()
        assert ("spooled", "backlog_full") == (reason(doubtful), reason(sure))


class TestRefusals:
    def test_unknown_source(self, spool: Spool) -> None:
        """A Redis that answers and has no such source rejects; nothing is spooled."""
        bench = Bench(Server(source=None), spool=spool)
        (receipt,) = bench.put()
        bench.settle()
        assert ("unknown_source", []) == (reason(receipt), spooled(spool))

    def test_stuck_source_does_not_pile_up(self, spool: Spool) -> None:
        """Behind events that wait for an unknown source the registry is asked: absent, rejected; away, spooled."""
        bench = Bench(Server(source=None), spool=spool)
        bench.until(*bench.put(), fail=AWAY)
        spool.stick("bot", UNKNOWN_SOURCE)
        (refused,) = bench.put()
        bench.settle()
        (away,) = bench.put()
        bench.until(away, fail=AWAY)
        bench.server.source = Source(name="bot", incarnation="first")
        (there,) = bench.put()
        bench.settle()
        assert ["unknown_source", "spooled", "spooled"] == [reason(refused), reason(away), reason(there)]


class TestDiskTrouble:
    def test_rejected_within_the_budget(self, spool: Spool) -> None:
        """Without room on the disk the event is unavailable when its budget ends, and both troubles are told."""
        bench = Bench(spool=Broken(spool))
        (receipt,) = bench.put()
        started = bench.clock.at
        bench.until(receipt, fail=AWAY)
        assert "unavailable" == reason(receipt)
        assert 0.9 < bench.clock.at - started <= 1.0
        message = bench.rejected[0][0].message
        assert "redis://test" in message
        assert 1 == message.count("the spool /x is full")

    def test_redis_may_still_take_it(self, spool: Spool) -> None:
        """While the disk takes nothing Redis is asked on, and may take the event."""
        bench = Bench(spool=Broken(spool))
        (receipt,) = bench.put()
        while bench.clock.at < 1000.7:
            if isinstance(bench.step, Ask):
                bench.fail(AWAY)
            else:
                bench.disk() if isinstance(bench.step, Disk) else bench.sleep()
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_never_past_what_is_held(self, spool: Spool) -> None:
        """While the spool holds events of the source and takes no more, none goes past them to Redis."""
        bench = Bench(spool=Broken(spool, holds=True))
        (receipt,) = bench.put()
        bench.settle()
        assert ("unavailable", []) == (reason(receipt), bench.server.ids)

    def test_takes_what_fits(self, spool: Spool) -> None:
        """A spool with room for some takes the oldest; the rest is unavailable."""
        bench = Bench(spool=spool, spool_bytes=540)
        receipts = bench.put(6)
        bench.until(*receipts, fail=AWAY)
        assert ["spooled"] * 4 + ["unavailable"] * 2 == list(map(reason, receipts))
        assert "it may hold 540 bytes" in bench.rejected[0][0].message

    def test_recovery_is_noticed(self, spool: Spool) -> None:
        """Once the disk takes events again they are spooled, and the old trouble is forgotten."""
        broken = Broken(spool)
        bench = Bench(spool=broken)
        bench.until(*bench.put(), fail=AWAY)
        broken.mended = True
        (receipt,) = bench.put()
        bench.until(receipt, fail=AWAY)
        assert "spooled" == reason(receipt)


class TestEnd:
    def test_give_up_spools(self, spool: Spool) -> None:
        """A driver that must end leaves everything on the disk, what is in doubt first."""
        bench = Bench(spool=spool)
        receipts = bench.put(2)
        bench.to_append()
        receipts += bench.put(2)
        bench.outbox.give_up("closed", "the end")
        assert (["spooled"] * 4, ["m0", "m1", "m2", "m3"]) == (list(map(reason, receipts)), spooled(spool))

    def test_give_up_in_the_midst_of_it(self, spool: Spool) -> None:
        """Work on the disk whose driver was cancelled, done or not, is not repeated."""
        for done in (False, True):
            bench = Bench(spool=spool)
            (receipt,) = bench.put()
            while not isinstance(bench.step, Disk):
                bench.sleep() if not isinstance(bench.step, Ask) else bench.fail(AWAY)
            if done:
                bench.step.call()
            bench.outbox.give_up("closed", "the end")
            assert "spooled" == reason(receipt)
        assert 2 == read_spool(spool.path)[0].events

    def test_give_up_has_time(self, spool: Spool) -> None:
        """At the end others are waited for, though the budget is used up: all processes of a bot end together."""
        waits = []

        class Watched(Broken):
            def put(self, *args: object, **options: object) -> int:
                waits.append(options["wait_s"])
                return super().put(*args, **options)

        bench = Bench(spool=Watched(spool))
        bench.put()
        bench.clock.at += 5.0
        bench.outbox.give_up("closed", "the end")
        assert [RESCUE_S] == waits

    def test_give_up_without_room(self, spool: Spool) -> None:
        """When the disk takes nothing at the end, receipts say what would be said without a spool."""
        bench = Bench(spool=Broken(spool))
        (sent,) = bench.put()
        bench.to_append()
        (waiting,) = bench.put()
        bench.outbox.give_up("closed", "the end")
        assert ("unconfirmed", "closed") == (reason(sent), reason(waiting))


def test_once() -> None:
    """Work is done once, and all who call get its result or its error."""
    done: list[int] = []
    work = Once(lambda: done.append(1) or 7)  # type: ignore[func-returns-value]
    assert [7, 7] == [work(), work()]
    failing: Once[Sequence[int]] = Once(lambda: [][done[0]])
    for _ in range(2):
        with pytest.raises(IndexError):
            failing()
    assert [1] == done
