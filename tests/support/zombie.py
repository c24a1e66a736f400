"""A worker that stops its own process at a chosen moment of a delivery, as SIGSTOP from outside hardly ever could.

`python -m support.zombie MOMENT FILE`: once FILE exists the next delivery that gets to MOMENT removes it and stops the
process; whoever waits for it lets it go on by SIGCONT.
"""

import asyncio
import os
import random
import signal
import sys
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path

from pombo.shared.clock import SystemClock
from pombo.shared.connection import aconnect, redis_url
from pombo.shared.logs import configure_logs
from pombo.shared.processes import on_stop_signals
from pombo.shared.registry import Registry
from pombo.shared.secrets import load_secrets
from pombo.shared.settings import read_settings
from pombo.worker.answers import Answer
from pombo.worker.delivery import Tools
from pombo.worker.direct import DirectTransport
from pombo.worker.fleet import BeatGuard
from pombo.worker.metrics import Metrics
from pombo.worker.pool import Pool
from pombo.worker.transport import Request


class Moment(StrEnum):
    """Where a delivery stops."""

    CLAIMED = "claimed"
    """The claim is made, the lease not yet looked at again."""
    CHECKED = "checked"
    """The lease was looked at again, nothing of the request is written yet."""
    ANSWERED = "answered"
    """Segment has answered, nothing is settled yet."""


class Halt:
    """Stop this process, once, when somebody made the file."""

    def __init__(self, moment: Moment, file: Path) -> None:
        self._moment = moment
        self._file = file

    def at(self, moment: Moment) -> None:
        """Stop if this is the moment."""
        if moment is self._moment and self._file.exists():
            self._file.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)


class HaltingTransport(DirectTransport):
    """The real transport, with a halt before and after each request."""

    def __init__(self, halt: Halt) -> None:
        super().__init__()
        self._halt = halt

    async def post(self, request: Request) -> Answer:
        """Send `request` once."""
        self._halt.at(Moment.CHECKED)
        answer = await super().post(request)
        self._halt.at(Moment.ANSWERED)
        return answer


class HaltingGuard:
    """What deliveries ask about their leases, with a halt before each look."""

    def __init__(self, guard: BeatGuard, halt: Halt) -> None:
        self._guard = guard
        self._halt = halt

    def fresh(self) -> bool:
        """As `BeatGuard.fresh`."""
        self._halt.at(Moment.CLAIMED)
        return self._guard.fresh()

    async def confirmed(self) -> None:
        """As `BeatGuard.confirmed`."""
        await self._guard.confirmed()


async def run(halt: Halt) -> None:
    """Be a worker until SIGTERM; wired as `pombo worker` is."""
    settings = read_settings()
    configure_logs(settings.log_level, settings.log_format)
    stop = asyncio.Event()
    on_stop_signals(stop.set)
    async with AsyncExitStack() as stack:
        redis = aconnect(redis_url(settings))
        stack.push_async_callback(redis.aclose)
        registry = Registry(redis, settings.keys, load_secrets(settings))
        guard, transport = BeatGuard(SystemClock()), HaltingTransport(halt)
        stack.push_async_callback(transport.close)
        tools = Tools(transport, SystemClock(), random.Random(), Metrics(), HaltingGuard(guard, halt))
        await Pool(redis, settings.keys, registry, tools, guard).run(stop)


if __name__ == "__main__":
    asyncio.run(run(Halt(Moment(sys.argv[1]), Path(sys.argv[2]))))
