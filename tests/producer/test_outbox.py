import orjson
import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError, ResponseError, TimeoutError

from pombo.producer.flush import MAX_BATCHES
from pombo.producer.steps import Ask, NotSentError, Sleep
from pombo.shared.batches import MAX_EVENTS, partition_of
from pombo.shared.scripts import script
from pombo.shared.sources import Source
from producer.rig import Append, Bench, Server, reason

LOST = ConnectionError("the line was cut")
REFUSED = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")


def not_sent(text: str = "connection refused") -> NotSentError:
    error = NotSentError()
    error.__cause__ = ConnectionError(text)
    return error


def source(**options: object) -> Source:
    return Source.model_validate({"name": "bot", "incarnation": "first", "partitions": 4, **options})


class TestGrouping:
    def test_lingers(self) -> None:
        """A lone event waits its two milliseconds for company, then goes."""
        bench = Bench()
        bench.put()
        step = bench.reply()
        assert isinstance(step, Sleep)
        assert pytest.approx(0.002) == step.seconds
        assert isinstance(bench.sleep(), Ask)

    def test_shares_a_round_trip(self) -> None:
        """Events that arrive while the first one lingers go in the same append."""
        bench = Bench()
        bench.put()
        bench.reply()
        bench.put(2)
        assert ["m0", "m1", "m2"] == bench.to_append().ids

    def test_full_batch_goes_at_once(self) -> None:
        """A full record batch does not linger."""
        bench = Bench()
        bench.put(MAX_EVENTS)
        assert isinstance(bench.reply(), Ask)

    def test_wakes_the_flusher_for_a_reason(self) -> None:
        """Only the first event and the one that fills a record batch wake the flusher."""
        bench = Bench()
        bench.put()
        bench.reply()
        bench.put(MAX_EVENTS - 2)
        before = bench.wakes
        bench.put(1)
        assert (1, 2) == (before, bench.wakes)

    def test_one_flush_under_way(self) -> None:
        """Events that arrive during a flush gather for the next one, which goes at once."""
        bench = Bench()
        bench.put()
        bench.to_append()
        bench.put(3)
        bench.clock.at += 0.01
        bench.serve()  # The append; its announcement is next.
        bench.serve()
        assert ["m1", "m2", "m3"] == bench.to_append().ids

    def test_hurry(self) -> None:
        """A call of flush ends the lingering."""
        bench = Bench(linger_s=10.0)
        (receipt,) = bench.put()
        bench.reply()
        assert receipt is bench.buffer.hurry()
        assert isinstance(bench.reply(), Ask)

    def test_partitions_keep_order(self) -> None:
        """Each partition's record batches hold its events in the order of acceptance."""
        bench = Bench()
        users = [f"u{number % 7}" for number in range(300)]
        for user in users:
            bench.put(key=user)
        bench.settle()
        for partition in range(4):
            expected = [f"m{at}" for at, user in enumerate(users) if partition_of(user, 4) == partition]
            assert expected == bench.server.streams[f"pombo:{{bot}}:stream:{partition}"]

    def test_record_batches_are_bounded(self) -> None:
        """A record batch has at most 100 events and 475,000 bytes."""
        bench = Bench()
        bench.put(250)
        bench.put(20, pad=30_000)
        append = bench.to_append()
        assert [100, 100] == [events for _, events, _, _ in append.batches][:2]
        assert all(raw <= 475_000 for _, _, raw, _ in append.batches)
        assert 270 == sum(events for _, events, _, _ in append.batches)

    def test_appends_are_bounded(self) -> None:
        """An append has at most 64 record batches; the rest follows."""
        bench = Bench(Server(source(partitions=256)))
        receipts = [receipt for user in range(400) for receipt in bench.put(key=f"u{user}")]
        assert MAX_BATCHES == len(bench.to_append().batches)
        bench.settle()
        assert {"accepted"} == set(map(reason, receipts))


