"""A repaired source is not parked again by news from before its repair."""

from support.world import World, body


async def test_settings_from_before_the_repair_cannot_park(world: World) -> None:
    """A worker that still holds the old key when a source is repaired does not park it again."""
    source = await world.add()
    world.sim.set_plan([{"when": {"key": "k" * 32}, "answer": {"status": 401}}])
    await world.append(source, 0, [body("a")])
    worker = world.start()
    flow = world.keys.of("bot").flow
    await world.until(lambda: world.redis.hexists(flow, "parked"), "the park")
    before = worker.pool.lanes["bot"].version
    await world.registry.rotate_key("bot", "n" * 32)
    assert not await worker.pool.lanes["bot"].store.park("late news", before)
    await world.drained()
    assert ["a"] == world.kept("n" * 32)
