"""The breaker and the pace, straight against the server."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from pombo.shared.clock import SystemClock
from pombo.shared.flow import PACE_ENDS, PACE_MS, pace, read_flow, resume
from pombo.shared.scripts import Argument
from pombo.worker.limit import Limit
from pombo.worker.store import SourceStore
from support.stored import RecordingLink, StoredSource, letter, whole

AIM = 0.95
LEAST_MEASURED = 1000
"""Of a rate that was too much (`weather.lua`)."""
HOUR_MS = 3_600_000


@pytest.fixture
async def stored(redis: Redis) -> StoredSource:
    return await StoredSource(redis).set_up()


async def fail(stored: StoredSource, times: int = 1, *, late: bool = False) -> list[bool]:
    """Report failures of requests just sent; whether the breaker was open after each."""
    store = stored.store()
    return [(await store.fail(await stored.now_ms() + 1, "status 503", late=late)).broken for _ in range(times)]


async def refused(stored: StoredSource) -> str:
    """Why a claim of partition 0 is turned away; empty when it is not."""
    store = stored.store()
    claim = await store.claim([await stored.part(store)])
    return claim.closed.reason if claim.closed else ""


async def field(stored: StoredSource, name: str) -> float:
    return float(await stored.redis.hget(stored.of.flow, name) or "nan")


# -- the breaker -----------------------------------------------------------------------------------------------


async def test_five_failures_in_a_row_open_it(stored: StoredSource) -> None:
    """Four failures change nothing, the fifth stops the fleet, and says so once."""
    await stored.append(0, ["a"])
    assert [False] * 4 == await fail(stored, 4)
    assert "active" == (await read_flow(stored.redis, stored.of)).state
    assert [True, True] == await fail(stored, 2)
    flow = await read_flow(stored.redis, stored.of)
    assert ("broken", "broken") == (flow.state, await refused(stored))
    assert "status 503" in (flow.reason or "")


async def test_a_trial_says_what_is_wrong_now(stored: StoredSource) -> None:
    """While it is open, the reason is that of the latest trial, not of a request sent before it opened."""
    store = stored.store()
    sent_at = await stored.now_ms() - 1
    await fail(stored, 5)
    await store.fail(sent_at, "ReadError", late=False)
    assert "status 503" in ((await read_flow(stored.redis, stored.of)).reason or "")
    await store.fail(await stored.now_ms() + 1, "certificate has expired", late=False)
    assert "certificate has expired" in ((await read_flow(stored.redis, stored.of)).reason or "")


async def test_opening_is_told_once(stored: StoredSource) -> None:
    """Only the report that opened the breaker is told so."""
    store = stored.store()
    sent_at = await stored.now_ms() + 1
    reports = [await store.fail(sent_at, "why", late=False) for _ in range(7)]
    assert [False] * 4 + [True] + [False] * 2 == [report.opened for report in reports]


async def accept(stored: StoredSource) -> None:
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    await store.settle(whole(part), ())


async def bury(stored: StoredSource) -> None:
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    await store.settle(None, [letter(part, 0)])


async def refuse(stored: StoredSource) -> None:
    await stored.store().alive(await stored.now_ms() + 1)


async def limit(stored: StoredSource) -> None:
    await stored.store().hold(0.001, excess_at=await stored.now_ms() + 1)


async def park(stored: StoredSource) -> None:
    await stored.store().park("status 404", 0)


Sign = Callable[[StoredSource], Awaitable[None]]


@pytest.mark.parametrize("sign", [accept, refuse, limit, park])
async def test_a_sign_of_life_ends_the_row(stored: StoredSource, sign: Sign) -> None:
    """Failures count only without an answer between that shows Segment alive."""
    await stored.append(1, ["a"])
    await fail(stored, 4)
    await sign(stored)
    assert [False] * 4 == await fail(stored, 4)


async def test_a_death_is_no_sign_of_life(stored: StoredSource) -> None:
    """Giving an event up says nothing about Segment."""
    await stored.append(1, ["a"])
    await fail(stored, 4)
    await bury(stored)
    assert [True] == await fail(stored)


@pytest.mark.parametrize("sign", [accept, refuse, limit, park])
async def test_a_sign_of_life_closes_it(stored: StoredSource, sign: Sign) -> None:
    """Whatever answers lives: the breaker closes, and all workers hear of it."""
    await stored.append(1, ["a"])
    await fail(stored, 5)
    await stored.redis.hset(stored.of.flow, "broken_probe_at", 0)
    async with stored.redis.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(stored.keys.wake)
        await channel.get_message(timeout=1)
        await sign(stored)
        heard = await channel.get_message(timeout=5)
    assert b"bot" == (heard or {})["data"]
    flow = await read_flow(stored.redis, stored.of)
    assert (None, None) == (flow.broken_at, flow.broken_why)
    assert flow.now == await field(stored, "closed_at")


@pytest.mark.parametrize("broken_s", [0.5, 20, 40, 3600])
async def test_one_request_an_interval(stored: StoredSource, broken_s: float) -> None:
    """When a trial is due one request passes; after it the next is due in a tenth of the outage, 1 s to 5 s."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    await fail(stored, 5)
    now = await stored.now_ms()
    await stored.redis.hset(stored.of.flow, mapping={"broken_at": now - int(broken_s * 1000), "broken_probe_at": now})
    attempt = await store.attempt(whole(part))
    assert (True, False) == (attempt.go, attempt.probe)
    await store.fail(await stored.now_ms(), "status 503", late=False)
    due = await field(stored, "broken_probe_at") - now
    assert min(5000, max(1000, broken_s * 100)) == due
    assert "broken" == await refused(stored)


