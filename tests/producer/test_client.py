import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import pytest
from redis import Redis

from pombo.producer import Accepted, Producer, Receipt, Rejected
from pombo.shared.batches import partition_of
from pombo.shared.errors import ConfigurationError
from pombo.shared.events import Track
from pombo.shared.settings import Settings
from producer.proxy import Proxy, always, first
from producer.rig import KEYS, Recorder, add_source, entries, ids, reason, stored
from support.waiting import until

Make = Callable[..., Producer]


@pytest.fixture
def make(redis_url: str) -> Iterator[Make]:
    """Make producers of source `bot`, closed at the end."""
    made: list[Producer] = []

    def producer(**options: Any) -> Producer:
        usual: dict[str, Any] = {"source": "bot", "redis_url": redis_url, "metrics": Recorder()}
        made.append(Producer(**(usual | options)))
        return made[-1]

    yield producer
    for one in made:
        one.close(timeout=5)


def accepts(producer: Producer, event: str) -> bool:
    """Whether an event is accepted within the producer's budget, which a machine that stalls may use up."""
    receipt = producer.track("u1", event)
    assert receipt.wait(60)
    return type(receipt.outcome) is Accepted


class TestCalls:
    def test_track(self, redis: Redis, make: Make) -> None:
        """A tracked event is in Redis, whole, when its receipt says accepted."""
        receipt = make().track("u1", "Message Sent", {"channel": "whatsapp"}, message_id="m1")
        assert Accepted("m1") == receipt.result(timeout=5)
        (event,) = stored(redis)
        assert ("m1", "track", "u1", "Message Sent", {"channel": "whatsapp"}) == (
            event["messageId"],
            event["type"],
            event["userId"],
            event["event"],
            event["properties"],
        )

    def test_all_calls(self, redis: Redis, make: Make) -> None:
        """Each of the six calls makes an event of its type; the ledger counts them by type."""
        producer = make()
        receipts = [
            producer.identify("u1", {"plan": "gold"}),
            producer.track("u1", "Message Sent"),
            producer.page("u1", "Docs", "Home"),
            producer.screen("u1", "App", "Main"),
            producer.group("u1", "g1", {"name": "Acme"}),
            producer.alias("a1", "u1"),
        ]
        assert ["accepted"] * 6 == [reason(receipt) for receipt in receipts if receipt.result(5)]
        types = [event["type"] for event in stored(redis)]
        assert ["identify", "track", "page", "screen", "group", "alias"] == types
        counters = redis.hmget(KEYS.of("bot").ledger, "accepted", "accepted:alias")
        assert [b"6", b"1"] == counters

    def test_ordering_key(self, redis: Redis, make: Make) -> None:
        """Events of one ordering key share a partition, whoever their user is."""
        producer = make()
        for user in range(10):
            producer.track(f"u{user}", "Message Sent", ordering_key="conversation-1")
        producer.flush(5)
        partition = partition_of("conversation-1", 8)
        assert 10 == len(stored(redis, partitions=partition + 1)) - len(stored(redis, partitions=partition))

    def test_enqueue_ready_events(self, redis: Redis, make: Make) -> None:
        """Ready events are taken as dicts and as models."""
        producer = make()
        producer.enqueue({"type": "track", "userId": "u1", "event": "A", "messageId": "m1"})
        producer.enqueue(Track(user_id="u1", event="B", message_id="m2"))
        producer.flush(5)
        assert ["m1", "m2"] == ids(stored(redis))

    def test_unknown_fields_pass_unless_strict(self, redis: Redis, make: Make) -> None:
        """A key that Segment does not know is refused, unless the caller says that it may pass."""
        producer = make()
        event = {"type": "track", "userId": "u1", "event": "A", "extra": 1}
        outcomes = [reason(producer.enqueue(event)), producer.enqueue(event, strict=False).wait(5)]
        assert ["invalid", True] == outcomes
        assert [1] == [stored_event["extra"] for stored_event in stored(redis)]


