"""Look-ups: each made once for all who ask at the same time, and few of them at a time.

A look-up of Redis has a connection to itself, and the pool has a hundred. Who brings no key yet can ask for anything,
so as many look-ups as requests would leave none for those who have one.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

MOST = 8
"""Made at a time; the others wait for their turn."""
TIMEOUT_S = 2.0
"""Seconds of one, its waiting included."""

Found = TypeVar("Found")


class Lookups(Generic[Found]):
    """Make look-ups of one kind."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Found]] = {}
        self._turns = asyncio.Semaphore(MOST)

    async def find(self, name: Hashable, look: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
        """What `look` finds, or found for somebody who asked for the same name before; raises what it raises.

        Raises:
            TimeoutError: it took too long.
        """
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(self._look(look))
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(task)  # Whoever goes away leaves it to the others.

    async def _look(self, look: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
        async with asyncio.timeout(TIMEOUT_S), self._turns:
            return await look()