async def test_a_trial_without_an_answer_holds_back_the_next(stored: StoredSource) -> None:
    """While a trial is under way the next is due after 5 s, so that few hang at once; who waits asks before that."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    await fail(stored, 5)
    now = await stored.now_ms()
    await stored.redis.hset(stored.of.flow, mapping={"broken_at": now - 500, "broken_probe_at": now})
    assert (await store.attempt(whole(part))).go
    assert 5000 == await field(stored, "broken_probe_at") - now
    waiting = await store.attempt(whole(part))
    assert ("broken", 1.0) == (waiting.closed.reason, waiting.closed.wait_s) if waiting.closed else waiting
    await store.fail(now - 1000, "ReadTimeout", late=True)
    assert 5000 == await field(stored, "broken_probe_at") - now


async def test_what_was_sent_before_it_closed_does_not_count(stored: StoredSource) -> None:
    """Requests of an outage that fail late do not open the breaker again."""
    before = await stored.now_ms()
    await fail(stored, 5)
    await stored.store().alive(await stored.now_ms() + 1)
    store = stored.store()
    reports = [await store.fail(before, "late", late=True) for _ in range(6)]
    assert {False} == {report.broken for report in reports}
    assert None is await stored.redis.hget(stored.of.flow, "pace_max")


async def test_late_answers_do_not_close_it(stored: StoredSource) -> None:
    """What was sent before the breaker opened, and succeeds after it, says nothing about the time since."""
    await stored.append(1, ["a"])
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    before = await stored.now_ms() - 1
    await fail(stored, 5)
    await store.settle(whole(part), (), sent_at=before)
    await store.hold(0.001, excess_at=before)
    assert not await store.alive(before)
    assert (await read_flow(stored.redis, stored.of)).broken_at is not None


async def test_a_clock_that_goes_back_leaves_nobody_shut(stored: StoredSource) -> None:
    """When Redis' clock goes back behind an open breaker, a trial is due at once, and its success closes it."""
    await stored.append(0, ["a"])
    await stored.append(1, ["b"])
    store = stored.store()
    (part,) = await stored.claimed(store, 1)
    await fail(stored, 5)
    ahead = await stored.now_ms() + HOUR_MS
    await stored.redis.hset(stored.of.flow, mapping={"broken_at": ahead, "broken_probe_at": ahead + 1000})
    assert (await store.attempt(whole(part))).go
    assert "broken" == await refused(stored)
    await store.settle(whole(part), (), sent_at=await stored.now_ms())
    assert None is (await read_flow(stored.redis, stored.of)).broken_at


async def test_a_trial_that_succeeds_closes_it_whatever_the_clock(stored: StoredSource) -> None:
    """An opening in the future is no reason to take a success for an old one."""
    await fail(stored, 5)
    await stored.redis.hset(stored.of.flow, "broken_at", await stored.now_ms() + HOUR_MS)
    assert await stored.store().alive(await stored.now_ms())


