"""Workers on machines whose names are alike and whose clocks are wrong."""

from datetime import UTC, datetime, timedelta

from pombo.shared.clock import SystemClock
from support.world import WRITE_KEY, Worker, World, body

HOUR_S = 3600.0


class WrongClock(SystemClock):
    """A machine whose wall clock is off, and that was started at another time."""

    def __init__(self, off_s: float, started_s: float) -> None:
        self._off = timedelta(seconds=off_s)
        self._started = started_s

    def now(self) -> datetime:
        return super().now() + self._off

    def monotonic(self) -> float:
        return super().monotonic() + self._started


def start(world: World, host: str, off_s: float = 0.0, started_s: float = 0.0) -> Worker:
    """A worker of another machine: pid 1 of a container that is named as all of them are."""
    clock = WrongClock(off_s, started_s)
    worker = world.start(clock=clock)
    worker.pool.fleet.id = f"{host}-1-{len(world.workers)}"
    return worker


def shares(*workers: Worker) -> list[int]:
    """Partitions that each holds, fewest first."""
    return sorted(sum(len(lane.holdings) for lane in worker.pool.lanes.values()) for worker in workers)


async def test_wrong_clocks_do_not_matter(world: World) -> None:
    """Three machines hours apart share evenly, take over from a dead one, and keep each user's order."""
    source = await world.add(partitions=8)
    ids = {p: [f"{p}-{n}" for n in range(40)] for p in range(8)}
    world.sim.set_plan([{"when": {}, "answer": {"delay_s": 0.01}}])
    workers = [
        start(world, "worker"),
        start(world, "worker", HOUR_S, 1_000_000.0),
        start(world, "worker", -HOUR_S, -SystemClock().monotonic() + 1.0),
    ]
    for partition, some in ids.items():
        await world.append(source, partition, [body(one, f"u{partition}") for one in some[:20]])
    await world.until(lambda: [2, 3, 3] == shares(*workers), "even shares")
    await workers[1].kill()
    for partition, some in ids.items():
        await world.append(source, partition, [body(one, f"u{partition}") for one in some[20:]])
    await world.until(lambda: [4, 4] == shares(workers[0], workers[2]), "shares of the dead")
    await world.drained()
    kept = world.kept()
    for partition, some in ids.items():
        assert some == [one for one in kept if one.startswith(f"{partition}-")]
    await world.assert_balanced()


async def test_segment_is_told_the_time_of_redis(world: World) -> None:
    """A machine that is an hour ahead does not shift timestamps, which Segment corrects by sentAt."""
    source = await world.add()
    start(world, "worker", HOUR_S)
    await world.append(source, 0, [body("m1")])
    await world.drained()
    (row,) = world.sim.events(key=WRITE_KEY)
    told = datetime.fromisoformat(str(row["sent_at"]))
    assert timedelta(minutes=10) > abs(datetime.now(UTC) - told)


async def test_a_hold_ends_for_a_machine_that_is_behind(world: World) -> None:
    """A hold is the fleet's, by Redis' clock: a worker whose clock is wrong sends neither early nor hours late."""
    source = await world.add()
    date = datetime(2026, 1, 1, tzinfo=UTC)
    headers = {
        name: (date + timedelta(seconds=s)).strftime("%a, %d %b %Y %H:%M:%S GMT")
        for name, s in (("Date", 0), ("Retry-After", 1))
    }
    world.sim.set_plan([{"when": {"requests": 1}, "answer": {"status": 429, "headers": headers}}])
    start(world, "worker", -HOUR_S)
    start(world, "worker", HOUR_S)
    await world.append(source, 0, [body("m1")])
    await world.drained()
    assert ["m1"] == world.kept()
