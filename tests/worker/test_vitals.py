"""What a worker tells of itself at each beat."""

from mmap import mmap

import orjson
from redis.asyncio import Redis

from pombo.shared.clock import SystemClock
from pombo.shared.keys import Keys
from pombo.worker.fleet import BeatGuard, Fleet
from pombo.worker.vitals import Vitals, resident_bytes


async def test_a_beat_tells_the_vitals(redis: Redis, keys: Keys) -> None:
    """Partitions, events in flight, memory and takeovers are in the description that everyone reads."""
    clock = SystemClock()
    fleet = Fleet(redis, keys, clock, BeatGuard(clock))
    await fleet.show(Vitals(partitions=3, in_flight=40, memory=50_000_000, takeovers=2))
    told = orjson.loads(await redis.hget(keys.workers, fleet.id) or b"")
    wanted = {"partitions": 3, "in_flight": 40, "memory": 50_000_000, "takeovers": 2}
    assert wanted == {name: told[name] for name in wanted}


def test_resident_memory_is_that_of_this_process() -> None:
    """It grows by what is kept, and is no less than an interpreter takes."""
    before = resident_bytes()
    with mmap(-1, 30_000_000) as fresh:  # Of the system's, not of what the interpreter has at hand.
        fresh.write(b"x" * len(fresh))
        assert resident_bytes() - before > 20_000_000
    assert before > 5_000_000
