"""The worker's line to Redis: commands that wait out trouble and go again."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pombo.shared.clock import Clock
from pombo.shared.connection import astray, forsake, transient
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument, script
from pombo.worker.metrics import Metrics

log = get_logger("pombo.worker.redis")

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0


class Link:
    """Run scripts and commands, again after each passing trouble: every script of ours is safe to repeat.

    It waits for as long as it takes; who waits is cancelled at shutdown. One warning tells that Redis does not do its
    part, and one line that it does so again for all who waited.
    """

    def __init__(self, redis: "Redis", clock: Clock, metrics: Metrics) -> None:
        self.redis = redis
        self._clock = clock
        self._metrics = metrics
        self._down = False
        self._waiting: set[Hashable] = set()

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `lua/<name>.lua`."""
        loaded = script(name)
        return await self.run(name, lambda: loaded.acall(self.redis, keys, args))

    async def run(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Await `call()`, again after each passing trouble.

        Raises:
            RedisError: what does not pass by itself.
        """
        wait, who = _FIRST_WAIT_S, object()
        try:
            while True:
                try:
                    reply = await call()
                except (RedisError, OSError) as error:
                    await self.failed(operation, error, who)
                else:
                    self.worked(who)
                    return reply
                await self._clock.sleep(wait)
                wait = min(_LONGEST_WAIT_S, wait * 2)
        finally:
            self._waiting.discard(who)

    async def failed(self, operation: str, error: RedisError | OSError, who: Hashable) -> None:
        """Count and tell trouble; `who` waits from now on, until it `worked`.

        Raises:
            RedisError: `error`, when it does not pass by itself.
        """
        self._metrics.redis_errors.labels(operation).inc()
        if not transient(error):
            raise error
        self._waiting.add(who)
        if not self._down:
            self._down = True
            log.warning("redis.unavailable", operation=operation, error=f"{type(error).__name__}: {error}")
        if astray(error):
            await forsake(self.redis)

    def worked(self, who: Hashable) -> None:
        """Note that Redis did what was asked; while others still wait for it, that alone is no end of the trouble."""
        self._waiting.discard(who)
        if self._down and not self._waiting:
            self._down = False
            log.info("redis.available")
