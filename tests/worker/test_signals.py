"""What a worker brings to Redis beside deliveries: samples of what stirs, and events for who watches."""

import asyncio
from typing import Any
from zlib import crc32

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError

from pombo.shared import tail
from pombo.shared.flow import pause, resume
from pombo.shared.history import SAMPLE_S, read_history
from pombo.shared.history.samples import Sample
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from pombo.worker.reporter import Reporter
from pombo.worker.signals import Signals
from pombo.worker.store import RawEntry
from support.virtual import VirtualClock
from support.world import World, body

WATCHED_S = 60
"""Longer than any test here takes."""


class Lane:
    """A lane as the reporter sees it."""

    def __init__(self, name: str = "bot") -> None:
        self.source = Source(name=name, incarnation="i", rate=0, partitions=1)
        self.astir = False


class Office:
    """A reporter whose seconds a test turns by hand."""

    def __init__(self, redis: Redis, *lanes: Lane) -> None:
        self.redis, self.second, self.signals = redis, 1000, Signals()
        self.lanes: Any = {lane.source.name: lane for lane in lanes}
        self.reporter = Reporter(redis, Keys(), self.signals, VirtualClock(), lambda: self.second)

    async def pass_by(self, seconds: int) -> None:
        """Report in each of so many seconds."""
        for _ in range(seconds):
            self.second += 1
            await self.reporter.report(self.lanes)

    async def samples(self, name: str = "bot") -> list[Sample]:
        """The samples that tell of requests."""
        stored: list[Any] = await self.redis.lrange(Keys().of(name).history, 0, -1)
        found = [Sample.parse(text) for text in stored]
        return [one for one in found if one is not None]


async def office(redis: Redis, *names: str) -> Office:
    for name in names:
        await redis.hset(Keys().of(name).ledger, "incarnation", "i")
    made = Office(redis, *(Lane(name) for name in names))
    await made.pass_by(SAMPLE_S)
    return made


