"""Flow control in scripted weather: real scripts and lanes, many workers, minutes of virtual time."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from support.virtualfleet import TICK_S, VirtualFleet, VirtualSegment, simulate
from support.virtualscript import EPOCH

SLOW_S, DOWN_S = 5.0, 30.0
REFUSED_S = 8.0
FIRST_TRIAL_S, LAST_TRIAL_S = 1.0, 5.0


# -- outages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "workers", "status"), [(1000, 3, 503), (1000, 1, 503), (1000, 2, None), (5000, 3, 503)]
)
def test_slow_down_and_back(redis_url: str, limit: int, workers: int, status: int | None) -> None:
    """While Segment is down the fleet sends a request an interval; ten seconds after it is back all flows again."""
    back = 5 + SLOW_S + DOWN_S
    broken_at = 0.0

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        nonlocal broken_at
        fleet.offer(limit * 1.1)
        await asyncio.sleep(5)
        segment.takes_s = 2.0
        await asyncio.sleep(SLOW_S)
        segment.takes_s, segment.status = 0.05, status
        await asyncio.sleep(DOWN_S)
        flow = await fleet.flow()
        assert "broken" == flow.state
        broken_at = (flow.broken_at or 0) / 1000 - EPOCH.timestamp()
        segment.status = 200
        await asyncio.sleep(20)
        assert ("active", 0) == ((await fleet.flow()).state, await fleet.ledger("dead"))

    segment = simulate(redis_url, script, workers=workers, rate=limit)
    trials = [one.at for one in segment.requests(broken_at, back)]
    gaps = [later - earlier for earlier, later in pairwise([broken_at, *trials])]
    assert sorted(gaps) == pytest.approx(gaps, abs=0.3)
    assert (True, True) == (min(gaps) > FIRST_TRIAL_S - 0.01, max(gaps) < LAST_TRIAL_S + 0.5), gaps
    assert 0.9 * limit <= segment.delivered(back + 10, back + 20) / 10 <= 1.1 * limit
    assert {200} == {one.status for one in segment.requests(back, back + 20)}


def test_reopening_is_gentle(redis_url: str) -> None:
    """After an outage the rate climbs from 100 events a second, whatever was saved up meanwhile."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append([2000] * 8)
        await asyncio.sleep(10)
        segment.status = 200
        await asyncio.sleep(20)

    segment = simulate(redis_url, script, workers=4, rate=10_000)
    first = next(one.at for one in segment.sent if one.status == 200)
    # The trial itself, one request that the ramp begins with, and 72 · (4^t - 1) events after t seconds.
    assert segment.delivered(first, first + 1) <= 2 * 2500 + 72 * 3
    assert 16_000 == segment.delivered(first, first + 20)


def test_flapping(redis_url: str) -> None:
    """A Segment that is up and down by turns of three seconds meets few requests while down, and events get on."""
    turns = 10

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        fleet.offer(500)
        for turn in range(2 * turns):
            segment.status = 503 if turn % 2 else 200
            await asyncio.sleep(3)
        assert 0 == await fleet.ledger("dead")

    segment = simulate(redis_url, script, workers=3, rate=1000)
    down = [segment.requests(6 * turn + 3, 6 * turn + 6) for turn in range(turns)]
    assert max(len(requests) for requests in down) <= 8 + 5 + 3
    assert segment.delivered(0, 60) >= 0.25 * 60 * 500


