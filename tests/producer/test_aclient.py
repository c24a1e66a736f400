import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from pombo.producer import Accepted, AsyncProducer, Receipt, Rejected
from pombo.shared.prepared import Prepared, prepare
from pombo.shared.settings import Settings
from producer.proxy import Proxy, always, first
from producer.rig import KEYS, Recorder, entries, ids, reason, stored

Make = Callable[..., AsyncProducer]


@pytest.fixture
async def make(redis_url: str) -> AsyncIterator[Make]:
    """Make producers of source `bot`, closed at the end."""
    made: list[AsyncProducer] = []

    def producer(**options: Any) -> AsyncProducer:
        usual: dict[str, Any] = {"source": "bot", "redis_url": redis_url, "metrics": Recorder()}
        made.append(AsyncProducer(**(usual | options)))
        return made[-1]

    yield producer
    for one in made:
        await one.close(timeout=5)


async def test_returns_when_durable(redis: Redis, make: Make) -> None:
    """A call returns when the event is in Redis."""
    receipt = await make().track("u1", "Message Sent", message_id="m1")
    assert Accepted("m1") == receipt.outcome
    assert ["m1"] == ids(stored(redis))


async def test_all_calls(redis: Redis, make: Make) -> None:
    """Each of the six calls makes an event of its type."""
    producer = make()
    receipts = await asyncio.gather(
        producer.identify("u1", {"plan": "gold"}),
        producer.track("u1", "Message Sent"),
        producer.page("u1", "Docs", "Home"),
        producer.screen("u1", "App", "Main"),
        producer.group("u1", "g1"),
        producer.alias("a1", "u1"),
        producer.enqueue({"type": "track", "userId": "u1", "event": "A"}),
    )
    assert ["accepted"] * 7 == list(map(reason, receipts))


async def test_gathered_calls_share_a_record_batch(redis: Redis, make: Make) -> None:
    """Calls that are made together become one record batch, in their order."""
    producer = make()
    await asyncio.gather(*(producer.track("u1", "A", message_id=f"m{number}") for number in range(100)))
    assert [100] == [len(entry) for entry in entries(redis)]
    assert [f"m{number}" for number in range(100)] == ids(stored(redis))


async def test_never_raises(redis: Redis, make: Make) -> None:
    """Bad data and an unknown source are in the receipt; only its result raises."""
    invalid = await make().track(None, "A")
    unknown = await make(source="nobody").track("u1", "A")
    assert ("invalid", "unknown_source") == (reason(invalid), reason(unknown))
    with pytest.raises(Rejected, match="pombo sources add nobody"):
        unknown.result()


async def test_cut_reply(redis: Redis, make: Make, proxy: Proxy) -> None:
    """A reply that is cut after the server did it makes no duplicate, and the events are accepted."""
    proxy.rule = first("cut", 3)
    producer = make(redis_url=proxy.url, budget_s=10.0)
    receipts = await asyncio.gather(*(producer.track("u1", "A", message_id=f"m{number}") for number in range(50)))
    assert {"accepted"} == set(map(reason, receipts))
    assert [f"m{number}" for number in range(50)] == ids(stored(redis))
    assert b"50" == redis.hget(KEYS.of("bot").ledger, "accepted")


async def test_hanging_reply(redis: Redis, make: Make, proxy: Proxy) -> None:
    """A reply that never comes is asked for again over a new connection."""
    proxy.rule = first("hang")
    receipt = await make(redis_url=proxy.url).track("u1", "A")
    assert ("accepted", 1) == (reason(receipt), len(stored(redis)))


async def test_unconfirmed(redis: Redis, make: Make, proxy: Proxy) -> None:
    """When no reply ever comes the event is unconfirmed."""
    proxy.rule = always("hang")
    receipt = await make(redis_url=proxy.url, budget_s=0.5).track("u1", "A")
    assert "unconfirmed" == reason(receipt)


async def test_away_at_start(redis: Redis, redis_url: str, make: Make) -> None:
    """Without Redis events are unavailable within the budget; it recovers by itself."""
    with Proxy(redis_url, listening=False) as proxy:
        producer = make(redis_url=proxy.url, budget_s=0.5)
        lost = await producer.track("u1", "A")
        assert "unavailable" == reason(lost)
        proxy.listen()
        # Within its budget, which a machine that stalls may use up.
        async with asyncio.timeout(60):
            while "accepted" != reason(await producer.track("u1", "B")):
                pass
        await producer.close()