class TestContract:
    def test_arguments(self) -> None:
        """The append's keys and arguments are those of its contract."""
        bench = Bench(Server(source(backlog_bytes=5000)))
        bench.put(2)
        bench.to_append()
        assert isinstance(bench.step, Ask)
        command = bench.step.command
        partition = partition_of("u1", 4)
        session = str(command[4])
        assert ("EVALSHA", script("append").sha, 4) == command[:3]
        keys = ("pombo:{bot}:ledger", session, f"pombo:{{bot}}:stream:{partition}", "pombo:{bot}:losses")
        assert keys == command[3:7]
        assert session.startswith("pombo:{bot}:session:")
        assert ("first", 1, 5000, 172_800, "pombo:wake", "track=2", f"bot/{partition}", 2) == command[7:15]

    def test_script_is_sent_when_unknown(self) -> None:
        """A server without the script gets its text, and the flush is not in doubt for it."""
        bench = Bench(Server(loaded=False))
        receipts = bench.put()
        bench.settle()
        assert ["accepted"] == list(map(reason, receipts))
        assert 1 == len(bench.server.appends)

    def test_sequences_rise(self) -> None:
        """Each flush has the next sequence of one session."""
        bench = Bench()
        for _ in range(3):
            bench.put()
            bench.settle()
        assert [1, 2, 3] == [append.sequence for append in bench.server.appends]
        assert 1 == len({append.keys[1] for append in bench.server.appends})

    def test_unreadable_answer(self) -> None:
        """An answer that this version does not know leaves the event unconfirmed."""
        bench = Bench()
        receipts = bench.put()
        bench.to_append()
        bench.reply([b"mystery"])
        bench.until(*receipts, fail=not_sent())
        assert ["unconfirmed"] == list(map(reason, receipts))


class TestDoubt:
    def test_repeats_the_same_bytes(self) -> None:
        """After a lost reply the same command goes again, and the event is in the queue once."""
        bench = Bench()
        (receipt,) = bench.put()
        first = bench.to_append()
        bench.server.append(first)
        bench.fail(LOST)
        bench.put()
        second = bench.to_append()
        bench.settle()
        assert first.digest == second.digest
        assert ["m0", "m1"] == bench.server.ids
        assert "accepted" == reason(receipt)

    def test_gives_up_as_unconfirmed(self) -> None:
        """An event whose replies all stay out is unconfirmed when its budget ends; its messageId is told."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.to_append()
        started = bench.clock.at
        bench.until(receipt, fail=LOST)
        assert "unconfirmed" == reason(receipt)
        assert bench.clock.at - started <= 1.0
        assert "m0" == bench.rejected[0][0].message_id
        assert "same message_id" in bench.rejected[0][0].message

    def test_next_flush_takes_the_next_sequence(self) -> None:
        """A flush that was given up in doubt leaves its sequence behind: arriving late, it is stale."""
        bench = Bench()
        (lost,) = bench.put()
        late = bench.to_append()
        bench.until(lost, fail=LOST)
        (receipt,) = bench.put()
        bench.settle()
        assert [b"stale"] == bench.server.append(late)
        assert "accepted" == reason(receipt)
        assert ["m1"] == bench.server.ids

    def test_changed_settings_do_not_change_it(self) -> None:
        """A flush in doubt keeps its bytes when the source's settings change in the meantime."""
        bench = Bench(budget_s=20.0)
        (receipt,) = bench.put()
        first = bench.to_append()
        bench.server.append(first)
        bench.fail(LOST)
        bench.server.source = source(backlog_bytes=777)
        bench.clock.at += 6
        assert first.digest == bench.to_append().digest
        bench.settle()
        assert ("accepted", ["m0"]) == (reason(receipt), bench.server.ids)

    def test_doubt_outlives_a_refusal(self) -> None:
        """Once a reply was lost, refusals afterwards do not make the event unwritten."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.to_append()
        bench.fail(REFUSED)
        bench.until(receipt, fail=not_sent())
        assert "unconfirmed" == reason(receipt)

    def test_full_backlog_does_not_end_doubt(self) -> None:
        """A full backlog after a lost reply leaves the event unconfirmed, not refused."""
        bench = Bench(Server(source(backlog_bytes=1)))
        (receipt,) = bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.settle()
        assert "unconfirmed" == reason(receipt)

    def test_events_expire_one_by_one(self) -> None:
        """In a flush in doubt the older events run out first; the younger ones may still be accepted."""
        bench = Bench()
        (old,) = bench.put()
        bench.clock.at += 0.5
        (young,) = bench.put()
        bench.to_append()
        bench.until(old, fail=LOST)
        assert ("unconfirmed", "open") == (reason(old), reason(young))
        bench.settle()
        assert "accepted" == reason(young)
        assert ["m0", "m1"] == bench.server.ids

    def test_stale(self) -> None:
        """A stale flush can never be applied: unconfirmed, and a new session follows."""
        bench = Bench()
        (receipt,) = bench.put()
        append = bench.to_append()
        bench.server.sessions[append.keys[1]] = (99, [])
        bench.serve()
        assert "unconfirmed" == reason(receipt)
        (after,) = bench.put()
        bench.settle()
        assert "accepted" == reason(after)

    def test_script_error_is_doubt(self) -> None:
        """An error out of the script may come after a write, so it leaves doubt."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.to_append()
        bench.fail(ResponseError("ERR user_script:12: something"))
        bench.until(receipt, fail=not_sent())
        assert "unconfirmed" == reason(receipt)


