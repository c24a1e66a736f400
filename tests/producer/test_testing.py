import pytest

from pombo.producer import Accepted, Rejected, Spooled
from pombo.producer.testing import FakeAsyncProducer, FakeProducer


def test_records_whole_events() -> None:
    """The fake keeps accepted events as Segment would get them."""
    with FakeProducer() as producer:
        receipt = producer.track("u1", "Message Sent", {"n": 1}, message_id="m1", ordering_key="c1")
    assert Accepted("m1") == receipt.result(timeout=0)
    (event,) = producer.events
    assert ("track", "u1", "Message Sent", {"n": 1}, "m1") == (
        event["type"],
        event["userId"],
        event["event"],
        event["properties"],
        event["messageId"],
    )
    assert "timestamp" in event
    assert ["c1"] == producer.ordering_keys


def test_checks_as_the_real_one() -> None:
    """What the real producer refuses, the fake refuses."""
    seen: list[str] = []
    producer = FakeProducer(on_rejected=lambda rejected, event: seen.append(rejected.reason))
    producer.track(None, "A")
    producer.track("u1", "A", {"text": "x" * 40_000})
    assert ["invalid", "too_large"] == seen == [rejected.reason for rejected in producer.rejected]
    assert [] == producer.events


def test_rejects_as_told() -> None:
    """A test can have the next events rejected, and accepted again."""
    producer = FakeProducer()
    producer.reject("unavailable", times=1)
    with pytest.raises(Rejected) as caught:
        producer.track("u1", "A").result()
    assert "unavailable" == caught.value.reason
    assert Accepted is type(producer.track("u1", "B").outcome)
    producer.reject("backlog_full")
    producer.track("u1", "C")
    producer.accept()
    producer.track("u1", "D")
    assert ["B", "D"] == [event["event"] for event in producer.events]


def test_spools_as_told() -> None:
    """A fake that was told to spool keeps events, whose receipts read spooled."""
    producer = FakeProducer()
    producer.spool()
    spooled = producer.track("u1", "A", message_id="m1")
    producer.accept()
    accepted = producer.track("u1", "A", message_id="m2")
    assert (Spooled("m1"), Accepted("m2")) == (spooled.result(0), accepted.result(0))
    assert 2 == len(producer.events)


def test_closed() -> None:
    """A closed fake refuses as closed."""
    producer = FakeProducer()
    producer.close()
    assert producer.flush() is True
    assert "closed" == str(producer.track("u1", "A").outcome).partition(":")[0]


async def test_async_fake() -> None:
    """The asyncio fake does the same."""
    async with FakeAsyncProducer() as producer:
        receipt = await producer.identify("u1", {"plan": "gold"})
        await producer.flush()
    after = await producer.track("u1", "A")
    assert Accepted is type(receipt.outcome)
    assert [{"plan": "gold"}] == [event["traits"] for event in producer.events]
    assert isinstance(after.outcome, Rejected)
