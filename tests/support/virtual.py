"""Virtual time: the real scripts, lanes and deliveries against a real server, on a clock that jumps.

1. `VirtualLoop` is an event loop whose time stands still while anything can run, and jumps to the next timer when
   nothing can. An hour takes as long as its work.
2. `virtual_script` makes a script take that time from a key's name instead of the server's clock, and put what it
   publishes into a list.
3. `VirtualLink` runs the script, and hands what was published to the listeners, at once and in order.
   Its client blocks, so that nothing depends on the machine; a reply takes `ROUND_TRIP_S` of virtual time, in which
   others do what they have to do.
"""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from redis.asyncio import Redis as AsyncRedis
from redis.client import Redis

from pombo.shared.clock import Clock
from pombo.shared.scripts import Argument
from pombo.worker.link import Link
from pombo.worker.metrics import Metrics
from support.virtualscript import EPOCH, HEARD, VirtualScript, clock, clock_key, virtual_script

T = TypeVar("T")
ROUND_TRIP_S = 0.0005
_ALL = 1000
"""More than one script publishes."""


class _Selector(selectors.DefaultSelector):
    """Let time jump by what the loop would have slept."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen: no timer is set"
        self.elapsed += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that is never late, and never waits."""

    def __init__(self) -> None:
        self.io = _Selector()
        super().__init__(self.io)

    def time(self) -> float:
        """Virtual seconds."""
        return self.io.elapsed


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock(Clock):
    """Every clock there is, by the loop's virtual time; it begins at `EPOCH`."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Ether:
    """What all links of a virtual world share: who hears what is published, and the scripts that the server has."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[str], None]] = []
        self.loaded: set[str] = set()

    def hear(self, published: Sequence[bytes]) -> None:
        """Tell the listeners; each message comes behind its channel."""
        for message in published[1::2]:
            for listener in self.listeners:
                listener(message.decode())


class _Awaited:
    """A blocking client, or pipeline, whose commands can be awaited."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def command(*args: Any, **options: Any) -> Any:
            return getattr(self._client, name)(*args, **options)

        return command

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        return _Pipeline(self._client.pipeline(transaction=transaction))


class _Pipeline(_Awaited):
    def execute_command(self, *command: Any) -> None:
        self._client.execute_command(*command)


class VirtualLink(Link):
    """A link whose Redis lives on the loop's time."""

    def __init__(self, redis: Redis, ether: Ether) -> None:
        super().__init__(cast("AsyncRedis", _Awaited(redis)), VirtualClock(), Metrics())
        self._blocking = redis
        self._ether = ether

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        made = virtual_script(name)
        given = [*keys, clock_key(self._clock.monotonic())] if made.told else [*keys]

        async def call() -> Any:
            return self._run_script(made, given, args)

        return await self.run(name, call)

    def _run_script(self, made: VirtualScript, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        if made.name not in self._ether.loaded:
            self._blocking.script_load(made.text)
            self._ether.loaded.add(made.name)
        with self._blocking.pipeline(transaction=False) as pipe:
            execute: Callable[..., Any] = pipe.execute_command
            execute("EVALSHA", made.sha, len(keys), *keys, *args)
            pipe.lpop(HEARD, _ALL)
            reply, heard = pipe.execute()
        self._ether.hear(heard or ())
        return reply

    async def run(self, operation: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if operation == "time":
            return self.time()
        reply = await super().run(operation, call)
        await asyncio.sleep(ROUND_TRIP_S)
        return reply

    def time(self) -> tuple[int, int]:
        """Redis' clock: seconds, and microseconds of the second."""
        return clock(self._clock.monotonic())
