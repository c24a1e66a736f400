"""What the core asks of its surroundings: to wait, to ask Redis, or to work on the disk."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from redis.exceptions import RedisError

Argument = str | bytes | int | float


class NotSentError(Exception):
    """No connection could be made: the command was certainly not sent. The cause is in `__cause__`."""


WEATHER = (RedisError, OSError, NotSentError)
"""What a driver throws into the core; anything else is a bug."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait until woken, at most `seconds`; None is until woken."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Ask:
    """Send one command to Redis and give back its reply, or throw what went wrong within `timeout_s`."""

    command: tuple[Argument, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Disk:
    """Do some work that waits for the disk and give back what it returns, or throw its `SpoolError`.

    For asyncio that is another thread; whoever finds it interrupted may call it again.
    """

    call: Callable[[], Any]


Step = Sleep | Ask | Disk
T = TypeVar("T")
Flow = Generator[Step, Any, T]


def advance(flow: Flow[None], reply: Any = None, error: Exception | None = None) -> Step | None:
    """Hand a step's reply, or what went wrong, to the core; return its next step, None at its end."""
    try:
        return flow.send(reply) if error is None else flow.throw(error)
    except StopIteration:
        return None
