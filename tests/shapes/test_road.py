"""The road from bot to Segment, on a Redis of every shape."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from pombo.ops.fleetmetrics import fleet_registry
from pombo.ops.overview import read_overview
from pombo.producer import Accepted, AsyncProducer, Producer
from pombo.shared.connection import connect
from pombo.shared.deadletters import Filter, count, discard, groups, rebuild, redrive_page, search
from pombo.shared.deadletters.table import look
from pombo.shared.errors import SourceNotEmptyError, UnknownSourceError
from pombo.shared.flow import pause, resume
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings
from pombo.worker.drain import Drain
from pombo.worker.jobs import enqueue_redrive
from pombo.worker.membership import Pace
from support.programs import SECRET, stripped_environment
from support.servers import Shape
from support.world import World, body

SOURCES = ("bot", "help", "chat")
"""On a cluster of three, their slots are with three nodes."""
ASLEEP = Pace(beat=600, fence=1200, missing=900, takeover=1800, forget=5)


def settings_of(shape: Shape, folder: Path) -> Settings:
    """Settings of a process that uses this Redis."""
    return Settings(redis_url=shape.url, home=folder, secret_key=SecretStr(SECRET))


def refusing(*ids: str) -> list[dict[str, Any]]:
    """A plan under which Segment refuses some events."""
    answer = {"status": 400, "body": {"success": False, "message": "malformed event", "code": "invalid_request"}}
    return [{"when": {"message_id": list(ids)}, "answer": answer}]


async def test_events_arrive_once_and_in_order(world: World, shape: Shape, tmp_path: Path) -> None:
    """What both producers wrote for three sources arrives, each once and in its user's order, and the audit agrees."""
    for number, name in enumerate(SOURCES):
        await world.add(name, f"{number}" * 32)
    world.start()
    world.start()
    settings = settings_of(shape, tmp_path)

    def issue(name: str) -> list[Any]:
        with Producer(name, settings=settings, budget_s=20) as producer:
            return [producer.track(f"u{n % 5}", "Said", {"n": n}, message_id=f"{name}-{n}") for n in range(200)]

    receipts = [
        receipt for made in await asyncio.gather(*(asyncio.to_thread(issue, n) for n in SOURCES)) for receipt in made
    ]
    async with AsyncProducer("bot", settings=settings, budget_s=20) as producer:
        more = await asyncio.gather(*(producer.track("u9", "Said", message_id=f"a-{n}") for n in range(200)))
        again = await asyncio.gather(*(producer.track("u9", "Said", message_id=f"a-{n}") for n in range(10)))
    assert {Accepted} == {type(receipt.result(20)) for receipt in [*receipts, *more, *again]}

    for name in SOURCES:
        await world.drained(name)
    assert 10 == (await world.ledger("bot"))["deduplicated"]
    for number, name in enumerate(SOURCES):
        rows = [row for row in world.sim.events(key=f"{number}" * 32) if row["message_id"].startswith(name)]
        assert {"kept"} == {row["fate"] for row in rows}
        assert 200 == len(rows)
        for user in {row["user"] for row in rows}:
            order = [int(row["message_id"].partition("-")[2]) for row in rows if row["user"] == user]
            assert sorted(order) == order
    await world.assert_balanced()


async def test_registry(world: World, redis_url: str) -> None:
    """Sources are added, changed, found and removed; nothing of a removed one stays."""
    source = await world.add("bot")
    await world.add("shop", "s" * 32)
    await world.registry.set("bot", rate=5)
    await world.registry.rotate_key("bot", "r" * 32)
    assert ("bot", "shop") == (await world.registry.find_by_key("r" * 32), await world.registry.find_by_key("s" * 32))
    assert "r" * 32 == await world.registry.write_key("bot")
    await world.append(source, 0, [body("m1")])
    with pytest.raises(SourceNotEmptyError):
        await world.registry.remove("bot")
    await world.registry.remove("bot", discard=True)
    with pytest.raises(UnknownSourceError):
        await world.registry.get("bot")
    assert ["shop"] == [*(await world.registry.snapshot()).sources]
    left = {key async for key in world.redis.scan_iter(match="*{bot}*")}
    assert set() == left


