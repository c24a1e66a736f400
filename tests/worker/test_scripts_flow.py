"""The gate, and what shuts it, straight against the server."""

import asyncio
import math
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from pombo.shared.connection import connect
from pombo.shared.flow import read_flow
from pombo.shared.scripts import script
from pombo.worker.limit import Closed
from pombo.worker.parts import Part
from pombo.worker.store import SourceStore, new_token
from support.stopped import StoppedRedis
from support.stored import StoredSource, whole
from support.virtual import run_virtually
from support.virtualfleet import VirtualFleet, VirtualSegment
from support.virtualscript import EPOCH

HOUR_MS = 3_600_000
PROBE_MS = 300_000


@pytest.fixture
async def redis(redis: Redis) -> Redis:
    """An empty server whose clock stands still."""
    return await StoppedRedis.of(redis)


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return await StoredSource(redis).set_up()


def near(value: float, by: float) -> Any:
    """A number that is met within a distance."""
    return pytest.approx(value, abs=by)


async def flow(stored: StoredSource, **fields: Any) -> None:
    """Set fields of the flow hash by hand; None takes one away."""
    for name, value in fields.items():
        if value is None:
            await stored.redis.hdel(stored.of.flow, name)
        else:
            await stored.redis.hset(stored.of.flow, name, value)


def limited(stored: StoredSource, rate: float, burst: float) -> SourceStore:
    """A store of the source under a rate limit."""
    return stored.store(stored.source.model_copy(update={"rate": rate, "burst": burst}))


async def bucket(stored: StoredSource, tokens: float, ago_ms: int = 0) -> None:
    """Set the token bucket by hand, as it was some time ago."""
    await stored.redis.hset(stored.of.rate, mapping={"tokens": tokens, "at": await stored.now_ms() - ago_ms})


async def tokens(stored: StoredSource) -> float:
    return float(await stored.redis.hget(stored.of.rate, "tokens") or "nan")


async def try_claim(stored: StoredSource, store: SourceStore, partition: int = 0) -> tuple[Part, Closed | None, bool]:
    part = await stored.part(store, partition)
    claim = await store.claim([part])
    return part, claim.closed, claim.probe


# -- what shuts the gate -------------------------------------------------------------------------------------

SHUT: dict[str, dict[str, Any]] = {
    "parked": {"parked": "why", "probe_at": 1 << 50},
    "paused": {"paused": "1"},
    "held": {"hold_until": 1 << 50},
    "broken": {"broken_at": "1", "broken_probe_at": 1 << 50},
}