async def test_it_reopens_with_a_ramp(stored: StoredSource) -> None:
    """What was saved up, or forgotten, during an outage is no burst at its end."""
    await stored.append(0, [f"m{n}" for n in range(100)])
    await stored.append(1, [f"n{n}" for n in range(100)])
    await fail(stored, 5)
    await stored.store().alive(await stored.now_ms() + 1)
    store = stored.store()
    (part,) = await stored.claimed(store, 0)
    assert -100 < float(await stored.redis.hget(stored.of.rate, "tokens") or "nan") < -80
    claim = await store.claim([await stored.part(store, 1)])
    assert "rate" == (claim.closed.reason if claim.closed else "")
    assert 100 == len(part.todo)


async def test_an_operator_ends_it(stored: StoredSource) -> None:
    """`resume` closes the breaker, and says whether it was open."""
    await fail(stored, 5)
    assert [True, False] == [await resume(stored.redis, stored.keys, "bot") for _ in range(2)]
    assert "active" == (await read_flow(stored.redis, stored.of)).state


async def test_park_pause_and_hold_come_first(stored: StoredSource) -> None:
    """A trial that is due waits for the end of all of them, and is not used up."""
    await stored.append(0, ["a"])
    await fail(stored, 5)
    await stored.redis.hset(stored.of.flow, "broken_probe_at", 1)
    found = []
    shut: list[Any] = [{"parked": "why", "probe_at": 1 << 50}, {"paused": "1"}, {"hold_until": 1 << 50}]
    for fields in shut:
        await stored.redis.hset(stored.of.flow, mapping=fields)
        found.append(await refused(stored))
        await stored.redis.hdel(stored.of.flow, *fields)
    assert ["parked", "paused", "held"] == found
    assert 1 == await field(stored, "broken_probe_at")


# -- the pace --------------------------------------------------------------------------------------------------


def limited(stored: StoredSource, rate: float) -> SourceStore:
    return stored.store(stored.source.model_copy(update={"rate": rate}))


async def exceed(stored: StoredSource, rate: float, *, sent_at: int | None = None) -> float:
    """A 429; returns the rate that the source then takes for Segment's."""
    await limited(stored, rate).hold(0.001, excess_at=sent_at or await stored.now_ms() + 60_000)
    return await field(stored, "pace_max")


async def test_one_cut_for_all_that_was_sent_before(stored: StoredSource) -> None:
    """Requests sent before a cut tell nothing new; one sent after it does, if others were accepted since."""
    assert AIM * 1000 == pytest.approx(await exceed(stored, 1000))
    before = int(await field(stored, "pace_at")) - 1
    assert AIM * 1000 == pytest.approx(await exceed(stored, 1000, sent_at=before))
    await stored.redis.hdel(stored.of.flow, "hold_until")
    await stored.redis.hset(stored.of.flow, "last_success", await field(stored, "pace_at") + 1)
    assert AIM * 0.8 * AIM * 1000 == pytest.approx(await exceed(stored, 1000))


@pytest.mark.parametrize("rate", [0, 1000])
async def test_one_cut_until_something_is_accepted(stored: StoredSource, rate: float) -> None:
    """While all is refused, or nothing answered in time, the pace stays where the first of them put it."""
    await measured(stored)
    met = [await exceed(stored, rate) for _ in range(3)]
    await limited(stored, rate).fail(await stored.now_ms() + 60_000, "ReadTimeout", late=True)
    assert pytest.approx([AIM * 1000] * 4) == [*met, await field(stored, "pace_max")]


async def test_the_cut_is_of_the_pace_at_which_it_was_sent(stored: StoredSource) -> None:
    """What a 429 finds to be too much is the pace when its request was sent, not when the answer came."""
    now = await stored.now_ms()
    fields: dict[Any, Any] = {"pace_max": 500, "pace_at": now - 2 * PACE_MS, "last_success": now}
    await stored.redis.hset(stored.of.flow, mapping=fields)
    assert AIM * 500 == pytest.approx(await exceed(stored, 1000, sent_at=now - PACE_MS))


