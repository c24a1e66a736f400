"""A worker whose beats reach Redis, but not their answers: it sends nothing, so it must not keep what it holds."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from pombo.shared.clock import SystemClock
from pombo.shared.keys import Keys
from pombo.worker.fleet import BeatGuard, Fleet
from pombo.worker.membership import PACE
from pombo.worker.vitals import Vitals


class Hands(SystemClock):
    """A monotonic clock that a test moves."""

    at = 1000.0

    def monotonic(self) -> float:
        return self.at


class Line:
    """A client whose commands all arrive, and whose answers are lost while it is `deaf`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.deaf = False

    async def execute_command(self, *words: Any) -> Any:
        execute: Callable[..., Awaitable[Any]] = self._redis.execute_command
        reply = await execute(*words)
        if self.deaf:
            raise ConnectionError("the answer was lost")
        return reply


def fleet(redis: Redis | Line, keys: Keys, clock: Hands) -> Fleet:
    return Fleet(cast("Redis", redis), keys, clock, BeatGuard(clock))


@pytest.mark.parametrize("deaf", [False, True])
async def test_who_hears_no_answer_is_taken_for_dead(redis: Redis, keys: Keys, deaf: bool) -> None:
    """Beats that are never answered do not count: the fence has shut, and others take over; an answered one lives."""
    clock = Hands()
    line = Line(redis)
    one, other = fleet(line, keys, clock), fleet(redis, keys, clock)
    await one.show(Vitals())
    await other.show(Vitals())
    line.deaf = deaf
    for _ in range(int(PACE.takeover) + 2):
        clock.at += 1
        if deaf:
            with pytest.raises(ConnectionError):
                await one.show(Vitals())
        else:
            await one.show(Vitals())
        await other.show(Vitals())
    assert deaf == other.dead(one.id)
    line.deaf = False
    await one.show(Vitals())
    await one.show(Vitals())
    await other.show(Vitals())
    assert not other.dead(one.id)