@pytest.mark.parametrize("reason", SHUT)
async def test_shut_gate_lets_nothing_out(stored: StoredSource, reason: str) -> None:
    """Neither a claim nor another attempt passes; all that changes is the note that nothing is on the wire."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    (flying,) = await stored.claimed(store, 1)
    await flow(stored, **SHUT[reason])
    before = await stored.dump()
    part, closed, _ = await try_claim(stored, store)
    assert (reason, []) == (closed.reason if closed else "", part.todo)
    attempt = await store.attempt(whole(flying))
    assert (False, reason) == (attempt.go, attempt.closed.reason if attempt.closed else "")
    before[stored.of.record(1)]["sent_at"] = b"0"
    assert before == await stored.dump()


async def test_rate_shuts_the_gate(stored: StoredSource) -> None:
    """Without tokens nothing passes, and the answer says when there will be enough."""
    await stored.append(0, ["a"])
    store = limited(stored, 10, 5)
    await bucket(stored, -4)
    _, closed, _ = await try_claim(stored, store)
    assert ("rate", 0.5) == (
        closed.reason if closed else "",
        closed.wait_s if closed else 0,
    )


async def test_reasons_have_their_order(stored: StoredSource) -> None:
    """A park is told before a pause, a pause before a hold, a hold before the breaker, and that before the rate."""
    await stored.append(0, ["a"])
    store = limited(stored, 10, 5)
    await bucket(stored, -1e6)
    for fields in SHUT.values():
        await flow(stored, **fields)
    found = []
    for fields in [*SHUT.values(), {}]:
        _, closed, _ = await try_claim(stored, store)
        found.append(closed.reason if closed else "")
        await flow(stored, **dict.fromkeys(fields))
    assert ["parked", "paused", "held", "broken", "rate"] == found


@pytest.mark.parametrize(("fields", "opens"), [(("parked", "probe_at"), "probe_at"), (("hold_until",), "hold_until")])
async def test_shut_gate_says_when_it_opens(stored: StoredSource, fields: tuple[str, ...], opens: str) -> None:
    """The wait is what is left of a hold, or until the next probe of a park."""
    await stored.append(0, ["a"])
    until = await stored.now_ms() + 2000
    await flow(stored, **{name: "why" if name == "parked" else until for name in fields})
    _, closed, _ = await try_claim(stored, stored.store())
    assert 2.0 == (closed.wait_s if closed else 0)
    assert b"%d" % until == await stored.redis.hget(stored.of.flow, opens)


# -- holds ---------------------------------------------------------------------------------------------------


async def test_holds_are_merged_by_maximum(stored: StoredSource) -> None:
    """A longer hold replaces a shorter one, never the other way round."""
    store = stored.store()
    found = []
    for seconds in (10.0, 100.0, 5.0, 0.0):
        before = await stored.now_ms()
        await store.hold(seconds)
        until = int(await stored.redis.hget(stored.of.flow, "hold_until") or 0)
        found.append(round((until - before) / 10_000) * 10)
    assert [10, 100, 100, 100] == found


async def test_hold_is_capped_at_an_hour(stored: StoredSource) -> None:
    """However long Segment asks to wait, an hour later the source tries again."""
    store = stored.store()
    for seconds in (3600.0, 7200.0, 1e9):
        before = await stored.now_ms()
        await store.hold(seconds)
        until = int(await stored.redis.hget(stored.of.flow, "hold_until") or 0)
        assert abs(until - before - HOUR_MS) < 5000


async def test_hold_wakes_the_fleet(stored: StoredSource) -> None:
    """All workers hear of a new hold, and nobody of one that changed nothing."""
    store = stored.store()
    async with stored.redis.pubsub() as listener:
        await listener.subscribe(stored.keys.wake)
        await listener.get_message(timeout=1)
        await store.hold(100)
        heard = await listener.get_message(timeout=1)
        await store.hold(10)
        assert None is await listener.get_message(timeout=0.05)
    assert b"bot" == (heard or {})["data"]


async def test_hold_that_is_over_opens_with_a_ramp(stored: StoredSource) -> None:
    """Right after a hold the rate starts low and doubles every half second, also without any limit."""
    await stored.append(0, [f"m{n}" for n in range(100)])
    await stored.append(1, [f"n{n}" for n in range(100)])
    store = stored.store()
    now = await stored.now_ms()
    await flow(stored, hold_until=now - 1)
    await bucket(stored, 1)
    await stored.claimed(store, 0)
    debt = await tokens(stored)
    assert -100 < debt < -95
    _, closed, _ = await try_claim(stored, store, 1)
    assert ("rate", True) == (closed.reason if closed else "", (closed.wait_s if closed else 0) > 0.5)
    # Three seconds into the ramp the rate is 6,400 events a second.
    now = await stored.now_ms()
    await flow(stored, hold_until=now - 3000)
    await bucket(stored, -100, ago_ms=20)
    _, closed, _ = await try_claim(stored, store, 1)
    assert None is closed


AT_EVERY_MOMENT = """
local flow, rate, now, shut = KEYS[1], KEYS[2], 1700000000000, {}
for since = 0, RAMP_MS - 1 do
  redis.call('HSET', flow, 'hold_until', stamp(now - since))
  redis.call('HSET', rate, 'tokens', 1, 'at', stamp(now))
  if not gate(flow, rate, 0, 0, 1, now).open then
    shut[#shut + 1] = since
  end
end
return shut
"""


async def test_a_whole_token_opens_the_gate_at_every_moment_of_a_ramp(stored: StoredSource) -> None:
    """Sums of the ramp's integral lose a bit at some moments; a request that has its token never waits for that bit."""
    text = script("weather").text + script("gate").text + AT_EVERY_MOMENT
    redis: Any = stored.redis
    assert [] == await redis.execute_command("EVAL", text, 2, stored.of.flow, stored.of.rate)


async def test_ramp_ends_after_five_seconds(stored: StoredSource) -> None:
    """Five seconds after a hold the usual limit applies, or none."""
    await stored.append(0, ["a"])
    store = stored.store()
    await flow(stored, hold_until=await stored.now_ms() - 5000)
    await bucket(stored, -1e9)
    _, closed, _ = await try_claim(stored, store)
    assert None is closed


async def test_ramp_never_exceeds_the_limit(stored: StoredSource) -> None:
    """A source with a limit below the ramp keeps to its limit after a hold."""
    await stored.append(0, ["a"])
    store = limited(stored, 10, 10)
    await flow(stored, hold_until=await stored.now_ms() - 100)
    await bucket(stored, -9)
    _, closed, _ = await try_claim(stored, store)
    assert ("rate", 1.0) == (
        closed.reason if closed else "",
        closed.wait_s if closed else 0,
    )


async def test_hold_spends_saved_up_tokens(stored: StoredSource) -> None:
    """A full bucket does not become a burst at the reopening."""
    store = limited(stored, 1000, 1000)
    await bucket(stored, 1000)
    await store.hold(0.5)
    until = int(await stored.redis.hget(stored.of.flow, "hold_until") or 0)
    assert (1, b"%d" % until) == (await tokens(stored), await stored.redis.hget(stored.of.rate, "at"))


@pytest.mark.parametrize("debt", [-80, -0.5, 0])
def test_hold_keeps_a_debt(redis_url: str, debt: float) -> None:
    """A debt neither is forgiven by a hold nor becomes a burst while it lasts: it is paid off after it."""

    async def main(redis: BlockingRedis) -> None:
        async with VirtualFleet(redis, VirtualSegment(), partitions=1) as fleet:
            (lane,) = fleet.lanes
            lane.stop()
            await fleet.append([100])
            await asyncio.sleep(60)
            ago = f"{(EPOCH.timestamp() + asyncio.get_running_loop().time() - 60) * 1000:.0f}"
            redis.hset(fleet.of.rate, mapping={"tokens": debt, "at": ago})
            await lane.store.hold(0)
            assert debt == float(redis.hget(fleet.of.rate, "tokens") or "nan")
            ((raw,),) = await lane.store.read([(0, "", 1)])
            part = Part(0, lane.holdings[0].lease, "record", [raw.decode()])
            closed = (await lane.store.claim([part])).closed
            # The ramp begins with 100 events a second and doubles every half second: 72 · (4^t - 1) of them after t
            # seconds. One token is enough to begin with.
            wait = math.log(1 + (1 - debt) / 72.13, 4)
            assert ("rate", near(wait, 0.006)) == (closed.reason if closed else "", closed.wait_s if closed else 0)
            await lane.store.hold(60)
            assert debt == float(redis.hget(fleet.of.rate, "tokens") or "nan")
            assert redis.hget(fleet.of.flow, "hold_until") == redis.hget(fleet.of.rate, "at")

    with connect(redis_url) as redis:
        run_virtually(main(redis))


# -- parks and probes ----------------------------------------------------------------------------------------


async def test_first_park_counts(stored: StoredSource) -> None:
    """A source is parked once: the first reason and the first time stay, and only that call says so."""
    store = stored.store()
    assert await store.park("first", 0)
    before = await stored.dump()
    assert not await store.park("second", 0)
    assert 0 == await stored.repeat()
    assert before == await stored.dump()
    found = await stored.redis.hmget(stored.of.flow, ["parked", "parked_at", "probe_at"])
    assert (b"first", PROBE_MS) == (found[0], int(found[2] or 0) - int(found[1] or 0))


async def test_one_probe_passes_every_five_minutes(stored: StoredSource) -> None:
    """When the time has come one request passes as the probe; all others wait for its outcome."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    await flow(stored, parked="why", probe_at=await stored.now_ms() - 1)
    _, closed, probe = await try_claim(stored, store)
    assert (None, True) == (closed, probe)
    assert PROBE_MS == int(await stored.redis.hget(stored.of.flow, "probe_at") or 0) - await stored.now_ms()
    _, closed, _ = await try_claim(stored, store, 1)
    assert "parked" == (closed.reason if closed else "")


async def test_attempt_may_be_the_probe(stored: StoredSource) -> None:
    """Events in flight are as good a probe as new ones."""
    await stored.append(0, ["a"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    await store.park("why", 0)
    assert not (await store.attempt(whole(part))).go
    await flow(stored, probe_at=await stored.now_ms() - 1)
    first, second = await store.attempt(whole(part)), await store.attempt(whole(part))
    assert ((True, True), False) == ((first.go, first.probe), second.go)


async def test_probe_keeps_to_pause_and_hold(stored: StoredSource) -> None:
    """A probe that is due waits for the end of a pause or hold, and is not used up by it."""
    await stored.append(0, ["a"])
    store = stored.store()
    due = await stored.now_ms() - 1
    for fields, reason in (({"paused": "1"}, "paused"), ({"hold_until": 1 << 50}, "held")):
        await flow(stored, parked="why", probe_at=due, **fields)
        _, closed, _ = await try_claim(stored, store)
        assert reason == (closed.reason if closed else "")
        assert b"%d" % due == await stored.redis.hget(stored.of.flow, "probe_at")
        await flow(stored, **dict.fromkeys(fields))


async def test_duplicates_use_up_no_probe(stored: StoredSource) -> None:
    """A claim that leaves nothing to send is no probe."""
    store = stored.store()
    await stored.append(0, ["a"])
    await store.settle(whole(*await stored.claimed(store, 0)), ())
    await stored.append(0, ["a"])
    due = await stored.now_ms() - 1
    await flow(stored, parked="why", probe_at=due)
    await try_claim(stored, store)
    assert b"%d" % due == await stored.redis.hget(stored.of.flow, "probe_at")


# -- tokens --------------------------------------------------------------------------------------------------


async def test_tokens_are_what_is_sent(stored: StoredSource) -> None:
    """A claim costs a token for each event that is sent, none for duplicates; an attempt costs its events."""
    await stored.append(0, ["a", "b", "a", "c"])
    store = limited(stored, 0.001, 100)
    (part,) = await stored.claimed(store, 0)
    assert 97 == await tokens(stored)
    await store.attempt(whole(part))
    assert 94 == await tokens(stored)


async def test_tokens_come_back_with_time(stored: StoredSource) -> None:
    """Tokens grow by the rate, up to the burst; not when the clock stands a little behind, and anew when far behind."""
    await stored.append(0, [f"m{n}" for n in range(50)])
    store = limited(stored, 100, 60)
    for before, ago_ms, after in ((-10, 650, 5), (50, 10_000, 10), (55, -900, 5), (-10, -HOUR_MS, 10)):
        await bucket(stored, before, ago_ms)
        (part,) = await stored.claimed(store, 0)
        assert after == await tokens(stored)
        await store.settle(whole(part), ())
        await stored.append(0, [f"{before}-{n}" for n in range(50)])


async def test_batch_over_the_burst_becomes_a_debt(stored: StoredSource) -> None:
    """More events than a burst pass together once the bucket is full, and are paid off after it."""
    await stored.append(0, [f"m{n}" for n in range(100)])
    await stored.append(1, ["x"])
    store = limited(stored, 10, 20)
    await bucket(stored, 20)
    await stored.claimed(store, 0)
    assert -80 == await tokens(stored)
    _, closed, _ = await try_claim(stored, store, 1)
    assert ("rate", 8.1) == (
        closed.reason if closed else "",
        closed.wait_s if closed else 0,
    )
    await bucket(stored, -80, ago_ms=8_200)
    _, closed, _ = await try_claim(stored, store, 1)
    assert None is closed


async def test_bucket_outlives_its_debt(stored: StoredSource) -> None:
    """A debt that takes long to pay off is not forgotten with its key, through holds neither."""
    await stored.append(0, [f"m{n}" for n in range(100)])
    store = limited(stored, 0.001, 20)
    await bucket(stored, 20)
    await stored.claimed(store, 0)
    left_s = await stored.redis.ttl(stored.of.rate)
    assert left_s > 80_000
    for seconds in (1800, 3600, 3600):
        await store.hold(seconds)
    assert await stored.redis.ttl(stored.of.rate) > left_s + 3500
    # Nor does a hold shorten what a small debt has.
    await stored.redis.delete(stored.of.rate, stored.of.flow)
    await store.hold(60)
    assert await stored.redis.ttl(stored.of.rate) > 7000


async def test_refused_claim_costs_nothing(stored: StoredSource) -> None:
    """A claim that finds its lease lost or its stream moved leaves the tokens alone."""
    await stored.append(0, ["a"])
    store = limited(stored, 10, 10)
    part = await stored.part(store, 0, lease="w9:x")
    await store.memory.live(store.source.window_s)
    before = await stored.dump()
    await store.claim([part])
    assert before == await stored.dump()


async def test_no_rate_needs_no_tokens(stored: StoredSource) -> None:
    """A source without limit keeps no bucket."""
    await stored.append(0, ["a"])
    await stored.claimed(stored.store(), 0)
    assert not await stored.redis.exists(stored.of.rate)


# -- attempts ------------------------------------------------------------------------------------------------


async def test_attempt_is_noted_in_the_record(stored: StoredSource) -> None:
    """Each send is counted where the next owner finds it, with when the trouble began."""
    await stored.append(0, ["a"])
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    part.unknown_since, part.failing_since = 1_700_000_000_123, 1_700_000_000_456
    attempt = await store.attempt(whole(part))
    assert (True, False, 0, 2) == (attempt.go, attempt.probe, attempt.witness, part.attempts)
    found = await stored.redis.hmget(stored.of.record(0), ["attempts", "unknown_since", "failing_since"])
    assert [b"2", b"1700000000123", b"1700000000456"] == found
    await stored.assert_balanced()


async def test_attempt_tells_when_the_last_success_was_sent(stored: StoredSource) -> None:
    """Whether others of the source succeed is known to all of its workers: by when it was sent, not by the answer."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    assert 0 == (await store.attempt(whole(first))).witness
    await stored.store().settle(whole(second), (), sent_at=1_700_000_000_123)
    assert 1_700_000_000_123 == (await store.attempt(whole(first))).witness


async def test_attempt_notes_a_shut_gate_for_all_that_waits(stored: StoredSource) -> None:
    """The records of parts that wait beside say as well that nothing of them is on the wire; no send is counted."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    second.failing_since = 1_700_000_000_123
    assert (await store.attempt(whole(first), [second])).go
    assert ["2", "1"] == [(await stored.record(partition))["attempts"] for partition in (0, 1)]
    assert "0" != (await stored.record(1))["sent_at"]
    await stored.redis.hset(stored.of.flow, mapping={"broken_at": 1, "broken_probe_at": await stored.now_ms() + 60_000})
    assert not (await store.attempt(whole(first), [second])).go
    found = [await stored.record(partition) for partition in (0, 1)]
    assert [("0", "2", "0"), ("0", "1", "1700000000123")] == [
        (record["sent_at"], record["attempts"], record["failing_since"]) for record in found
    ]
    await stored.redis.set(stored.of.lease(1), "w2:x")
    assert [second] == (await store.attempt(whole(first), [second])).lost


@pytest.mark.parametrize("loss", ["lease", "record"])
async def test_attempt_with_a_lost_part_changes_nothing(stored: StoredSource, loss: str) -> None:
    """If any part of a request is no longer ours, nothing is noted, and the lost ones are named."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    first, second = await stored.claimed(store, 0, 1)
    if loss == "lease":
        await stored.redis.set(stored.of.lease(1), "w2:x")
    else:
        await stored.redis.hset(stored.of.record(1), "id", "other")
    before = await stored.dump()
    attempt = await store.attempt(whole(first, second))
    assert (False, None, [second]) == (attempt.go, attempt.closed, list(attempt.lost))
    assert before == await stored.dump()


# -- rate groups ---------------------------------------------------------------------------------------------


async def take(redis: Redis, rate: float, burst: float, events: int) -> list[int]:
    reply: list[int] = await script("take").acall(redis, ["rate"], [rate, burst, events, new_token()])
    return reply


async def test_group_tokens_are_shared(redis: Redis) -> None:
    """A group's bucket starts full, is taken from by all, and says how long to wait."""
    assert [1, 0] == await take(redis, 10, 100, 60)
    assert [1, 0] == await take(redis, 10, 100, 40)
    taken, wait_ms = await take(redis, 10, 100, 20)
    assert (0, 2000) == (taken, wait_ms)
    assert 0 == float(await redis.hget("rate", "tokens") or "nan")


async def test_group_debt_is_paid_off(redis: Redis) -> None:
    """A batch over the burst passes on a full bucket, and the next one waits for its debt."""
    assert [1, 0] == await take(redis, 10, 100, 300)
    taken, wait_ms = await take(redis, 10, 100, 1)
    assert (0, 20_100) == (taken, wait_ms)


async def test_group_bucket_outlives_its_debt(redis: Redis) -> None:
    """A group's debt is not forgotten with its key."""
    await take(redis, 0.001, 10, 90)
    assert await redis.ttl("rate") > 80_000


async def test_unused_group_tokens_go_back(redis: Redis) -> None:
    """What was taken for duplicates is given back, and never makes more than a burst."""
    await take(redis, 0.001, 100, 80)
    assert [1, 0] == await take(redis, 0.001, 100, -50)
    assert 70 == float(await redis.hget("rate", "tokens") or "nan")
    await take(redis, 0.001, 100, -50)
    assert 100 == float(await redis.hget("rate", "tokens") or "nan")


async def test_group_debt_takes_unused_tokens_back(redis: Redis) -> None:
    """A refund is taken also while the bucket is in debt."""
    await take(redis, 0.001, 10, 50)
    assert [1, 0] == await take(redis, 0.001, 10, -20)
    assert -20 == float(await redis.hget("rate", "tokens") or "nan")


async def test_group_limits_its_sources(stored: StoredSource) -> None:
    """A source of a group pays the group for what it sends and sends again, and nobody for duplicates."""
    source = stored.source.model_copy(update={"rate": 0.001, "burst": 10, "rate_group": "g"})
    store = stored.store(source)
    key = stored.keys.group_rate("g")
    await stored.append(0, ["a", "a", "b", "c"])
    (part,) = await stored.claimed(store, 0)
    assert 7 == float(await stored.redis.hget(key, "tokens") or "nan")
    await store.attempt(whole(part))
    assert 4 == float(await stored.redis.hget(key, "tokens") or "nan")
    await stored.append(1, [f"m{n}" for n in range(5)])
    _, closed, _ = await try_claim(stored, store, 1)
    assert "rate" == (closed.reason if closed else "")
    assert not await stored.redis.exists(stored.of.rate)


async def test_shut_gate_costs_the_group_nothing(stored: StoredSource) -> None:
    """Tokens taken for a request that may not go are given back."""
    source = stored.source.model_copy(update={"rate": 0.001, "burst": 10, "rate_group": "g"})
    store = stored.store(source)
    await stored.append(0, ["a", "b"])
    await stored.append(1, ["c", "d"])
    (part,) = await stored.claimed(store, 0)
    await flow(stored, paused="1")
    await store.attempt(whole(part))
    await try_claim(stored, store, 1)
    await flow(stored, paused=None)
    await stored.redis.set(stored.of.lease(0), "w2:x")
    await store.attempt(whole(part))
    found = await stored.redis.hget(stored.keys.group_rate("g"), "tokens")
    assert 8 == float(found or "nan")


async def test_a_group_whose_clock_went_back_begins_anew(redis: Redis) -> None:
    """What was filled an hour from now is taken for a full bucket, not waited for."""
    seconds, _ = await redis.time()
    await redis.hset("rate", mapping={"tokens": -50, "at": int(seconds) * 1000 + HOUR_MS})
    assert [1, 0] == await take(redis, 10, 20, 5)
    assert 15 == float(await redis.hget("rate", "tokens") or "nan")


async def hour_ahead(stored: StoredSource, *names: str) -> None:
    """Move times of the flow hash an hour into the future, where Redis' clock leaves them when it goes back."""
    for name in names:
        await stored.redis.hincrby(stored.of.flow, name, HOUR_MS)


async def test_a_hold_ends_when_the_clock_goes_back(stored: StoredSource) -> None:
    """Nobody waits an hour for a hold of seconds; the next answer that asks for patience holds the source again."""
    await stored.append(0, ["a"])
    store = stored.store()
    await store.hold(30, excess_at=await stored.now_ms())
    await hour_ahead(stored, "held_at", "hold_until", "pace_at")
    assert "active" == (await read_flow(stored.redis, stored.of)).state
    assert None is (await try_claim(stored, store))[1]
    await store.hold(30)
    assert 30_000 == ((await read_flow(stored.redis, stored.of)).hold_until or 0) - await stored.now_ms()


async def test_a_pace_is_forgotten_when_the_clock_goes_back(stored: StoredSource) -> None:
    """A source that was slowed down is not slow for an hour, and a 429 slows it down again."""
    store = limited(stored, 1000, 1000)
    await store.hold(0.1, excess_at=await stored.now_ms())
    await hour_ahead(stored, "held_at", "hold_until", "pace_at")
    await stored.append(0, ["a"])
    await try_claim(stored, store)
    assert 0 == store.pace
    await store.hold(0.1, excess_at=await stored.now_ms())
    assert 950 == (await read_flow(stored.redis, stored.of)).pace_max


async def test_failures_count_when_the_clock_goes_back(stored: StoredSource) -> None:
    """A breaker that closed in the future does not keep an outage from opening it."""
    store = stored.store()
    for _ in range(5):
        await store.fail(await stored.now_ms(), "status 503", late=False)
    await store.alive(await stored.now_ms())
    await hour_ahead(stored, "closed_at")
    told = [await store.fail(await stored.now_ms(), "status 503", late=False) for _ in range(5)]
    assert told[-1].broken
