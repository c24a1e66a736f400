"""Events that always fail, and outages that look alike: real scripts and lanes, hours of virtual time."""

import asyncio
from math import ceil, log2
from typing import cast

import pytest

from pombo.worker.patience import LONE_AFTER, POISON_AFTER, SPLIT_AFTER
from support.virtualfleet import VirtualFleet, VirtualSegment, simulate

EACH = 25
"""Events of a partition."""
LAST_TRIAL_S = 5.25
"""Seconds between two requests of one worker in a long outage."""
FOUND_S = 240.0
"""Within which a culprit is dead where nothing else is left to send: its fifty trials take most of that."""
DEEP = 1 + ceil(log2(EACH))
"""Requests of which a partition may take, when it was split down to its first event."""


async def now() -> float:
    return asyncio.get_running_loop().time()


async def settled(fleet: VirtualFleet, within_s: float) -> None:
    """Wait until nothing is queued or in flight."""
    ends = await now() + within_s
    while any(await fleet.counters("queued", "in_flight")):
        counters = await fleet.counters("delivered", "dead")
        assert await now() < ends, f"delivered and dead after {within_s:g} s: {counters}"
        await asyncio.sleep(0.5)


async def died(fleet: VirtualFleet) -> dict[str, int]:
    """How many events died, by reason."""
    reasons = ("poison", "expired", "outcome_unknown", "rejected_by_segment")
    counts = await fleet.counters(*(f"died:{reason}" for reason in reasons))
    return {reason: count for reason, count in zip(reasons, counts, strict=True) if count}