class TestRejections:
    def test_invalid(self, make: Make) -> None:
        """A call never raises for bad data: the receipt says what is wrong and where."""
        receipt = make().track(None, "Message Sent")
        with pytest.raises(Rejected) as caught:
            receipt.result(timeout=0)
        assert ("invalid", "userId") == (caught.value.reason, caught.value.field)

    def test_too_large(self, make: Make) -> None:
        """An event beyond Segment's size is too large, and its messageId is kept."""
        receipt = make().track("u1", "Message Sent", {"text": "x" * 40_000}, message_id="m1")
        assert ("too_large", "m1") == (reason(receipt), receipt.message_id)

    @pytest.mark.parametrize("event", [None, 7, [], {"type": object()}, "track"])
    def test_nonsense(self, make: Make, event: Any) -> None:
        """Whatever is handed in, the call returns a receipt."""
        assert "invalid" == reason(make().enqueue(event))

    def test_hostile_mapping(self, make: Make) -> None:
        """A mapping that raises when it is read is an invalid event, not an error of the call."""

        class Hostile(dict[str, Any]):
            def items(self) -> Any:
                raise ZeroDivisionError

        event = Hostile(type="track", userId="u1", event="A")
        assert "invalid" == reason(make().enqueue(event))

    def test_callback(self, make: Make) -> None:
        """Every rejection reaches on_rejected with the event as it was given."""
        seen: list[tuple[Rejected, Any]] = []
        make(on_rejected=lambda *args: seen.append(args)).enqueue({"type": "track", "userId": "u1"})
        ((rejected, event),) = seen
        assert ("invalid", {"type": "track", "userId": "u1"}) == (rejected.reason, event)

    def test_callback_that_fails(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """A callback that raises is logged and harms neither the call nor the flusher."""

        def fail(rejected: Rejected, event: Any) -> None:
            raise ZeroDivisionError

        producer = make(on_rejected=fail, source="nobody")
        invalid, unknown = producer.track(None, "A"), producer.track("u1", "A")
        producer.close()
        assert ("invalid", "unknown_source") == (reason(invalid), reason(unknown))
        assert 2 == sum("on_rejected" in record.message for record in caplog.records)

    def test_callback_may_track(self, redis: Redis, make: Make) -> None:
        """A callback may enqueue, even where full means waiting: the flusher never waits for itself."""
        again: list[Receipt] = []
        rejections: list[Rejected] = []
        done = threading.Event()

        def retry(rejected: Rejected, event: Any) -> None:
            rejections.append(rejected)
            if len(rejections) == 1:
                again.extend(producer.track("u1", "B") for _ in range(2))
                done.set()

        producer = make(source="nobody", on_rejected=retry, buffer_events=1, when_full="block", block_timeout_s=60.0)
        producer.track("u1", "A")
        assert done.wait(5)
        producer.close()
        assert ["unknown_source", "backlog_full"] == list(map(reason, again))

    def test_log_is_limited(self, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """A flood of rejections of one reason is one log line, and a last one with the rest."""
        producer = make()
        with caplog.at_level(logging.WARNING, "pombo.producer"):
            for _ in range(100):
                producer.track(None, "A")
            producer.close()
        messages = [record.getMessage() for record in caplog.records]
        assert 2 == len(messages)
        assert "99 more" in messages[1]

    def test_counter(self, make: Make) -> None:
        """Every rejection is counted by its reason."""
        metrics = Recorder()
        producer = make(metrics=metrics, source="nobody")
        producer.track(None, "A")
        producer.track("u1", "A")
        producer.close()
        assert {"invalid": 1, "unknown_source": 1} == metrics.reasons

    def test_unknown_source(self, make: Make) -> None:
        """A source that is not registered is named, with the command that adds it."""
        receipt = make(source="nobody").track("u1", "A")
        with pytest.raises(Rejected, match="pombo sources add nobody") as caught:
            receipt.result(5)
        assert "unknown_source" == caught.value.reason

    def test_backlog(self, sync_redis: Redis, make: Make) -> None:
        """At the source's backlog limit events are refused."""
        add_source(sync_redis, backlog_bytes=10)
        receipt = make().track("u1", "A")
        assert receipt.wait(5)
        assert "backlog_full" == reason(receipt)

    def test_closed(self, redis: Redis, make: Make) -> None:
        """After close, events are refused as closed; what was buffered is in Redis."""
        producer = make(linger_s=60.0, budget_s=60.0)
        before = producer.track("u1", "A")
        producer.close()
        producer.close()
        assert ("accepted", "closed") == (reason(before), reason(producer.track("u1", "B")))


class TestGrouping:
    def test_events_share_record_batches(self, redis: Redis, make: Make) -> None:
        """A burst of one user becomes a few record batches, in the order of the calls."""
        producer = make(linger_s=60.0, budget_s=60.0)
        for number in range(99):
            producer.track("u1", "A", message_id=f"m{number}")
        producer.flush(5)
        assert [99] == [len(entry) for entry in entries(redis)]
        assert [f"m{number}" for number in range(99)] == ids(stored(redis))

    def test_many_threads(self, redis: Redis, make: Make) -> None:
        """Many threads lose nothing, and each one's events keep their order."""
        producer = make(buffer_events=100_000)
        barrier = threading.Barrier(8)

        def work(thread: int) -> list[Receipt]:
            barrier.wait(10)
            return [producer.track(f"u{thread}", "A", message_id=f"{thread}-{number}") for number in range(500)]

        with ThreadPoolExecutor(8) as pool:
            receipts = [receipt for made in pool.map(work, range(8)) for receipt in made]
        assert producer.flush(20)
        assert {"accepted"} == set(map(reason, receipts))
        events = stored(redis)
        for thread in range(8):
            mine = [event["messageId"] for event in events if event["userId"] == f"u{thread}"]
            assert [f"{thread}-{number}" for number in range(500)] == mine

    def test_announced(self, redis: Redis, make: Make) -> None:
        """The partition of an accepted event is in the index of active partitions."""
        with make() as producer:
            producer.track("u1", "A").result(5)
        assert [f"bot/{partition_of('u1', 8)}".encode()] == redis.zrange(KEYS.active, 0, -1)

    def test_flush_of_nothing(self, redis: Redis, make: Make) -> None:
        """Flushing an unused producer returns at once and starts nothing."""
        before = threading.active_count()
        assert make().flush() is True
        assert before == threading.active_count()

    def test_flush_times_out(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """A flush that does not end in time says so, and the event goes on."""
        proxy.rule = first("hang")
        producer = make(redis_url=proxy.url, budget_s=2.0)
        receipt = producer.track("u1", "A")
        assert producer.flush(0.01) is False
        assert Accepted is type(receipt.result(10))


class TestBuffer:
    def test_full_rejects(self, redis: Redis, make: Make) -> None:
        """A full buffer refuses the next event at once by default."""
        producer = make(buffer_events=3, linger_s=60.0, budget_s=60.0)
        receipts = [producer.track("u1", "A") for _ in range(4)]
        producer.flush(5)
        assert ["accepted"] * 3 + ["backlog_full"] == list(map(reason, receipts))

    def test_full_blocks(self, redis: Redis, make: Make) -> None:
        """When full means waiting, a burst beyond the buffer is accepted whole."""
        producer = make(buffer_events=10, when_full="block", block_timeout_s=30.0)
        receipts = [producer.track("u1", "A", message_id=f"m{number}") for number in range(200)]
        assert producer.flush(20)
        assert ["accepted"] * 200 == list(map(reason, receipts))
        assert [f"m{number}" for number in range(200)] == ids(stored(redis))

    def test_blocking_ends(self, redis: Redis, make: Make) -> None:
        """Waiting for room ends with the patience."""
        producer = make(buffer_events=1, linger_s=60.0, budget_s=60.0, when_full="block", block_timeout_s=0.01)
        producer.track("u1", "A")
        assert "backlog_full" == reason(producer.track("u1", "B"))

    def test_closing_ends_the_waiting(self, redis: Redis, make: Make) -> None:
        """A thread that waits for room in a producer that closes is refused as closed, or got its room."""
        producer = make(buffer_events=1, linger_s=60.0, budget_s=60.0, when_full="block", block_timeout_s=60.0)
        producer.track("u1", "A")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(producer.track, "u1", "B")
            producer.close()
            assert waiting.result(10).wait(10)


class TestWeather:
    def test_cut_reply(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """A reply that is cut after the server did it makes no duplicate, and the event is accepted."""
        proxy.rule = first("cut", 3)
        producer = make(redis_url=proxy.url, budget_s=10.0)
        receipts = [producer.track("u1", "A", message_id=f"m{number}") for number in range(50)]
        assert producer.flush(20)
        assert {"accepted"} == set(map(reason, receipts))
        assert [f"m{number}" for number in range(50)] == ids(stored(redis))
        assert b"50" == redis.hget(KEYS.of("bot").ledger, "accepted")

    def test_hanging_reply(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """A reply that never comes is asked for again over a new connection."""
        proxy.rule = first("hang")
        producer = make(redis_url=proxy.url)
        assert Accepted is type(producer.track("u1", "A").result(10))
        assert 1 == len(stored(redis))

    def test_unconfirmed(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """When no reply ever comes the event is unconfirmed, and can be sent again with its messageId."""
        proxy.rule = always("cut")
        rejections: SimpleQueue[tuple[Rejected, Any]] = SimpleQueue()
        producer = make(redis_url=proxy.url, budget_s=0.5, on_rejected=lambda *args: rejections.put(args))
        receipt = producer.track("u1", "A")
        rejected, event = rejections.get(timeout=10)
        assert "unconfirmed" == reason(receipt) == rejected.reason
        proxy.rule = always("pass")
        assert rejected.message_id == event["messageId"] == receipt.message_id
        again = producer.enqueue(event)
        assert Accepted(str(receipt.message_id)) == again.result(10)

    def test_away_at_start(self, redis: Redis, redis_url: str, make: Make) -> None:
        """Without Redis calls return, events are unavailable within the budget; it recovers by itself."""
        with Proxy(redis_url, listening=False) as proxy:
            producer = make(redis_url=proxy.url, budget_s=0.5)
            receipt = producer.track("u1", "A")
            assert receipt.wait(10)
            assert "unavailable" == reason(receipt)
            proxy.listen()
            until(lambda: accepts(producer, "B"), "recovery")

    def test_gone_and_back(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """After an outage in the middle the next event is accepted, without a restart."""
        producer = make(redis_url=proxy.url, budget_s=0.5)
        until(lambda: accepts(producer, "A"), "connection")
        proxy.refuse()
        lost = producer.track("u1", "B")
        assert lost.wait(10)
        proxy.listen()
        until(lambda: accepts(producer, "C"), "recovery")
        assert "unavailable" == reason(lost)

    def test_outage_within_the_budget(self, redis: Redis, make: Make, proxy: Proxy) -> None:
        """An outage shorter than the budget rejects nothing."""
        proxy.refuse()
        producer = make(redis_url=proxy.url, budget_s=20.0)
        receipts = [producer.track("u1", "A", message_id=f"m{number}") for number in range(20)]
        proxy.listen()
        assert producer.flush(20)
        assert {"accepted"} == set(map(reason, receipts))

    def test_out_of_memory(self, redis: Redis, make: Make) -> None:
        """A Redis at its memory limit refuses appends: unavailable, and accepted once there is memory."""
        producer = make(budget_s=0.5)
        redis.config_set("maxmemory", 1)
        try:
            receipt = producer.track("u1", "A")
            assert receipt.wait(10)
            assert "unavailable" == reason(receipt)
        finally:
            redis.config_set("maxmemory", 0)
        until(lambda: accepts(producer, "B"), "recovery")

    def test_scripts_flushed(self, redis: Redis, make: Make) -> None:
        """A server that lost its scripts gets them again."""
        producer = make()
        producer.track("u1", "A").result(5)
        redis.script_flush()
        assert Accepted is type(producer.track("u1", "B").result(5))

    def test_secrets_stay_in(self, make: Make) -> None:
        """The password of the URL is in no rejection."""
        receipt = make(redis_url="redis://:hush@127.0.0.1:1/0", budget_s=0.05).track("u1", "A")
        assert receipt.wait(10)
        assert "unavailable" == reason(receipt)
        assert "hush" not in str(receipt.outcome)


class TestBugs:
    def test_flusher_goes_on(self, redis: Redis, make: Make, caplog: pytest.LogCaptureFixture) -> None:
        """An error that nobody foresaw is logged, and the next events are written all the same."""

        class Broken(Recorder):
            def accepted(self, *args: Any) -> None:
                raise ZeroDivisionError

        producer = make(metrics=Broken(), linger_s=60.0)
        receipts = [producer.track("u1", "A"), producer.track("u1", "B")]
        producer.close()
        assert ["accepted", "accepted"] == list(map(reason, receipts))
        assert "stumbled" in caplog.text


class TestSettings:
    def test_disabled(self, make: Make, redis: Redis) -> None:
        """A disabled producer checks events and writes nothing: sound ones read accepted."""
        producer = make(settings=Settings(disabled=True))
        sound, unsound = producer.track("u1", "A"), producer.track(None, "A")
        assert ("accepted", "invalid") == (reason(sound), reason(unsound))
        assert [] == stored(redis)

    @pytest.mark.parametrize(
        "options",
        [
            {"source": "no such name"},
            {"budget_s": 0},
            {"buffer_events": 0},
            {"linger_s": -1},
            {"when_full": "explode"},
            {"redis_url": "http://localhost"},
            {"redis_url": "redis://localhost:port"},
            {"redis_url": "redis://localhost?no_such_option=1"},
        ],
    )
    def test_wrong_arguments(self, make: Make, options: dict[str, Any]) -> None:
        """A wrong argument is told at once, when the producer is made."""
        with pytest.raises(ConfigurationError):
            make(**options)

    def test_namespace(self, sync_redis: Redis, make: Make) -> None:
        """A producer of another namespace sees another registry."""
        add_source(sync_redis)
        receipt = make(settings=Settings(namespace="other")).track("u1", "A")
        assert receipt.wait(5)
        assert "unknown_source" == reason(receipt)