class TestWeather:
    def test_unreachable(self) -> None:
        """Without a connection the event is certainly not written: unavailable, within the budget."""
        bench = Bench()
        (receipt,) = bench.put()
        started = bench.clock.at
        bench.until(receipt, fail=not_sent())
        assert "unavailable" == reason(receipt)
        assert bench.clock.at - started <= 1.0
        assert "redis://test" in bench.rejected[0][0].message
        assert "connection refused" in bench.rejected[0][0].message

    def test_refused(self) -> None:
        """A server that refuses for now is asked again, and an event it never took is unavailable."""
        bench = Bench()
        (receipt,) = bench.put()
        asked = bench.until(receipt, fail=REFUSED)
        assert "unavailable" == reason(receipt)
        assert 3 < asked < 20

    def test_recovers(self) -> None:
        """The next attempt that succeeds accepts the event."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.to_append()
        bench.fail(REFUSED)
        bench.fail(not_sent()) if isinstance(bench.step, Ask) else None
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_no_busy_loop(self) -> None:
        """A long outage with steady events costs a bounded number of attempts a second."""
        bench = Bench()
        asked = 0
        ends = bench.clock.at + 60
        while bench.clock.at < ends:
            bench.put()
            if isinstance(bench.step, Ask):
                asked += 1
                bench.fail(not_sent())
            else:
                bench.sleep() if bench.step != Sleep(None) else bench.reply()
        assert asked < 60 * 10

    def test_expired_leave_the_flush(self) -> None:
        """A refused flush is made anew without the events that ran out: unavailable means not written."""
        bench = Bench()
        (old,) = bench.put()
        bench.clock.at += 0.5
        (young,) = bench.put()
        bench.until(old, fail=REFUSED)
        assert ("unavailable", "open") == (reason(old), reason(young))
        bench.settle()
        assert "accepted" == reason(young)
        assert ["m1"] == bench.server.ids

    def test_timeouts_fit_the_budget(self) -> None:
        """Each command's timeout ends before the budget does, and leaves room for a second attempt."""
        bench = Bench()
        (receipt,) = bench.put()
        started = bench.clock.at
        while not receipt.done:
            if isinstance(bench.step, Ask):
                assert bench.clock.at + bench.step.timeout_s <= started + 1.0 + 1e-6
                bench.clock.at += bench.step.timeout_s
                bench.fail(TimeoutError("timed out"))
            else:
                bench.sleep()

    def test_late_event_gets_its_attempt(self) -> None:
        """An event that slept with its machine is tried before it is given up."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.clock.at += 3600
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_late_event_after_an_outage(self) -> None:
        """An outage of the past gives up no event that was not tried since."""
        bench = Bench()
        (before,) = bench.put()
        bench.until(before, fail=not_sent())
        (receipt,) = bench.put()
        bench.clock.at += 3600
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_doubt_is_not_shared(self) -> None:
        """Events behind a flush in doubt were never sent, and are unavailable when their own budgets end."""
        bench = Bench()
        (first,) = bench.put()
        bench.to_append()
        (second,) = bench.put()
        bench.until(first, fail=LOST)
        bench.until(second, fail=not_sent())
        assert ("unconfirmed", "unavailable") == (reason(first), reason(second))


class TestSource:
    def test_unknown(self) -> None:
        """A registry without the source rejects at once and says how to add it."""
        bench = Bench(Server(source=None))
        (receipt,) = bench.put()
        bench.settle()
        assert "unknown_source" == reason(receipt)
        assert "pombo sources add bot" in bench.rejected[0][0].message

    def test_unreadable_registry(self) -> None:
        """A registry that cannot be read says nothing about the source: unavailable."""
        bench = Bench(Server(source=None))
        (receipt,) = bench.put()
        bench.until(receipt, fail=not_sent())
        assert "unavailable" == reason(receipt)

    def test_added_later(self) -> None:
        """A source added after a rejection is found by the next event."""
        bench = Bench(Server(source=None))
        bench.put()
        bench.settle()
        bench.server.source = source()
        (receipt,) = bench.put()
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_added_anew(self) -> None:
        """The events of a source that was removed and added anew go to the new one, at once."""
        bench = Bench()
        bench.put()
        bench.settle()
        bench.server.source, bench.server.ledger = source(incarnation="second", partitions=2), "second"
        (receipt,) = bench.put()
        started = bench.clock.at
        bench.settle()
        assert "accepted" == reason(receipt)
        assert "second" == bench.server.appends[-1].incarnation
        assert bench.clock.at - started < 0.01

    def test_removed(self) -> None:
        """A removed source is noticed at the next append, not after the copy's age."""
        bench = Bench()
        bench.put()
        bench.settle()
        bench.server.source = bench.server.ledger = None
        (receipt,) = bench.put()
        bench.settle()
        assert "unknown_source" == reason(receipt)

    def test_removed_in_doubt(self) -> None:
        """What may have come through before its source was gone is not said to be refused."""
        bench = Bench()
        (doubtful,) = bench.put()
        bench.to_append()
        bench.fail(LOST)
        bench.server.source = bench.server.ledger = None
        (later,) = bench.put()
        bench.settle()
        assert ("unconfirmed", "unknown_source") == (reason(doubtful), reason(later))

    def test_ledger_missing(self) -> None:
        """A registered source without a ledger is trouble, tried until the budget ends."""
        bench = Bench(Server(ledger=None))
        (receipt,) = bench.put()
        bench.settle()
        assert "unavailable" == reason(receipt)
        assert 3 < len(bench.server.appends) < 30

    def test_settings_are_read_again(self) -> None:
        """Changed settings are in force after five seconds, and looked at no more often."""
        bench = Bench()
        bench.put()
        bench.settle()
        bench.server.source = source(backlog_bytes=777)
        bench.clock.at += 4
        bench.put()
        bench.settle()
        bench.clock.at += 1.1
        bench.put()
        bench.settle()
        assert [1 << 30, 1 << 30, 777] == [append.limit for append in bench.server.appends]

    def test_stored_by_another_version(self) -> None:
        """A source in a form that this version cannot read is unavailable, with the remedy."""
        bench = Bench()
        (receipt,) = bench.put()
        while not receipt.done:
            bench.sleep() if isinstance(bench.step, Sleep) else bench.reply(b'{"v": 2}')
        assert "unavailable" == reason(receipt)
        assert "upgrade pombo" in bench.rejected[0][0].message