def assert_in_order(segment: VirtualSegment, *, without: int = -1) -> None:
    """All arrived once, those of each partition in the order of acceptance."""
    kept = [int(message_id[1:]) for message_id in segment.kept]
    everything = [number for number in range(max(kept) + 1) if number != without]
    assert everything == sorted(kept)
    for partition in {number // EACH for number in kept}:
        mine = [number for number in kept if number // EACH == partition]
        assert sorted(mine) == mine


# -- culprits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, 13, 24, 3 * EACH + 5, 7 * EACH, 8 * EACH - 1])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_culprit_in_the_only_requests_dies_alone(redis_url: str, bad: int, workers: int) -> None:
    """All else is split off it, and is its witness: the other partitions arrive in seconds, it is dead in minutes."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = f'"m{bad}"'
        await fleet.append([EACH] * 8)
        await asyncio.sleep(10)
        assert await fleet.ledger("delivered") >= 7 * EACH
        await settled(fleet, FOUND_S)
        assert {"poison": 1} == await died(fleet)

    segment = simulate(redis_url, script, workers=workers)
    assert_in_order(segment, without=bad)
    failed = sum(one.status == 500 for one in segment.sent)
    assert failed <= SPLIT_AFTER + 3 + DEEP + POISON_AFTER + LONE_AFTER
    assert len(segment.sent) - failed <= 8 + DEEP


@pytest.mark.parametrize("bad", [1, 12, 23, 24])
def test_a_culprit_in_the_only_partition_dies_alone(redis_url: str, bad: int) -> None:
    """What goes before it in its own partition is its witness too."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = f'"m{bad}"'
        await fleet.append([EACH])
        await asyncio.sleep(20)
        assert bad == await fleet.ledger("delivered")
        await settled(fleet, FOUND_S)
        assert {"poison": 1} == await died(fleet)

    assert_in_order(simulate(redis_url, script, partitions=1), without=bad)


def test_several_culprits_die_alone(redis_url: str) -> None:
    """As many events of one request as always fail are dead in the end, and no more; each keeps the others waiting."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '7"'
        await fleet.append([EACH] * 2)
        await settled(fleet, 5 * 2 * FOUND_S)
        assert {"poison": 5} == await died(fleet)

    segment = simulate(redis_url, script, partitions=2)
    assert [number for number in range(2 * EACH) if number % 10 != 7] == sorted(int(one[1:]) for one in segment.kept)


def test_a_culprit_without_a_witness_dies_of_age_alone(redis_url: str) -> None:
    """First in the only partition it waits for `max_age`; what waited behind it is sent then, and lives."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '"m0"'
        await fleet.append([EACH])
        await asyncio.sleep(590)
        assert [0, 0] == await fleet.counters("delivered", "dead")
        await settled(fleet, 40)
        assert {"expired": 1} == await died(fleet)

    segment = simulate(redis_url, script, partitions=1, max_age_s=600)
    assert segment.kept == [f"m{number}" for number in range(1, EACH)]


def test_culprits_of_two_workers_die_of_age(redis_url: str) -> None:
    """Where each one's trial keeps the other waiting, both still grow older, and the other's end comes soon after."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '"bad'
        for partition in range(2):
            await fleet.append_one(partition, f"bad{partition}")
        await asyncio.sleep(1000)
        assert 0 == await fleet.ledger("dead")
        await settled(fleet, 500)
        assert {"expired": 2} == await died(fleet)

    simulate(redis_url, script, workers=2, partitions=2, max_age_s=600)


def test_a_refused_event_and_a_failing_one_die_alone(redis_url: str) -> None:
    """Of one request one event is refused and another one fails: each dies for its own reason, and all else arrives."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused, segment.rejected = '"m3"', '"m30"'
        await fleet.append([EACH] * 4)
        await settled(fleet, FOUND_S)
        assert {"poison": 1, "rejected_by_segment": 1} == await died(fleet)

    segment = simulate(redis_url, script, partitions=4)
    assert {f"m{number}" for number in range(4 * EACH)} - {"m3", "m30"} == {*segment.kept}
    assert 4 * EACH - 2 == len(segment.kept)


# -- amid the turns ------------------------------------------------------------------------------------------------


async def turning(fleet: VirtualFleet, segment: VirtualSegment) -> None:
    """Have a request over all partitions fall apart in an outage."""
    segment.status = 503
    await fleet.append([EACH] * 8)
    await asyncio.sleep(300)


def test_a_lost_partition_is_left_alone_amid_the_turns(redis_url: str) -> None:
    """What is lost to another worker is sent no more; the others go on."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await turning(fleet, segment)
        fleet.redis.set(fleet.of.lease(3), "w9:other")
        segment.status = 200
        await asyncio.sleep(20)
        assert [7 * EACH, EACH, 0] == await fleet.counters("delivered", "in_flight", "dead")

    segment = simulate(redis_url, script)
    assert {0, 1, 2, 4, 5, 6, 7} == {int(one[1:]) // EACH for one in segment.kept}


def test_a_stop_amid_the_turns_leaves_nothing_in_doubt(redis_url: str) -> None:
    """Every record says that nothing of it is on the wire, whichever partition's turn it was."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await turning(fleet, segment)
        (lane,) = fleet.lanes
        lane.stop()
        await lane.finished()
        records = [fleet.redis.hmget(fleet.of.record(number), "sent_at", "unknown_since") for number in range(8)]
        assert [[b"0", b"0"]] * 8 == records

    simulate(redis_url, script)


def test_a_partition_is_handed_back_amid_the_turns(redis_url: str) -> None:
    """It need not be its turn, and the others go on without it."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await turning(fleet, segment)
        (lane,) = fleet.lanes
        lane.leave(3)
        await asyncio.sleep(0.1)
        assert [3] == [holding.partition for holding in lane.released()]
        lane.forget(3)
        segment.status = 200
        await asyncio.sleep(20)
        assert [7 * EACH, EACH, 0] == await fleet.counters("delivered", "in_flight", "dead")

    simulate(redis_url, script)


def test_a_hold_amid_the_turns_ages_nobody(redis_url: str) -> None:
    """Who failed before a hold, and waits for longer than `max_age` in all, lives, whosever turn it was."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await turning(fleet, segment)
        for _ in range(4):
            segment.status = 429
            await asyncio.sleep(200)
            segment.status = 503
            await asyncio.sleep(20)
        segment.status = 200
        await settled(fleet, 60)
        assert {} == await died(fleet)

    assert_in_order(simulate(redis_url, script, max_age_s=400))


# -- outages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [503, None])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_outage_splits_and_kills_nothing(redis_url: str, workers: int, status: int | None) -> None:
    """However long: trials keep their pace, nothing dies, and all arrives in order, in a few requests a partition."""
    lasts_s = 2 * 3600

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = status
        await fleet.append([EACH] * 8)
        await asyncio.sleep(lasts_s)
        segment.status = 200
        await settled(fleet, 20 + 15)
        assert {} == await died(fleet)

    segment = simulate(redis_url, script, workers=workers)
    assert len(segment.requests(0, lasts_s)) <= lasts_s / 5 + 40
    assert len(segment.requests(lasts_s, lasts_s + 60)) <= 8 * DEEP
    assert_in_order(segment)


def test_trials_go_round(redis_url: str) -> None:
    """In an outage every worker's requests are tried as often as another's."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([1] * 4)
        await asyncio.sleep(1800)
        tried = [int(cast("bytes", fleet.redis.hget(fleet.of.record(number), "attempts"))) for number in range(4)]
        assert max(tried) <= min(tried) + 8, tried

    simulate(redis_url, script, workers=4, partitions=4)


def test_an_outage_beyond_max_age_kills_what_was_tried(redis_url: str) -> None:
    """The first event of each partition that was tried for all that time is dead, and none behind it."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([EACH] * 8)
        await asyncio.sleep(900)
        segment.status = 200
        await settled(fleet, 20)
        assert {"expired": 8} == await died(fleet)

    segment = simulate(redis_url, script, max_age_s=600)
    assert [number for number in range(8 * EACH) if number % EACH] == sorted(int(one[1:]) for one in segment.kept)


@pytest.mark.parametrize("up_s", [0.2, 2.0])
def test_a_source_that_flaps_kills_nothing(redis_url: str, up_s: float) -> None:
    """Where Segment is back for a moment every minute, others fail too: nobody is blamed."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([EACH] * 8)
        for _ in range(30):
            await asyncio.sleep(60)
            segment.status = 200
            await asyncio.sleep(up_s)
            segment.status = 503
            await fleet.append([1] * 8)
        segment.status = 200
        await settled(fleet, 30)
        assert {} == await died(fleet)

    simulate(redis_url, script, workers=2)


def test_one_success_is_a_witness_once(redis_url: str) -> None:
    """A moment of life in an outage costs an event at most of each partition, and not those behind it in turn."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([EACH, EACH])
        await asyncio.sleep(600)
        segment.status = 200
        while not await fleet.ledger("delivered"):
            await asyncio.sleep(0.001)
        segment.status = 503
        await asyncio.sleep(6 * 3600)
        assert await fleet.ledger("dead") <= 2
        segment.status = 200
        await settled(fleet, 30)

    simulate(redis_url, script, partitions=2)


def test_the_failures_of_others_speak_for_an_event(redis_url: str) -> None:
    """Where another worker's trials fail too, hundreds of one's own after a moment of life blame nobody."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([EACH])
        await asyncio.sleep(60)
        segment.status = 200
        while not await fleet.ledger("delivered"):
            await asyncio.sleep(0.001)
        segment.status = 503
        await fleet.append([0, 1])
        await asyncio.sleep(3600)
        segment.status = 200
        await settled(fleet, 30)
        assert {} == await died(fleet)

    assert len(simulate(redis_url, script, workers=2, partitions=2).sent) > 600
