"""Peers that enqueue one job an event with asyncio: arq and streaq.

They run in an environment of their own, because arq wants an older redis-py than pombo.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Any

from bench.trial import Event, Meter, Result, caller_times, main, read

Enqueue = Callable[[Event], Awaitable[object]]


def arq(*, socket: str, url: str, events: str, count: int, warm: int) -> Result:
    """Enqueue one arq job an event, each awaited, as a bot's handler does."""
    return asyncio.run(_arq(socket, url, read(events, count), warm))


async def _arq(socket: str, url: str, events: Sequence[Event], warm: int) -> Result:
    connections: Any = import_module("arq.connections")
    pool = await connections.create_pool(connections.RedisSettings(unix_socket_path=socket))
    try:
        return await _measure(lambda event: pool.enqueue_job("post", url, event), events, warm)
    finally:
        await pool.aclose()


def streaq(*, socket: str, url: str, events: str, count: int, warm: int) -> Result:
    """Enqueue one streaq task an event, each awaited."""
    return asyncio.run(_streaq(socket, url, read(events, count), warm))


async def _streaq(socket: str, url: str, events: Sequence[Event], warm: int) -> Result:
    worker: Any = import_module("streaq").Worker(redis_url=f"unix://{socket}", queue_name="bench")

    async def post(url: str, event: Event) -> None:
        """Stand for what a worker would run."""

    task = worker.task(name="post")(post)

    async def enqueue(event: Event) -> object:
        return await task.enqueue(url, event)

    async with worker:
        return await _measure(enqueue, events, warm)


async def _measure(enqueue: Enqueue, events: Sequence[Event], warm: int) -> Result:
    for event in events[:warm]:
        await enqueue(event)
    clock, spent = time.perf_counter_ns, []
    meter = Meter()
    for event in events:
        begun = clock()
        await enqueue(event)
        spent.append(clock() - begun)
    return {"rate": len(events) / meter.wall, "cpu_us": meter.cpu / len(events) * 1e6, **caller_times(spent)}


if __name__ == "__main__":
    main({"arq": arq, "streaq": streaq})