class TestBacklog:
    def test_rejects_at_once(self) -> None:
        """At the backlog limit events are refused at once by default."""
        bench = Bench(Server(source(backlog_bytes=100), queued=100))
        receipts = bench.put(3)
        started = bench.clock.at
        bench.settle()
        assert ["backlog_full"] * 3 == list(map(reason, receipts))
        assert bench.clock.at - started < 0.01
        assert "its limit is 100" in bench.rejected[0][0].message

    def test_blocks_until_patience_ends(self) -> None:
        """When full means waiting, events wait their patience and are refused then."""
        bench = Bench(Server(source(backlog_bytes=100), queued=100), when_full="block", block_timeout_s=3.0)
        (receipt,) = bench.put()
        started = bench.clock.at
        bench.settle()
        assert "backlog_full" == reason(receipt)
        assert 2.9 < bench.clock.at - started <= 3.0

    def test_blocks_until_there_is_room(self) -> None:
        """When full means waiting, room that comes in time accepts the event."""
        bench = Bench(Server(source(backlog_bytes=1000), queued=1000), when_full="block")
        (receipt,) = bench.put()
        bench.to_append()
        bench.serve()
        bench.server.queued = 0
        bench.settle()
        assert "accepted" == reason(receipt)

    def test_takes_what_fits(self) -> None:
        """A flush that is too large for the room left is cut down, so that a small backlog fills up."""
        bench = Bench(Server(source(backlog_bytes=3000)))
        receipts = bench.put(2000)
        bench.settle()
        outcomes = list(map(reason, receipts))
        taken = outcomes.count("accepted")
        assert 0 < taken < 2000
        assert ["accepted"] * taken + ["backlog_full"] * (2000 - taken) == outcomes

    def test_fresh_event_is_tried(self) -> None:
        """A refusal of the past refuses nobody: the next event is tried."""
        bench = Bench(Server(source(backlog_bytes=1000), queued=1000))
        bench.put()
        bench.settle()
        bench.server.queued = 0
        (receipt,) = bench.put()
        bench.settle()
        assert "accepted" == reason(receipt)


