"""Both producers with a spool, against a real server that is cut off, refuses, or is slow to answer."""

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from redis import Redis

from pombo.producer import AsyncProducer, Producer, Spooled
from pombo.producer.metrics import PrometheusMetrics
from pombo.producer.spool import read_spool, spool_path
from pombo.shared.settings import Settings
from producer.proxy import Proxy, first
from producer.rig import Recorder, add_source, ids, reason, stored

DEADLINE_S = 60.0

Make = Callable[..., Producer]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the spool is; removed at the end, so that no drainer of it goes on."""
    yield tmp_path / "spool"
    shutil.rmtree(tmp_path / "spool", ignore_errors=True)


@pytest.fixture
def options(folder: Path, proxy: Proxy) -> dict[str, Any]:
    """What producers of either kind are made with."""
    settings = Settings(spool_dir=folder)
    return {"source": "bot", "redis_url": proxy.url, "settings": settings, "budget_s": 2.0, "metrics": Recorder()}


@pytest.fixture
def make(options: dict[str, Any]) -> Iterator[Make]:
    made: list[Producer] = []

    def producer(**more: Any) -> Producer:
        made.append(Producer(**(options | more)))
        return made[-1]

    yield producer
    for one in made:
        one.close(timeout=5)


def held(folder: Path) -> int:
    return sum(source.events for source in read_spool(spool_path(folder, "pombo")))


def drained(folder: Path) -> bool:
    """Wait until the spool is empty."""
    ends = time.monotonic() + DEADLINE_S
    while held(folder) and time.monotonic() < ends:
        time.sleep(0.01)
    return held(folder) == 0


def outcomes(producer: Producer, names: list[str]) -> list[str]:
    receipts = [producer.track("u1", "A", message_id=name) for name in names]
    assert producer.flush(DEADLINE_S)
    return list(map(reason, receipts))


class TestThreads:
    def test_gone_and_back(self, redis: Redis, make: Make, proxy: Proxy, folder: Path) -> None:
        """Through an outage every event is accepted or spooled, and all arrive once and in order."""
        producer = make()
        assert ["accepted"] == outcomes(producer, ["m0"])
        proxy.refuse()
        assert ["spooled"] * 3 == outcomes(producer, ["m1", "m2", "m3"])
        assert ["spooled"] * 2 == outcomes(producer, ["m4", "m5"])
        proxy.listen()
        assert drained(folder)
        assert ["accepted"] == outcomes(producer, ["m6"])
        assert [f"m{number}" for number in range(7)] == ids(stored(redis))

    def test_receipt(self, make: Make, proxy: Proxy) -> None:
        """A spooled event's receipt says so, with its messageId."""
        proxy.refuse()
        assert Spooled("m1") == make().track("u1", "A", message_id="m1").result(DEADLINE_S)

    def test_away_at_start_and_source_never_seen(
        self, redis_url: str, sync_redis: Redis, make: Make, folder: Path
    ) -> None:
        """A Redis that was never there, and a source that is added much later, lose nothing."""
        with Proxy(redis_url, listening=False) as proxy:
            producer = make(redis_url=proxy.url)
            assert ["spooled"] == outcomes(producer, ["m0"])
            proxy.listen()
            ends = time.monotonic() + DEADLINE_S
            while not any(one.stuck for one in read_spool(spool_path(folder, "pombo"))) and time.monotonic() < ends:
                time.sleep(0.01)
            assert ["unknown_source"] == [one.stuck for one in read_spool(spool_path(folder, "pombo"))]
            assert ["unknown_source"] == outcomes(producer, ["refused"])
            add_source(sync_redis)
            assert drained(folder)
        assert ["m0"] == ids(stored(sync_redis))

    def test_out_of_memory(self, redis: Redis, make: Make, folder: Path) -> None:
        """A Redis at its memory limit refuses appends: they wait on the disk."""
        producer = make()
        redis.config_set("maxmemory", 1)
        try:
            assert ["spooled", "spooled"] == outcomes(producer, ["m0", "m1"])
        finally:
            redis.config_set("maxmemory", 0)
        assert drained(folder)
        assert ["m0", "m1"] == ids(stored(redis))

    def test_read_only(self, redis: Redis, make: Make, folder: Path) -> None:
        """A Redis that became a replica refuses appends: they wait on the disk."""
        producer = make()
        redis.replicaof("127.0.0.1", "1")
        try:
            assert ["spooled", "spooled"] == outcomes(producer, ["m0", "m1"])
        finally:
            redis.replicaof("NO", "ONE")
        assert drained(folder)
        assert ["m0", "m1"] == ids(stored(redis))

    def test_lost_answers(self, redis: Redis, make: Make, proxy: Proxy, folder: Path) -> None:
        """Answers that are lost on the way make no duplicate, in the producer and in its drainer."""
        proxy.rule = first("cut", 12)
        assert ["spooled"] * 3 == outcomes(make(), ["m0", "m1", "m2"])
        assert drained(folder)
        assert ["m0", "m1", "m2"] == ids(stored(redis))

    def test_left_by_another(self, redis: Redis, make: Make, proxy: Proxy, folder: Path) -> None:
        """What a process left is drained when a producer of the folder is made, before its first event."""
        proxy.refuse()
        producer = make()
        outcomes(producer, ["m0"])
        producer.close()
        proxy.listen()
        make()
        assert drained(folder)
        assert ["m0"] == ids(stored(redis))

    def test_closing_spools(self, make: Make, proxy: Proxy, folder: Path) -> None:
        """Closing while Redis is away leaves on the disk what has no outcome yet."""
        proxy.refuse()
        producer = make(linger_s=60.0)
        receipts = [producer.track("u1", "A") for _ in range(5)]
        producer.close()
        assert (["spooled"] * 5, 5) == (list(map(reason, receipts)), held(folder))

    def test_no_disk(self, make: Make, proxy: Proxy, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A folder that cannot be used is told when the producer is made, and each event is rejected and counted."""
        folder.write_text("", "utf-8")
        metrics = Recorder()
        with caplog.at_level(logging.WARNING, "pombo.producer"):
            producer = make(metrics=metrics, budget_s=0.3)
            assert "is no folder" in caplog.text
            proxy.refuse()
            assert ["unavailable"] * 3 == outcomes(producer, ["m0", "m1", "m2"])
        assert {"unavailable": 3} == metrics.reasons
        # Spools of other tests may still have something to say.
        assert 1 == sum("rejected: " not in line for line in caplog.messages if str(folder) in line)

    def test_told(self, redis: Redis, make: Make, proxy: Proxy, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A process says once that a source is spooled, where and why, and once that all of it is in Redis."""
        caplog.set_level(logging.INFO, "pombo.producer")
        path = spool_path(folder, "pombo")

        def told() -> list[str]:
            return [line for line in caplog.messages if str(path) in line]

        proxy.refuse()
        one, two = make(), make()
        for producer in (one, two, one):
            assert ["spooled"] * 2 == outcomes(producer, ["m", "n"])
        (begun,) = told()
        assert begun.startswith(f"events of source bot are spooled to {path}: writing to Redis")
        proxy.listen()
        ends = time.monotonic() + DEADLINE_S
        while len(told()) < 2 and time.monotonic() < ends:
            time.sleep(0.01)
        assert f"the spool {path} is empty again: Redis has taken its events" == told()[1]
        assert 0 == held(folder)
        proxy.refuse()
        assert ["spooled"] == outcomes(one, ["o"])
        assert 3 == len(told())

    def test_bound(self, make: Make, proxy: Proxy) -> None:
        """What does not fit into the spool's bytes is unavailable."""
        proxy.refuse()
        found = outcomes(make(spool_bytes=1000, budget_s=0.4), [f"m{number}" for number in range(10)])
        assert {"spooled", "unavailable"} == set(found)
        assert sorted(found) == found

    def test_disabled(self, folder: Path, make: Make) -> None:
        """A disabled producer makes no spool."""
        assert ["accepted"] == outcomes(make(settings=Settings(spool_dir=folder, disabled=True)), ["m0"])
        assert not folder.exists()

    def test_gauges(self, redis: Redis, make: Make, proxy: Proxy, folder: Path) -> None:
        """The gauges tell what is in the spool at each scrape, whoever drained it."""
        registry = prometheus_client.CollectorRegistry()
        proxy.refuse()
        producer = make(metrics=PrometheusMetrics(prometheus_client, registry))
        before = registry.get_sample_value("pombo_spooled_events")
        outcomes(producer, ["m0", "m1"])
        assert before is not None
        assert before + 2 == registry.get_sample_value("pombo_spooled_events")
        assert (registry.get_sample_value("pombo_spooled_bytes") or 0) > 100
        assert 2 == registry.get_sample_value("pombo_enqueue_seconds_count")
        assert 0 < (registry.get_sample_value("pombo_spool_age_seconds") or 0) < DEADLINE_S
        proxy.listen()
        assert drained(folder)
        assert before == registry.get_sample_value("pombo_spooled_events")
        assert 0 == registry.get_sample_value("pombo_spool_age_seconds")

    def test_drainer_ends(self, redis: Redis, make: Make, proxy: Proxy, folder: Path) -> None:
        """The drainer's thread ends with the last event, and starts again with the next."""
        producer = make()
        for name in ("m0", "m1"):
            proxy.refuse()
            assert ["spooled"] == outcomes(producer, [name])
            proxy.listen()
            assert drained(folder)
            for thread in threading.enumerate():
                if thread.name == "pombo-spool":
                    thread.join(DEADLINE_S)
        assert ["m0", "m1"] == ids(stored(redis))


class TestAsyncio:
    async def test_gone_and_back(self, redis: Redis, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """Through an outage every event is accepted or spooled, and all arrive once and in order."""
        async with AsyncProducer(**options) as producer:
            assert "accepted" == reason(await producer.track("u1", "A", message_id="m0"))
            proxy.refuse()
            receipts = await asyncio.gather(*(producer.track("u1", "A", message_id=f"m{at}") for at in range(1, 5)))
            assert ["spooled"] * 4 == list(map(reason, receipts))
            proxy.listen()
            assert await asyncio.to_thread(drained, folder)
            assert "accepted" == reason(await producer.track("u1", "A", message_id="m5"))
        assert [f"m{number}" for number in range(6)] == ids(stored(redis))

    async def test_left_by_another(self, redis: Redis, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """What a process left is drained when a producer is entered."""
        proxy.refuse()
        async with AsyncProducer(**options) as producer:
            await producer.track("u1", "A", message_id="m0")
        proxy.listen()
        async with AsyncProducer(**options):
            assert await asyncio.to_thread(drained, folder)
        assert ["m0"] == ids(stored(redis))

    async def test_closed_in_haste(self, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """A close that runs out of time spools what is left."""
        proxy.refuse()
        producer = AsyncProducer(**(options | {"budget_s": 60.0}))
        waiting = asyncio.create_task(producer.track("u1", "A"))
        await asyncio.sleep(0)
        await producer.close(timeout=0.01)
        assert ("spooled", 1) == (reason(await waiting), held(folder))

    async def test_cancelled_flusher(self, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """Who cancels every task of the loop finds the events on the disk."""
        proxy.refuse()
        producer = AsyncProducer(**(options | {"linger_s": 60.0}))
        waiting = asyncio.create_task(producer.track("u1", "A"))
        await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            if task.get_name() == "pombo-bot":
                task.cancel()
        assert ("spooled", 1) == (reason(await waiting), held(folder))
        await producer.close()

    def test_loop_ended(self, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """What an ended loop left goes to the disk at exit."""
        proxy.refuse()
        producer = AsyncProducer(**(options | {"linger_s": 60.0}))
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(producer.track("u1", "A"))
        loop.run_until_complete(asyncio.sleep(0))
        producer.at_exit()
        assert 1 == held(folder)
        loop.run_until_complete(waiting)
        loop.run_until_complete(producer.close())
        loop.close()
        assert "spooled" == reason(waiting.result())

    def test_loop_closed(self, options: dict[str, Any], proxy: Proxy, folder: Path) -> None:
        """What a loop left that was closed with its calls still waiting goes to the disk at exit, and is let go."""
        proxy.refuse()
        producer = AsyncProducer(**(options | {"linger_s": 60.0}))
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # It complains of the tasks that it leaves.
        waiting = [loop.create_task(producer.track("u1", "A")) for _ in range(3)]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        producer.at_exit()
        assert (3, 0, 3) == (held(folder), producer._buffer.events, len(waiting))
