"""Events travel from Redis to Segment through real workers, whatever Segment answers."""

from functools import partial
from math import ceil, log2

import pytest

from pombo.shared.flow import read_flow
from support.world import WRITE_KEY, World, body


def refuse(*ids: str, status: int = 400, answer: str = '{"success": false, "message": "nope"}') -> dict[str, object]:
    """A fault rule: Segment refuses any request that holds one of these events."""
    return {"when": {"message_id": list(ids)}, "answer": {"status": status, "body": answer}}


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


async def test_thin_partitions_share_a_request(world: World) -> None:
    """What waits in several thin partitions goes out in one request."""
    source = await world.add()
    for partition in range(4):
        await world.append(source, partition, [body(f"{partition}-{n}", user=f"u{partition}") for n in range(5)])
    world.start()
    await world.drained()
    assert [20] == [row["events"] for row in world.sim.requests()]


@pytest.mark.parametrize("bad", [0, 1, 499, 998, 999])
async def test_one_refused_event_dies_alone(world: World, bad: int) -> None:
    """One bad event of a full request is dead with the answer; the rest arrives in 2·⌈log₂ n⌉ further requests."""
    source = await world.add()
    ids = [f"m{n}" for n in range(1000)]
    world.sim.set_plan([refuse(ids[bad])])
    await world.append(source, 0, [body(i) for i in ids])
    world.start()
    await world.drained()
    assert [i for i in ids if i != ids[bad]] == world.kept()
    (letter,) = await world.letters()
    assert (ids[bad], "rejected_by_segment", 400) == (
        letter.event["messageId"],
        letter.header.reason,
        letter.header.status,
    )
    assert "nope" in (letter.header.answer or "")
    assert [400] * len(letter.header.history) == [attempt["status"] for attempt in letter.header.history]
    assert len(world.sim.requests()) - 1 <= 2 * ceil(log2(1000))
    await world.assert_balanced()


async def test_bisection_keeps_to_its_bound_in_a_shared_request(world: World) -> None:
    """The bound holds for a request that several partitions share, and each keeps its order."""
    source = await world.add()
    world.sim.set_plan([refuse("2-17")])
    for partition in range(4):
        await world.append(source, partition, [body(f"{partition}-{n}", user=f"u{partition}") for n in range(50)])
    world.start()
    await world.drained()
    assert len(world.sim.requests()) - 1 <= 2 * ceil(log2(200))
    for partition in range(4):
        mine = [i for i in world.kept() if i.startswith(f"{partition}-")]
        assert [f"{partition}-{n}" for n in range(50) if (partition, n) != (2, 17)] == mine
    await world.assert_balanced()


async def test_dead_ids_are_forgotten(world: World) -> None:
    """Becoming dead forgets the messageId, so that a corrected copy is not taken for a duplicate."""
    source = await world.add()
    world.sim.set_plan([refuse("bad")])
    await world.append(source, 0, [body("good"), body("bad")])
    world.start()
    await world.drained()
    world.sim.set_plan([])
    await world.append(source, 0, [body("bad")])
    await world.drained()
    assert ["good", "bad"] == world.kept()
    assert (1, 2) == ((await world.ledger())["dead"], (await world.ledger())["delivered"])


async def test_parks_when_every_event_is_refused_alone(world: World) -> None:
    """When all events of a request are refused one by one, the fault is not theirs: park, and nothing dies."""
    source = await world.add()
    ids = ["a", "b", "c", "d", "e"]
    world.sim.set_plan([refuse(*ids)])
    await world.append(source, 0, [body(i) for i in ids])
    world.start()
    await world.until(lambda: parked(world), "the source to park")
    assert [] == await world.letters()
    world.sim.set_plan([])
    assert await world.registry.unpark("bot")
    await world.drained()
    assert ids == world.kept()
    await world.assert_balanced()


def arrived(world: World, message_id: str) -> bool:
    """Whether Segment kept the event."""
    return message_id in world.kept()


async def parked(world: World) -> bool:
    """Whether source bot is parked."""
    return bool(await world.redis.hexists(world.keys.of("bot").flow, "parked"))


