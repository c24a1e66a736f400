"""Events travel from Redis to Segment through real workers."""

from support.world import World, body


async def test_delivers_every_event_once_and_in_order(world: World) -> None:
    """Events of one partition arrive in the order of acceptance, and the ledger balances."""
    source = await world.add()
    ids = [f"m{n}" for n in range(1234)]
    await world.append(source, 0, [body(i) for i in ids])
    world.start()
    await world.drained()
    assert ids == world.kept()
    await world.assert_balanced()
    ledger = await world.ledger()
    assert (1234, 1234, 0) == (ledger["accepted"], ledger["delivered"], ledger["queued_bytes"])


async def test_never_sends_a_remembered_id_again(world: World) -> None:
    """A messageId within the idempotency window is sent once, whatever the user or partition."""
    source = await world.add()
    await world.append(source, 0, [body("a"), body("b"), body("a")])
    await world.append(source, 1, [body("b", user="u2"), body("c", user="u2")])
    world.start()
    await world.drained()
    assert ["a", "b", "c"] == sorted(row["message_id"] for row in world.sim.events())
    ledger = await world.ledger()
    assert (3, 2) == (ledger["delivered"], ledger["deduplicated"])
    await world.assert_balanced()