def test_a_bad_event_starves_nobody(redis_url: str) -> None:
    """Where little else is sent, an event that always fails opens the breaker; others take the trials, and it dies."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '"bad"'
        await fleet.append_one(0, "bad")
        late = 0
        for number in range(60):
            await asyncio.sleep(20)
            await fleet.append_one(1, f"good{number}")
            begun, before = asyncio.get_running_loop().time(), await fleet.ledger("delivered")
            while await fleet.ledger("delivered") == before:
                await asyncio.sleep(0.5)
            late += asyncio.get_running_loop().time() - begun > LAST_TRIAL_S + 1.5
        assert (1, 60, 0) == (await fleet.ledger("dead"), await fleet.ledger("delivered"), late)

    segment = simulate(redis_url, script, workers=2, rate=1000, partitions=2)
    assert len([one for one in segment.sent if one.status == 500]) >= 10


def test_a_bad_event_alone_blocks_no_partition_for_ever(redis_url: str) -> None:
    """Where nothing else is sent, an event that always fails keeps the breaker open, and dies of age all the same."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '"bad"'
        await fleet.append_one(0, "bad")
        await asyncio.sleep(1)
        await fleet.append_one(0, "good")
        await asyncio.sleep(300)
        assert (0, "broken") == (await fleet.ledger("dead"), (await fleet.flow()).state)
        await asyncio.sleep(400)
        assert (1, 1) == (await fleet.ledger("dead"), await fleet.ledger("delivered"))

    simulate(redis_url, script, workers=2, rate=1000, max_age_s=600, partitions=2)


def test_a_bad_event_dies_where_little_is_sent(redis_url: str) -> None:
    """Events that fail leave the trials to an hourly one that waits; its successes are witnesses against them."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refused = '"bad'
        for partition in range(2):
            await fleet.append_one(partition, f"bad{partition}")
        for number in range(8):
            await asyncio.sleep(3600)
            await fleet.append_one(2, f"good{number}")
            await asyncio.sleep(LAST_TRIAL_S + 1.5)
            assert number + 1 == await fleet.ledger("delivered")
        assert (2, 8) == (await fleet.ledger("dead"), await fleet.ledger("delivered"))

    simulate(redis_url, script, workers=3, rate=1000, partitions=3)


def test_what_fails_in_an_outage_is_not_held_against_the_event(redis_url: str) -> None:
    """An event that was the trial of a long outage, and fails once more when all else is well, is no poison."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.status = 503
        await fleet.append_one(0, "unlucky")
        await asyncio.sleep(300)
        segment.status, segment.refused = 200, '"unlucky"'
        await fleet.append_one(1, "good")
        while not any(one.status == 500 and segment.delivered(0, one.at) for one in segment.sent):
            await asyncio.sleep(0.5)
        segment.refused = ""
        await asyncio.sleep(120)
        assert (0, 2) == (await fleet.ledger("dead"), await fleet.ledger("delivered"))

    segment = simulate(redis_url, script, workers=2, rate=1000, partitions=2)
    assert len([one for one in segment.sent if one.status == 503]) > 30