async def test_two_events_refused_alone_are_dead(world: World) -> None:
    """Fewer than three events refused alone are dead even when nothing of their request was accepted."""
    source = await world.add()
    world.sim.set_plan([refuse("a", "b")])
    await world.append(source, 0, [body("a"), body("b")])
    world.start()
    await world.drained()
    assert {"a", "b"} == {letter.event["messageId"] for letter in await world.letters()}
    await world.assert_balanced()


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 401, "body": "unauthorized"},
        {"status": 403},
        {"status": 404},
        {"status": 302, "headers": {"location": "http://127.0.0.1:1/"}},
        {"status": 501},
        {"status": 400, "body": '{"success": false, "message": "An invalid write key was provided"}'},
    ],
)
async def test_a_source_fault_parks_and_a_new_key_resumes(world: World, answer: dict[str, object]) -> None:
    """A revoked key parks the source: nothing dies, and after the key is rotated all arrives."""
    source = await world.add()
    world.sim.set_plan([{"when": {"key": WRITE_KEY}, "answer": answer}])
    ids = [f"m{n}" for n in range(50)]
    await world.append(source, 0, [body(i) for i in ids])
    world.start()
    await world.until(lambda: parked(world), "the source to park")
    assert (0, 50) == ((await world.ledger())["dead"], (await world.ledger())["in_flight"])
    await world.registry.rotate_key("bot", "n" * 32)
    await world.drained()
    assert ids == world.kept("n" * 32)
    await world.assert_balanced()


@pytest.mark.parametrize("status", [408, 410, 425, 460, 500, 502, 503, 504, 529, 599])
async def test_failures_that_may_pass_are_retried(world: World, status: int) -> None:
    """A retryable status sends the same events again, numbered, until they are accepted."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": status}, "times": 3}])
    await world.append(source, 0, [body("a"), body("b")])
    world.start()
    await world.drained()
    assert [status] * 3 + [200] == [row["status"] for row in world.sim.requests()]
    assert [None, 1, 2, 3] == [row["retry_count"] for row in world.sim.requests()]
    assert ["a", "b"] == world.kept()
    await world.assert_balanced()


@pytest.mark.parametrize("action", ["reset_before", "reset_after"])
async def test_a_lost_answer_is_sent_again_with_the_same_id(world: World, action: str) -> None:
    """An unknown outcome is sent again; when it had been accepted, Segment sees the same messageId."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"action": action}, "times": 1}])
    await world.append(source, 0, [body("a")])
    worker = world.start()
    await world.drained()
    registry = worker.pool._tools.metrics.registry
    assert 1 == registry.get_sample_value("pombo_suspected_duplicates_total", {"source": "bot"})
    assert 1 == registry.get_sample_value("pombo_retry_wait_seconds_count", {"source": "bot"})
    assert 1 == registry.get_sample_value("pombo_requests_filled_total", {"source": "bot", "reason": "drained"})
    fates = ["kept"] if action == "reset_before" else ["kept", "duplicate"]
    assert fates == [row["fate"] for row in world.sim.events()]
    await world.assert_balanced()