async def test_cancelled_caller(redis: Redis, make: Make) -> None:
    """Cancelling a call cancels the waiting alone: the event is sent, and others are not disturbed."""
    producer = make(linger_s=60.0, budget_s=60.0)
    cancelled = asyncio.create_task(producer.track("u1", "A", message_id="m1"))
    other = asyncio.create_task(producer.track("u1", "A", message_id="m2"))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await producer.flush(10)
    assert "accepted" == reason(await other)
    assert cancelled.cancelled()
    assert ["m1", "m2"] == ids(stored(redis))


async def test_blocks_when_full(redis: Redis, make: Make) -> None:
    """When full means waiting, a burst beyond the buffer is accepted whole."""
    producer = make(buffer_events=10, when_full="block", block_timeout_s=30.0)
    receipts = await asyncio.gather(*(producer.track("u1", "A") for _ in range(200)))
    assert {"accepted"} == set(map(reason, receipts))


async def test_rejects_when_full(redis: Redis, make: Make) -> None:
    """A full buffer refuses the next event at once by default, and after the patience when it blocks."""
    for options in ({}, {"when_full": "block", "block_timeout_s": 0.01}):
        producer = make(buffer_events=1, linger_s=60.0, budget_s=60.0, **options)
        first_one = asyncio.create_task(producer.track("u1", "A"))
        await asyncio.sleep(0)
        assert "backlog_full" == reason(await producer.track("u1", "B"))
        await producer.close()
        assert "accepted" == reason(await first_one)


async def test_close(redis: Redis, make: Make) -> None:
    """Closing sends what is buffered; later events are refused as closed."""
    async with make(linger_s=60.0, budget_s=60.0) as producer:
        buffered = asyncio.create_task(producer.track("u1", "A"))
        await asyncio.sleep(0)
    await producer.close()
    after = await producer.track("u1", "B")
    assert ("accepted", "closed") == (reason(await buffered), reason(after))


async def test_close_in_time(redis: Redis, make: Make, proxy: Proxy) -> None:
    """A close that runs out of time gives up what is left, truly: it may have been written."""
    proxy.rule = always("hang")
    producer = make(redis_url=proxy.url, budget_s=60.0)
    waiting = asyncio.create_task(producer.track("u1", "A"))
    while not any(b"EVAL" in request for request in proxy.requests):
        await asyncio.sleep(0)
    await producer.close(timeout=0.01)
    assert "unconfirmed" == reason(await waiting)


async def test_unused(make: Make) -> None:
    """A producer without events flushes and closes without a connection."""
    producer = make(redis_url="redis://127.0.0.1:1/0")
    assert await producer.flush() is True
    await producer.close()


async def test_disabled(redis: Redis, make: Make) -> None:
    """A disabled producer checks events and writes nothing."""
    receipt = await make(settings=Settings(disabled=True)).track("u1", "A")
    assert ("accepted", []) == (reason(receipt), stored(redis))


async def test_flush_times_out(redis: Redis, make: Make, proxy: Proxy) -> None:
    """A flush that does not end in time says so, and the event goes on."""
    proxy.rule = first("hang")
    producer = make(redis_url=proxy.url, budget_s=2.0)
    waiting = asyncio.create_task(producer.track("u1", "A"))
    await asyncio.sleep(0)
    assert await producer.flush(0.01) is False
    assert "accepted" == reason(await waiting)


async def test_flusher_cancelled(redis: Redis, make: Make) -> None:
    """Who cancels every task of the loop gets receipts all the same, and the next event starts anew."""
    producer = make(linger_s=60.0, budget_s=60.0)
    waiting = asyncio.create_task(producer.track("u1", "A"))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks():
        if task.get_name() == "pombo-bot":
            task.cancel()
    assert "closed" == reason(await waiting)
    following = asyncio.create_task(producer.track("u1", "B"))
    await asyncio.sleep(0)
    await producer.flush(10)
    assert "accepted" == reason(await following)


