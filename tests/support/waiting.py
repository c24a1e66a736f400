"""Waiting for what happens in another process, which can only be looked for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
DEADLINE_S = 60.0
_POLL_S = 0.02


def until(condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S, *, poll_s: float = _POLL_S) -> T:
    """Return `condition()` as soon as it is true; fail when that takes too long."""
    ends = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < ends, f"no {what} within {deadline_s:g} s"
        time.sleep(poll_s)
    return value