@pytest.mark.parametrize(("status", "header"), [(429, "Retry-After"), (429, "X-RateLimit-Reset"), (503, "Retry-After")])
async def test_asked_to_wait_the_source_is_held(world: World, status: int, header: str) -> None:
    """Segment's hint holds the source in Redis for everyone, and the same events go again afterwards."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": status, "headers": {header: "1"}}, "times": 1}])
    await world.append(source, 0, [body("a")])
    world.start()
    await world.drained()
    assert (await read_flow(world.redis, world.keys.of("bot"))).hold_until
    first, second = world.sim.requests()
    assert second["monotonic"] - first["monotonic"] >= 1.0
    assert ["a"] == world.kept()
    assert {} == {k: v for k, v in (await world.ledger()).items() if k.startswith("died")}


async def test_success_false_on_200_is_a_refusal(world: World) -> None:
    """A 2xx that says {"success": false} is treated as 400."""
    source = await world.add()
    plan = {"when": {"message_id": "bad"}, "answer": {"status": 200, "body": '{"success": false}'}}
    world.sim.set_plan([plan])
    await world.append(source, 0, [body("a"), body("bad"), body("c")])
    world.start()
    await world.drained()
    assert ["bad"] == [letter.event["messageId"] for letter in await world.letters()]


async def test_poison_is_isolated_and_dies(world: World) -> None:
    """An event that makes requests fail while others succeed is bisected out and dead as poison."""
    source = await world.add()
    world.sim.set_plan([{"when": {"message_id": "p"}, "answer": {"status": 500}}])
    await world.append(source, 0, [body("a"), body("b"), body("p"), body("c")])
    world.start()
    await world.until(lambda: len(world.sim.requests()) >= 3, "first failures")
    feeder = 0
    while not await world.settled():
        await world.append(source, 1, [body(f"other{feeder}", user="u2")])
        feeder += 1
        await world.until(partial(arrived, world, f"other{feeder - 1}"), "the other partition")
    (letter,) = await world.letters()
    assert ("p", "poison") == (letter.event["messageId"], letter.header.reason)
    assert ["a", "b", "c"] == [i for i in world.kept() if not i.startswith("other")]
    await world.assert_balanced()


async def test_other_partitions_do_not_wait_for_poison(world: World) -> None:
    """An event that fails in the only request of all partitions keeps those of its own waiting, and no others."""
    source = await world.add()
    world.sim.set_plan([{"when": {"message_id": "0-0"}, "answer": {"status": 500}}])
    for partition in range(4):
        await world.append(source, partition, [body(f"{partition}-{n}", user=f"u{partition}") for n in range(5)])
    world.start()
    await world.until(lambda: 15 == len(world.kept()), "the other partitions")
    assert 20 == world.sim.requests()[0]["events"]
    assert not any(one.startswith("0-") for one in world.kept())
    assert [] == await world.letters()
    await world.assert_balanced()


async def test_an_outage_kills_nothing_before_max_age(world: World) -> None:
    """Failures while nobody succeeds kill nothing, however many."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"status": 500}, "times": 7}])
    await world.append(source, 0, [body("a"), body("b")])
    world.start()
    await world.drained()
    assert ["a", "b"] == world.kept()
    assert [] == await world.letters()


async def test_max_age_ends_endless_failure(world: World) -> None:
    """Events that fail for longer than max_age, while the source is well, are dead as expired."""
    source = await world.add(max_age_s=0.2)
    world.sim.set_plan([{"when": {"message_id": ["a", "b"]}, "answer": {"status": 500, "delay_s": 0.05}}])
    await world.append(source, 0, [body("a"), body("b")])
    world.start()
    await world.until(lambda: world.sim.requests(), "the first failure")
    feeder = 0
    while not await world.settled():
        await world.append(source, 1, [body(f"other{feeder}", user="u2")])
        feeder += 1
        await world.until(partial(arrived, world, f"other{feeder - 1}"), "the other partition")
    assert ["expired"] * 2 == [letter.header.reason for letter in await world.letters()]
    await world.assert_balanced()


async def test_an_outcome_unknown_for_a_day_is_not_sent_again(world: World) -> None:
    """Beyond Segment's own window a resend could count twice: the event is dead as outcome_unknown."""
    source = await world.add()
    world.sim.set_plan([{"when": {}, "answer": {"action": "hang"}}])
    await world.append(source, 0, [body("a")])
    first = world.start()
    await world.until(lambda: world.sim.requests(), "the request")
    await first.kill()
    seconds, _ = await world.redis.time()
    await world.redis.hset(world.keys.of("bot").record(0), "unknown_since", (seconds - 25 * 3600) * 1000)
    world.sim.set_plan([])
    world.start()
    await world.drained()
    assert ["outcome_unknown"] == [letter.header.reason for letter in await world.letters()]
    assert 1 == len(world.sim.requests())
    await world.assert_balanced()