def test_an_outage_kills_nobody_who_waits(redis_url: str) -> None:
    """Of an outage longer than `max_age` no more dies than one request, the one that tried again and again."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await fleet.append([20] * 8)
        await asyncio.sleep(2)
        segment.status = 503
        await fleet.append([20] * 8)
        await asyncio.sleep(900)
        segment.status = 200
        await asyncio.sleep(60)
        assert 0 == await fleet.ledger("dead")
        assert 320 == await fleet.ledger("delivered")

    simulate(redis_url, script, workers=4, rate=1000, max_age_s=600)


# -- limits of Segment's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_limit_of_half_of_ours(redis_url: str, workers: int) -> None:
    """Behind a limit of half of ours nearly all of it is used, and the limit is met seldom."""

    async def script(fleet: VirtualFleet, _: VirtualSegment) -> None:
        fleet.offer(700)
        await asyncio.sleep(130)
        assert 300 < ((await fleet.flow()).rate(1000) or 0) < 700

    segment = simulate(redis_url, script, VirtualSegment(limit=500), workers=workers, rate=1000)
    assert segment.delivered(10, 130) >= 0.85 * 500 * 120
    assert sum(one.status == 429 for one in segment.requests(10, 130)) <= 6


def test_limit_found_without_one_of_ours(redis_url: str) -> None:
    """A source without limit finds the rate that Segment takes from what it delivered."""

    async def script(fleet: VirtualFleet, _: VirtualSegment) -> None:
        fleet.offer(1500)
        await asyncio.sleep(100)

    segment = simulate(redis_url, script, VirtualSegment(limit=1000), workers=2, rate=0)
    assert segment.delivered(40, 100) >= 0.7 * 1000 * 60
    assert sum(one.status == 429 for one in segment.requests(40, 100)) <= 10


@pytest.mark.parametrize(("rate", "lasts_s"), [(5000, 8), (1000, 25), (0, 25)])
def test_an_episode_of_429s_is_one_cut(redis_url: str, rate: float, lasts_s: float) -> None:
    """When all was refused for a while and no longer is, a backlog is worked off as if one request had been."""
    backlog = 20_000

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        await fleet.append([100] * 8)
        await asyncio.sleep(2)
        segment.status = 429
        await fleet.append([backlog // 8] * 8)
        await asyncio.sleep(REFUSED_S)
        assert ((await fleet.flow()).rate(rate) or 0) >= 0.75 * (rate or 1000)
        segment.status = 200
        await asyncio.sleep(lasts_s)
        assert 0 == await fleet.ledger("queued")

    segment = simulate(redis_url, script, workers=2, rate=rate)
    assert backlog + 800 == segment.delivered(0, 60)
    assert 0 < len([one for one in segment.sent if one.status == 429]) <= 8 + REFUSED_S


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_an_episode_of_some_429s(redis_url: str, share: float) -> None:
    """When a share of the requests was refused for a while, what waits since is gone in about twice as long."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        segment.refuses = share
        for _ in range(int(REFUSED_S / TICK_S)):
            await fleet.append([5] * 8)
            await asyncio.sleep(TICK_S)
        segment.refuses = 0
        assert await fleet.ledger("queued") > 1000
        await asyncio.sleep(2 * REFUSED_S)
        assert 0 == await fleet.ledger("queued")

    segment = simulate(redis_url, script, workers=2, rate=1000)
    assert {200} == {one.status for one in segment.requests(REFUSED_S + 1, 60)}
    assert 3200 == segment.delivered(0, 60)


def test_limit_of_half_of_ours_after_an_episode(redis_url: str) -> None:
    """A limit that shows itself only after all was refused for a while is found and used all the same."""
    since = 2 + REFUSED_S + 10

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        fleet.offer(700)
        await asyncio.sleep(2)
        segment.status = 429
        await asyncio.sleep(REFUSED_S)
        segment.status, segment.limit = 200, 500
        await asyncio.sleep(130)

    segment = simulate(redis_url, script, workers=3, rate=1000)
    assert segment.delivered(since, since + 120) >= 0.85 * 500 * 120
    assert sum(one.status == 429 for one in segment.requests(since, since + 120)) <= 6


def test_pace_follows_a_decline(redis_url: str) -> None:
    """While Segment takes less and less, most of what it takes is used."""
    took = 0.0

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        nonlocal took
        fleet.offer(1000)
        for second in range(150):
            segment.limit = 900 - 4 * second
            took += segment.limit
            await asyncio.sleep(1)

    segment = simulate(redis_url, script, workers=3, rate=1000)
    assert segment.delivered(0, 150) >= 0.75 * took
    assert sum(one.status == 429 for one in segment.sent) <= 20


def test_pace_ends(redis_url: str) -> None:
    """When Segment's limit is gone, ours is reached again."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        fleet.offer(900)
        await asyncio.sleep(10)
        segment.limit = 0
        assert ((await fleet.flow()).rate(1000) or 0) < 1000
        await asyncio.sleep(120)
        assert 1000 == (await fleet.flow()).rate(1000)

    segment = simulate(redis_url, script, VirtualSegment(limit=400), workers=2, rate=1000)
    assert segment.delivered(110, 130) >= 0.9 * 900 * 20


def test_virtual_time_repeats_itself(redis_url: str, sync_redis: Any) -> None:
    """The same script gives the same requests at the same virtual times."""

    async def script(fleet: VirtualFleet, segment: VirtualSegment) -> None:
        fleet.offer(300)
        await asyncio.sleep(3)
        segment.status = 503
        await asyncio.sleep(5)

    runs = []
    for _ in range(2):
        sync_redis.flushall()
        runs.append(simulate(redis_url, script, workers=3, rate=200).sent)
    assert runs[0] == runs[1]
    assert 503 in {one.status for one in runs[0]}