def test_next_loop(redis_url: str, redis: Redis) -> None:
    """A producer that outlives its loop serves the next one."""
    producer = AsyncProducer("bot", redis_url=redis_url)
    outcomes = [reason(asyncio.run(track(producer))) for _ in range(2)]
    asyncio.run(producer.close())
    assert ["accepted", "accepted"] == outcomes
    assert 2 == len(stored(redis))


def test_two_loops(redis_url: str, redis: Redis) -> None:
    """Using one producer in two open loops is an error of the program, and says so."""
    producer = AsyncProducer("bot", redis_url=redis_url)
    with asyncio.Runner() as one:
        one.run(track(producer))
        with asyncio.Runner() as two, pytest.raises(RuntimeError, match="another event loop"):
            two.run(track(producer))
        one.run(producer.close())


async def track(producer: AsyncProducer) -> Receipt:
    return await producer.track("u1", "A")


def prepared(*message_ids: str, pad: int = 0) -> list[Prepared]:
    """Events that were made ready elsewhere."""
    event: dict[str, Any] = {"type": "track", "userId": "u1", "event": "A", "properties": {"pad": "x" * pad}}
    return [prepare({**event, "messageId": one}, now=datetime.now(UTC)) for one in message_ids]


async def test_prepared_events(redis: Redis, make: Make) -> None:
    """Many prepared events are taken in their order, and their receipts told together once all are durable."""
    producer = make()
    names = [f"m{number}" for number in range(250)]
    receipts = await producer.enqueue_prepared(prepared(*names))
    assert [Accepted(name) for name in names] == [receipt.outcome for receipt in receipts]
    assert names == ids(stored(redis))
    assert [] == await producer.enqueue_prepared([])


async def test_prepared_events_share_flushes(redis: Redis, make: Make) -> None:
    """Batches that are given at the same time become one record batch."""
    producer = make()
    await asyncio.gather(*(producer.enqueue_prepared(prepared(f"m{n}a", f"m{n}b")) for n in range(50)))
    assert [100] == [len(entry) for entry in entries(redis)]


async def test_prepared_events_fit_together_or_not_at_all(redis: Redis, make: Make) -> None:
    """A batch that the buffer cannot take whole is refused whole; one that it can is taken after it."""
    producer = make(buffer_events=3)
    full = await producer.enqueue_prepared(prepared("m1", "m2", "m3", "m4"))
    assert ["backlog_full"] * 4 == list(map(reason, full))
    heavy = await make(buffer_bytes=1000).enqueue_prepared(prepared("m5", "m6", pad=600))
    assert ["backlog_full"] * 2 == list(map(reason, heavy))
    assert ["accepted"] * 3 == list(map(reason, await producer.enqueue_prepared(prepared("m7", "m8", "m9"))))
    assert ["m7", "m8", "m9"] == ids(stored(redis))
    await producer.close()
    assert ["closed"] == list(map(reason, await producer.enqueue_prepared(prepared("m10"))))


async def test_prepared_events_of_an_unknown_source(redis: Redis, make: Make) -> None:
    """A refusal of the core is in each receipt."""
    receipts = await make(source="nobody").enqueue_prepared(prepared("m1", "m2"))
    assert ["unknown_source"] * 2 == list(map(reason, receipts))


async def test_prepared_events_of_a_disabled_producer(redis: Redis, redis_url: str, make: Make) -> None:
    """Under POMBO_DISABLED=1 they read accepted, and nothing is written."""
    producer = make(settings=Settings.model_construct(redis_url=redis_url, disabled=True))
    assert ["accepted"] == list(map(reason, await producer.enqueue_prepared(prepared("m1"))))
    assert [] == stored(redis)


async def test_waiting(redis: Redis, make: Make, proxy: Proxy) -> None:
    """How long the oldest event has waited is seen from outside, and ends with its outcome."""
    producer = make(redis_url=proxy.url, budget_s=10.0)
    assert 0.0 == producer.waiting_s
    proxy.rule = first("hang")
    waiting = asyncio.create_task(producer.enqueue_prepared(prepared("m1")))
    async with asyncio.timeout(60):
        while not producer.waiting_s:
            await asyncio.sleep(0.01)
        await waiting
    assert 0.0 == producer.waiting_s