class TestAnnouncements:
    def test_first_append_announces(self) -> None:
        """A partition's first append is announced right after it."""
        bench = Bench()
        bench.put()
        bench.settle()
        assert [f"bot/{partition_of('u1', 4)}"] == bench.server.announced

    def test_at_most_every_20_seconds(self) -> None:
        """A busy partition is announced again after 20 seconds, not before."""
        bench = Bench()
        for _ in range(41):
            bench.put()
            bench.settle()
            bench.clock.at += 1
        assert 3 == len(bench.server.announced)

    def test_failure_harms_nobody(self) -> None:
        """A failed announcement leaves the event accepted and is repeated by the next flush."""
        bench = Bench()
        (receipt,) = bench.put()
        bench.to_append()
        bench.serve()
        bench.fail(LOST)
        assert "accepted" == reason(receipt)
        bench.put()
        bench.settle()
        assert 1 == len(bench.server.announced)


class TestEnd:
    def test_closed_and_empty(self) -> None:
        """A closed buffer is emptied without lingering, then the core ends."""
        bench = Bench(linger_s=10.0)
        (receipt,) = bench.put()
        bench.buffer.close()
        bench.reply()
        bench.settle()
        assert "accepted" == reason(receipt)
        assert bench.step is None

    def test_give_up(self) -> None:
        """Giving up settles everything: in doubt what may be written, with the reason what is not."""
        bench = Bench()
        (sent,) = bench.put()
        bench.to_append()
        (waiting,) = bench.put()
        bench.outbox.give_up("closed", "the end")
        assert ("unconfirmed", "closed") == (reason(sent), reason(waiting))
        assert 0 == bench.buffer.events

    def test_disown(self) -> None:
        """A forked child's receipts read unconfirmed, and nothing is reported: the parent does that."""
        bench = Bench()
        (sent,) = bench.put()
        bench.to_append()
        (waiting,) = bench.put()
        bench.outbox.disown("forked")
        assert ["unconfirmed", "unconfirmed"] == [reason(sent), reason(waiting)]
        assert [] == bench.rejected

    def test_room_comes_back(self) -> None:
        """The buffer's room is free again once outcomes are known, whatever they are."""
        bench = Bench(buffer_events=5)
        bench.put(5)
        bench.settle()
        receipts = bench.put(5)
        bench.until(*receipts, fail=not_sent())
        assert (0, 0) == (bench.buffer.events, bench.buffer.bytes)

    def test_rejected_event_is_whole(self) -> None:
        """`on_rejected` gets the event as it was to be sent, so that it can be enqueued again."""
        bench = Bench(Server(source=None))
        bench.put()
        bench.settle()
        rejected, event = bench.rejected[0]
        assert "m0" == event["messageId"] == rejected.message_id
        assert orjson.dumps(event)


def test_append_reader() -> None:
    """The test's own reader takes an append apart without loss."""
    bench = Bench()
    bench.put(3)
    append = bench.to_append()
    assert isinstance(append, Append)
    assert ["m0", "m1", "m2"] == append.ids