async def test_dead_letters_go_again_by_a_job(world: World, shape: Shape, tmp_path: Path) -> None:
    """What Segment refused becomes dead, a job of the real process redrives it, and the rest is discarded."""
    source = await world.add()
    world.sim.set_plan(refusing("m1", "m3"))
    world.start()
    await world.append(source, 0, [body(f"m{n}") for n in range(4)])
    await world.drained()
    assert ["m1", "m3"] == [letter.event["messageId"] for letter in await world.letters()]
    world.sim.set_plan(refusing("m3"))

    env = stripped_environment()
    env |= {"POMBO_REDIS_URL": shape.url, "POMBO_JOBS_REDIS_URL": shape.jobs_url, "POMBO_HOME": str(tmp_path)}
    argv = [sys.executable, "-m", "pombo.worker.jobs"]
    with (
        connect(shape.jobs_url) as jobs,
        subprocess.Popen(argv, env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
    ):
        try:
            job = enqueue_redrive(jobs, "bot", Filter(), namespace=world.keys.namespace)
            await world.until(lambda: job.is_finished or job.is_failed, "the job's end")
            counts = {"moved": 2, "skipped": 0, "unreadable": 0, "older": 0}
            assert {**counts, "sentence": "2 dead letters redriven"} == job.return_value()
        finally:
            process.terminate()
    await world.until(lambda: "m1" in world.kept(), "the redriven event")
    await world.until(world.letters, "the event that is refused again")
    assert 1 == await discard(world.redis, world.keys, "bot", await world.letters())
    await world.drained()
    assert {"m0", "m1", "m2"} == set(world.kept())
    await world.assert_balanced()


async def test_workers_hear_what_is_published(world: World) -> None:
    """A worker learns by a message alone, between two beats, of new events and of the end of a pause."""
    source = await world.add()
    worker = world.start()
    await world.append(source, 0, [body("m0")])
    await world.until(lambda: world.kept() == ["m0"], "the first event")
    worker.pool._guard.pace = ASLEEP  # From here on nothing is looked at, only heard of.
    await asyncio.sleep(0.2)
    await world.append(source, 0, [body("m1")])
    await world.until(lambda: world.kept() == ["m0", "m1"], "the event that was announced")
    assert await pause(world.redis, world.keys, "bot")
    await world.append(source, 0, [body("m2")])
    assert await resume(world.redis, world.keys, "bot")
    await world.until(lambda: world.kept() == ["m0", "m1", "m2"], "the event behind the pause")


async def test_dead_letters_are_found_by_their_table(world: World) -> None:
    """Searches, counts and groups are answered wherever the source is, and its table can be made anew there."""
    source = await world.add()
    world.sim.set_plan(refusing("m1", "m3"))
    world.start()
    await world.append(source, 0, [body(f"m{n}") for n in range(4)])
    await world.drained()
    of = world.keys.of("bot")
    for _ in range(2):
        assert (await look(world.redis, of))[0].complete
        (found,) = (await search(world.redis, world.keys, "bot", Filter(message_id="m3"))).letters
        assert "m3" == found.event["messageId"]
        assert 2 == (await count(world.redis, world.keys, "bot", Filter(reason="rejected_by_segment"))).letters
        assert [2] == [group.count for group in await groups(world.redis, world.keys, "bot")]
        assert await rebuild(world.redis, world.keys, "bot")
    world.sim.set_plan([])
    assert 1 == await redrive_page(world.redis, world.keys, source, [found])
    assert 1 == (await count(world.redis, world.keys, "bot", Filter())).letters


async def test_a_hold_and_its_end(world: World) -> None:
    """Segment's Retry-After holds the source, and what waited goes out when it ends."""
    source = await world.add()
    limited = {"status": 429, "headers": {"Retry-After": 1}}
    world.sim.set_plan([{"answer": limited, "times": 1}])
    world.start()
    await world.append(source, 0, [body("m0")])
    await world.until(lambda: world.kept() == ["m0"], "the event behind the hold")
    overview = await read_overview(world.redis, world.keys, await world.registry.snapshot())
    assert overview.sources["bot"].flow.hold_until


async def test_a_rate_group(world: World) -> None:
    """Two sources of a rate group, whose bucket may be elsewhere, deliver."""
    for number, name in enumerate(SOURCES[:2]):
        source = await world.add(name, f"{number}" * 32, rate=1000, rate_group="team")
        await world.append(source, 0, [body(f"{name}-{n}") for n in range(50)])
    world.start()
    for name in SOURCES[:2]:
        await world.drained(name)
    await world.assert_balanced()


async def test_operators_see_everything(world: World, shape: Shape, secrets: Secrets, tmp_path: Path) -> None:
    """Overview, metrics and drain read every source, wherever it is."""
    for number, name in enumerate(SOURCES):
        await world.append(await world.add(name, f"{number}" * 32), 1, [body("m1")])
    snapshot = await world.registry.snapshot()
    overview = await read_overview(world.redis, world.keys, snapshot)
    assert dict.fromkeys(SOURCES, 1) == {name: view.ledger.queued for name, view in overview.sources.items()}
    assert 0 < overview.redis.used_memory
    registry = fleet_registry(settings_of(shape, tmp_path), secrets)
    read = await asyncio.to_thread(registry.get_sample_value, "pombo_queue_events", {"source": "chat"})
    assert 1 == read
    drain = Drain(world.redis, world.keys, world.registry)
    assert {(name, 1, "") for name in SOURCES} == set(await drain._left())
    assert orjson.dumps(overview.describe())


async def test_a_worker_comes_back_from_a_flush(world: World, shape: Shape) -> None:
    """After Redis lost everything the worker that runs delivers for the source that is added again."""
    await world.append(await world.add(), 0, [body("m0")])
    world.start()
    await world.until(lambda: world.kept() == ["m0"], "the first event")
    await asyncio.to_thread(shape.flush)
    await world.append(await world.add(), 0, [body("m1")])
    await world.until(lambda: "m1" in world.kept(), "the event after the flush")