async def scripts(redis: Redis) -> int:
    """How many the server was asked for."""
    info: Any = await redis.info("commandstats")
    return int(info.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_a_source_at_rest_costs_nothing(redis: Redis) -> None:
    """A lane that does nothing is not sampled, however many there are."""
    quiet = await office(redis, *(f"s{number}" for number in range(50)))
    before = await scripts(redis)
    await quiet.pass_by(3 * SAMPLE_S)
    assert before == await scripts(redis)


async def test_what_was_counted_is_told_once(redis: Redis) -> None:
    """Within ten seconds, whatever the source's second is."""
    busy = await office(redis, "bot")
    busy.signals.requested("bot", 200, delivered=True)
    busy.signals.requested("bot", 429, delivered=False)
    busy.signals.of("bot").aged(0.2)
    await busy.pass_by(SAMPLE_S)
    assert {"2xx": 1, "429": 1, "retries": 1, "b5": 1} == (await busy.samples())[-1].tallies
    before = await scripts(redis)
    await busy.pass_by(3 * SAMPLE_S)
    assert before == await scripts(redis)


async def test_what_stirs_is_sampled_on(redis: Redis) -> None:
    """A lane that holds events, or may not send, is sampled every ten seconds, and once more when it has let go."""
    held = await office(redis, "bot")
    held.lanes["bot"].astir = True
    before = await scripts(redis)
    await held.pass_by(3 * SAMPLE_S)
    assert before + 3 == await scripts(redis)
    held.lanes["bot"].astir = False
    await held.pass_by(3 * SAMPLE_S)
    assert before + 4 == await scripts(redis)


async def test_sources_are_sampled_at_seconds_of_their_own(redis: Redis) -> None:
    """A thousand busy sources are no burst every ten seconds."""
    many = await office(redis, *(f"s{number}" for number in range(100)))
    costs = []
    for lane in many.lanes.values():
        lane.astir = True
    for _ in range(SAMPLE_S):
        before = await scripts(redis)
        await many.pass_by(1)
        costs.append(await scripts(redis) - before)
    assert 100 == sum(costs)
    assert 25 >= max(costs)


async def test_a_long_pause_is_one_sample(redis: Redis) -> None:
    """Whoever was stopped for minutes samples a source once, not once for each ten seconds that passed."""
    late = await office(redis, "bot")
    late.lanes["bot"].astir = True
    before = await scripts(redis)
    late.second += 500
    await late.reporter.report(late.lanes)
    assert before + 1 == await scripts(redis)


async def test_counts_of_sources_that_went_are_let_go(redis: Redis) -> None:
    """Memory does not grow with sources that come and go."""
    busy = await office(redis, "bot")
    busy.signals.requested("gone", 200, delivered=True)
    await busy.pass_by(1)
    assert busy.signals._tallies.keys() <= {"bot"}


class Deaf:
    """A client whose Redis is away."""

    asked = 0

    async def execute_command(self, *_: object) -> None:
        """Fail as a lost connection does."""
        self.asked += 1
        raise ConnectionError("away")


class Hasty(VirtualClock):
    """A clock by which no wait takes time."""

    async def sleep(self, seconds: float) -> None:
        """Let others have their turn."""
        await asyncio.sleep(0)


async def test_a_redis_that_is_away_stops_no_reporter() -> None:
    """What it does not take is dropped, and the next one is tried: nobody waits for it, nothing gathers."""
    redis: Any = Deaf()
    seconds = iter(range(1000, 2000))
    lane: Any = Lane()
    lane.astir = True
    reporter = Reporter(redis, Keys(), Signals(), Hasty(), lambda: next(seconds))
    task = asyncio.create_task(reporter.run({"bot": lane}))
    while redis.asked < 2:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_source_whose_node_is_away_hides_no_other(redis: Redis) -> None:
    """Where one is told or sampled in vain, the others are told and sampled all the same."""
    here = await office(redis, "a", "b")
    for lane in here.lanes.values():
        lane.astir = True
    here.signals.watch({"a": WATCHED_S, "b": WATCHED_S}, VirtualClock().monotonic())
    await redis.delete(Keys().of("a").history, Keys().of("b").history)
    # What the scripts cannot write into stands for a node that refuses.
    await redis.set(Keys().of("a").tail, "no stream")
    await redis.set(Keys().of("a").history, "no list")
    failed = 0
    for _ in range(SAMPLE_S):
        for source in ("a", "b"):
            here.signals.buried(source, 0, RawEntry("1-0", 1, 9, b"\x01?"), "unreadable", 1000)
        try:
            await here.pass_by(1)
        except RedisError:
            failed += 1
    assert SAMPLE_S == failed == await redis.xlen(Keys().of("b").tail)
    assert await here.samples("b")


def test_a_watch_that_is_over_closes_its_tap() -> None:
    """A tap stays the same while its source is watched, and goes with the watch."""
    signals = Signals()
    signals.watch({"bot": 5.0}, 100.0)
    tap = signals.taps["bot"]
    signals.watch({"bot": 9.0, "other": 1.0}, 101.0)
    assert (tap, 113.0) == (signals.taps["bot"], tap.until)
    signals.watch({}, 102.0)
    assert {} == signals.taps


# -- real workers --------------------------------------------------------------------------------------------


async def test_who_watches_sees_events_and_their_fates(world: World) -> None:
    """Accepted, delivered and deduplicated, from a worker that learnt of the watch while it ran."""
    source = await world.add()
    worker = world.start()
    await world.until(lambda: worker.pool.fleet._beat > 1, "a beat")
    await tail.watch(world.redis, world.keys, "bot", WATCHED_S)
    await world.until(lambda: worker.pool._tools.signals.taps, "the tap")
    await world.append(source, 0, [body("a"), body("b")])
    await world.append(source, 0, [body("a")])
    seen: list[tail.Seen] = []

    async def all_told() -> bool:
        seen[:], _ = await tail.follow(world.redis, world.keys, "bot", "", 100)
        return len(seen) >= 6

    await world.until(all_told, "six fates")
    assert sorted([
        ("accepted", "a"), ("accepted", "a"), ("accepted", "b"), ("deduplicated", "a"), ("delivered", "a"),
        ("delivered", "b"),
    ]) == sorted((one.fate, one.message_id) for one in seen)  # fmt: skip


async def test_dead_events_are_told_with_their_answer(world: World) -> None:
    """The reason and Segment's words are in the note; what cannot be read is told, too."""
    source = await world.add()
    world.sim.set_plan([{"when": {"message_id": ["bad"]}, "answer": {"status": 400, "body": "no such event"}}])
    await tail.watch(world.redis, world.keys, "bot", WATCHED_S)
    worker = world.start()
    await world.until(lambda: worker.pool._tools.signals.taps, "the tap")
    await world.append(source, 0, [body("good"), body("bad")])

    async def notes() -> list[str]:
        seen, _ = await tail.follow(world.redis, world.keys, "bot", "", 100)
        return [one.note for one in seen if one.fate == "dead" and one.message_id == "bad"]

    (found,) = await world.until(notes, "the dead event")
    assert "rejected_by_segment 400 no such event" == found


async def test_without_a_watch_nothing_is_told(world: World) -> None:
    """No key, and no command: payloads are in Redis only while somebody looks."""
    source = await world.add()
    world.start()
    await world.append(source, 0, [body("a")])
    await world.until(world.settled, "the delivery")
    assert 0 == await world.redis.exists(world.keys.of("bot").tail)


async def test_a_full_redis_drains_untold(world: World) -> None:
    """Who watches sees nothing then, and no delivery waits for it."""
    source = await world.add()
    await pause(world.redis, world.keys, "bot")
    await world.append(source, 0, [body("a")])
    await tail.watch(world.redis, world.keys, "bot", WATCHED_S)
    worker = world.start()
    tap = await world.until(lambda: worker.pool._tools.signals.taps.get("bot"), "the tap")
    reports: list[list[str]] = []
    take = tap.take

    def noted() -> Any:
        seen = take()
        reports.append([one.fate for one in seen])
        return seen

    tap.take = noted
    await world.redis.config_set("maxmemory", 1)
    try:
        await resume(world.redis, world.keys, "bot")
        await world.until(world.settled, "the delivery")
        # A report is over when the next one begins.
        await world.until(lambda: any("delivered" in report for report in reports[:-1]), "the end of the report")
    finally:
        await world.redis.config_set("maxmemory", 0)
    await world.assert_balanced()
    seen, _ = await tail.follow(world.redis, world.keys, "bot", "", 100)
    assert "delivered" not in {one.fate for one in seen}
    assert not worker.task.done()


async def test_a_worker_draws_the_charts(world: World) -> None:
    """What it delivered is in the history ten seconds later at most, with its answers and its ages."""
    # One whose second comes soon.
    due = (int((await world.redis.time())[0]) + 2) % SAMPLE_S
    name = next(name for name in map("s{}".format, range(1000)) if crc32(name.encode()) % SAMPLE_S == due)
    source = await world.add(name)
    world.start()
    await world.append(source, 0, [body(f"m{number}") for number in range(30)], batch=10)

    async def drawn() -> Any:
        history = await read_history(world.redis, world.keys, [source], "15m")
        told = history.describe()
        counts = [sum(filter(None, told[name])) for name in ("accepted", "delivered")]
        return (history, told) if [30, 30, 3] == [*counts, sum(map(sum, history.series.ages))] else None

    # On a machine that stalls its second may come before all is delivered, and then once more.
    history, told = await world.until(drawn, "charts of all that was delivered")
    assert 3 == sum(map(sum, history.series.ages))
    assert sum(told["requests"]["2xx"]) >= 1
