"""What a worker asks of Redis while nothing happens: commands are counted by the beat, not by the second."""

from typing import Any, cast

from pombo.shared import batches
from pombo.shared.scripts import script
from pombo.worker.pool import PEEKS
from support.world import Worker, World, body

SOURCES = 100
PARTITIONS = 8
BEATS = 20
BEAT = 10
"""Commands of a beat, those in its script included, with one to spare."""


async def commands(world: World) -> int:
    """Commands that the server has run, in scripts too."""
    info = cast("dict[str, dict[str, Any]]", await world.redis.info("commandstats"))
    return sum(int(stats["calls"]) for name, stats in info.items() if name not in {"cmdstat_info", "cmdstat_hello"})


async def cost_of_a_beat(world: World, worker: Worker) -> float:
    """Commands between two beats, over some of them."""
    before, begun = await commands(world), worker.pool.fleet._beat
    await world.until(lambda: worker.pool.fleet._beat >= begun + BEATS, "beats")
    return (await commands(world) - before) / (worker.pool.fleet._beat - begun)


async def add_many(world: World) -> None:
    for number in range(SOURCES):
        await world.add(f"s{number}", f"{number:032d}", partitions=PARTITIONS)


async def test_sources_at_rest_cost_nothing(world: World) -> None:
    """A worker of many quiet sources does little more than beat."""
    await add_many(world)
    worker = world.start()
    await world.until(lambda: worker.pool.fleet._beat > 2 and not worker.pool._round._left, "the first sweep")
    assert BEAT >= await cost_of_a_beat(world, worker)


async def test_sources_that_have_become_quiet_cost_little(world: World) -> None:
    """While it still holds all partitions of many sources it looks at some of them in a beat, once each, in turns."""
    await add_many(world)
    active = [f"s{number}/{partition}" for number in range(SOURCES) for partition in range(PARTITIONS)]
    await script("announce").acall(world.redis, [world.keys.active], active)
    worker = world.start()
    lanes = worker.pool.lanes
    await world.until(
        lambda: (
            sum(len(lane.holdings) for lane in lanes.values()) == SOURCES * PARTITIONS
            and not any(holding.fresh for lane in lanes.values() for holding in lane.holdings.values())
            and not worker.pool._round._left
        ),
        "every lease",
    )
    # News may make it look twice in one beat or another.
    costs = [await cost_of_a_beat(world, worker) for _ in range(3)]
    assert SOURCES > BEAT + PEEKS >= min(costs)


async def test_a_lost_announcement_is_found_by_a_look(world: World) -> None:
    """An entry of a partition that is held is seen though nobody told of it, whichever turn it is."""
    await add_many(world)
    active = [f"s{number}/0" for number in range(SOURCES)]
    await script("announce").acall(world.redis, [world.keys.active], active)
    worker = world.start()
    await world.until(lambda: len(worker.pool.lanes) == SOURCES, "lanes")
    of, batch = world.keys.of(f"s{SOURCES - 1}"), batches.encode([body("m1")])
    for counter, by in (("accepted", 1), ("queued", 1), ("queued_bytes", len(batch.payload))):
        await world.redis.hincrby(of.ledger, counter, by)
    await world.redis.xadd(of.stream(0), {"n": batch.events, "r": batch.raw, "b": batch.payload})
    await world.until(lambda: world.kept(f"{SOURCES - 1:032d}"), "the event")
    await world.assert_balanced()