@pytest.mark.parametrize("opened", ["hold_until", "closed_at"])
async def test_a_ramp_is_not_what_is_cut(stored: StoredSource, opened: str) -> None:
    """A 429 to what was sent while a source reopens slows it as any other: a ramp is low by itself."""
    await stored.redis.hset(stored.of.flow, opened, await stored.now_ms() - 1)
    assert AIM * 1000 == pytest.approx(await exceed(stored, 1000, sent_at=await stored.now_ms()))


async def measured(stored: StoredSource) -> None:
    """Have something delivered, a moment ago: nothing much."""
    await stored.redis.hset(stored.of.flow, mapping={"sampled": 0, "sampled_at": await stored.now_ms()})


async def test_without_limit_and_measure_nothing_is_cut(stored: StoredSource) -> None:
    """A 429 to the first requests of a source without limit holds it, and says nothing about how much is too much."""
    await limited(stored, 0).hold(0.001, excess_at=await stored.now_ms() + 60_000)
    assert not await stored.redis.hexists(stored.of.flow, "pace_max")


async def test_timeouts_slow_down_and_other_failures_do_not(stored: StoredSource) -> None:
    """No answer in time may be too much for Segment; a 503 or a reset is not."""
    await measured(stored)
    await fail(stored, late=False)
    assert not await stored.redis.hexists(stored.of.flow, "pace_max")
    await fail(stored, late=True)
    assert AIM * LEAST_MEASURED == pytest.approx(await field(stored, "pace_max"))


async def test_an_outage_forgets_the_pace(stored: StoredSource) -> None:
    """That nobody answers says nothing about what Segment can take."""
    await fail(stored, 5, late=True)
    assert (0, "broken") == ((flow := await read_flow(stored.redis, stored.of)).pace_max, flow.state)


@pytest.mark.parametrize("rate", [0, 1000, 200, 4])
@pytest.mark.parametrize("way", [-0.03, 0, 0.3, 1, 1.5, 2.2, 2.9])
@pytest.mark.parametrize("met", [3, 500])
async def test_scripts_and_status_agree_about_the_pace(
    stored: StoredSource, rate: float, way: float, met: float
) -> None:
    """The rate that a script cuts is the one that `pombo status` shows."""
    now = await stored.now_ms()
    fields: dict[Any, Any] = {"pace_max": met, "pace_at": now - int(way * PACE_MS), "last_success": now + PACE_MS}
    await stored.redis.hset(stored.of.flow, mapping=fields)
    expected = pace(met, int(way * PACE_MS), rate) or rate or LEAST_MEASURED
    assert AIM * expected == pytest.approx(await exceed(stored, rate), abs=0.001)


async def test_the_pace_ends_without_a_limit(stored: StoredSource) -> None:
    """A source without limit sends freely again some time after it met Segment's."""
    now = await stored.now_ms()
    await stored.redis.hset(stored.of.flow, mapping={"pace_max": 1, "pace_at": now - PACE_ENDS * PACE_MS})
    await stored.append(0, ["a"])
    assert "" == await refused(stored)
    assert not await stored.redis.exists(stored.of.rate)


async def test_throughput_is_what_was_delivered(stored: StoredSource) -> None:
    """Without a limit the cut is from what was delivered a second, of late."""
    await stored.redis.hset(stored.of.ledger, "delivered", 5000)
    now = await stored.now_ms()
    await stored.redis.hset(stored.of.flow, mapping={"sampled": 1000, "sampled_at": now - 2000})
    await stored.append(1, ["a"])
    await accept(stored)
    assert 2000 == pytest.approx(await field(stored, "throughput"), abs=1)
    assert AIM * 2000 == pytest.approx(await exceed(stored, 0), abs=1)


async def test_workers_plan_requests_for_the_pace(stored: StoredSource) -> None:
    """A claim tells what Segment takes, so that requests are not larger than that."""
    await stored.append(0, ["a"])
    store = limited(stored, 1000)
    await exceed(stored, 1000)
    await stored.redis.hdel(stored.of.flow, "hold_until")
    await store.claim([await stored.part(store)])
    assert int(AIM * 1000 * 0.8) == pytest.approx(store.pace, abs=1)


# -- repeats ---------------------------------------------------------------------------------------------------


