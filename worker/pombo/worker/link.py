"""The worker's line to Redis: commands that wait out trouble and go again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, RedisError

from pombo.shared.clock import Clock
from pombo.shared.connection import forsake, transient
from pombo.shared.logs import get_logger
from pombo.shared.scripts import Argument, script
from pombo.worker.metrics import Metrics

log = get_logger("pombo.worker.redis")

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0


class Link:
    """Run scripts and commands, again after each passing trouble: every script of ours is safe to repeat.

    It waits for as long as it takes; who waits is cancelled at shutdown.
    """

    def __init__(self, redis: "Redis", clock: Clock, metrics: Metrics) -> None:
        self.redis = redis
        self._clock = clock
        self._metrics = metrics
        self._down = False

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run `lua/<name>.lua`."""
        loaded = script(name)
        return await self.run(name, lambda: loaded.acall(self.redis, keys, args))

    async def run(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Await `call()`, again after each passing trouble.

        Raises:
            RedisError: what does not pass by itself.
        """
        wait = _FIRST_WAIT_S
        while True:
            try:
                reply = await call()
            except (RedisError, OSError) as error:
                self._metrics.redis_errors.labels(operation).inc()
                if not transient(error):
                    raise
                self._note_trouble(operation, error)
                if isinstance(error, ReadOnlyError):
                    await forsake(self.redis)
            else:
                self._note_health()
                return reply
            await self._clock.sleep(wait)
            wait = min(_LONGEST_WAIT_S, wait * 2)

    def _note_trouble(self, operation: str, error: BaseException) -> None:
        if not self._down:
            self._down = True
            log.warning("redis.unavailable", operation=operation, error=f"{type(error).__name__}: {error}")

    def _note_health(self) -> None:
        if self._down:
            self._down = False
            log.info("redis.available")