async def test_repeated_attempt_costs_and_counts_once(stored: StoredSource) -> None:
    """An attempt whose reply was lost is told the same again, also that it is the probe."""
    await stored.append(0, ["a"])
    store = limited(stored, 1000)
    (part,) = await stored.claimed(store, 0)
    await store.park("why", 0)
    await stored.redis.hset(stored.of.flow, "probe_at", 1)
    assert (await store.attempt(whole(part))).probe
    before = await stored.dump()
    reply = await stored.repeat()
    assert ([b"go", 1], before) == ([reply[0], reply[2]], await stored.dump())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hold_until": 1 << 50}, b"held"),
        ({"paused": 1}, b"paused"),
        ({"parked": "why", "probe_at": 1 << 50}, b"parked"),
    ],
)
async def test_repeated_attempt_sees_a_gate_that_has_shut(
    stored: StoredSource, fields: dict[Any, Any], reason: bytes
) -> None:
    """An attempt whose reply was lost is not told to go when the source was shut meanwhile, and pays nothing more."""
    await stored.append(0, ["a"])
    store = limited(stored, 1000)
    (part,) = await stored.claimed(store, 0)
    assert (await store.attempt(whole(part))).go
    spent = await stored.redis.hgetall(stored.of.rate)
    await stored.redis.hset(stored.of.flow, mapping=fields)
    reply = await stored.repeat()
    assert ([b"closed", reason], spent) == ([reply[0], reply[2]], await stored.redis.hgetall(stored.of.rate))
    assert ("2", "0") == ((record := await stored.record(0))["attempts"], record["sent_at"])


@pytest.mark.parametrize("shut", [{"hold_until": 1 << 50}, {"paused": 1}, {"parked": "why", "probe_at": 1 << 50}, {}])
async def test_a_shut_gate_stops_the_age_for_whoever_resumes(stored: StoredSource, shut: dict[Any, Any]) -> None:
    """Who waits is not failing, and the record says so; a turn at the rate changes nothing."""
    await stored.append(0, ["a"])
    store = limited(stored, 1000)
    (part,) = await stored.claimed(store, 0)
    part.failing_since = await stored.now_ms() - HOUR_MS
    assert (await store.attempt(whole(part))).go
    await stored.redis.hset(stored.of.flow, mapping=shut or {"last_success": 1})
    await stored.redis.hset(stored.of.rate, "tokens", -1000)
    assert not (await store.attempt(whole(part))).go
    resumed = await stored.store().resume(0, part.lease)
    assert (0 if shut else part.failing_since) == (resumed.failing_since if resumed else None)


async def test_repeated_claim_is_still_the_probe(stored: StoredSource) -> None:
    """A claim whose reply was lost knows that its request is a parked source's probe."""
    await stored.append(0, ["a"])
    store = stored.store()
    await stored.redis.hset(stored.of.flow, mapping={"parked": "why", "probe_at": 1})
    claim = await store.claim([await stored.part(store)])
    assert (True, 1) == (claim.probe, (await stored.repeat())[2])
    assert await field(stored, "probe_at") > await stored.now_ms()


async def test_repeated_take_takes_once(stored: StoredSource) -> None:
    """Tokens of a group, taken or given back, move once for each call."""
    source = stored.source.model_copy(update={"rate": 0.001, "burst": 10, "rate_group": "g"})
    await stored.append(0, ["a", "a", "b"])
    store = stored.store(source)
    await stored.claimed(store, 0)
    takes: list[Any] = [call for call in stored.calls if call[0] == "take"]
    assert 2 == len(takes)
    for call in takes:
        assert [1, 0] == await stored.repeat(call)
    key = stored.keys.group_rate("g")
    assert 8 == float(await stored.redis.hget(key, "tokens") or "nan")


class _Changing(RecordingLink):
    """A link during whose claims the source leaves its rate group."""

    store: SourceStore

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        if name == "claim":
            self.store.limit = Limit(0, 1)
        return await super().script(name, keys, args)


async def test_tokens_go_back_where_they_came_from(stored: StoredSource) -> None:
    """A source whose limit changes during a claim gives its group what it had taken from that."""
    await stored.append(0, ["a", "a"])
    link = _Changing(stored.redis)
    store = link.store = SourceStore(link, stored.keys, stored.source, SystemClock())
    store.limit = Limit(0.001, 10, "g")
    await stored.claimed(store, 0)
    tokens = await stored.redis.hget(stored.keys.group_rate("g"), "tokens")
    assert 9 == float(tokens or "nan")
