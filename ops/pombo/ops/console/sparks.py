"""Sparks: the last quarter of an hour of many sources, small: what flows now, and a line of it."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from pombo.ops.overview import SourceView
from pombo.shared.clock import Clock
from pombo.shared.history import History, read_history
from pombo.shared.keys import Keys

FRESH_S: Final = 8.0
"""Seconds for which a spark is shown again: a sample is taken every ten."""
KEPT: Final = 2000
"""Sparks kept, of some 2 kB each."""
_NEVER: Final = (float("-inf"), None)
_ABREAST: Final = 8
"""Read at the same time."""
MINUTE: Final = 6
"""Slots of the last full minute."""
WIDTH, HEIGHT = 90, 22
"""Of the line, in units of its own."""


@dataclass(frozen=True, slots=True)
class Spark:
    """One source of late."""

    into: float | None
    """Events accepted a second over the last full minute; None when nobody knows."""
    out: float | None
    """Events delivered or deduplicated a second."""
    died: int
    """Events that died within the quarter of an hour."""
    lines: Mapping[str, str]
    """The points of `accepted` and `delivered`, as SVG has them; "" for a line that is nothing but zero."""
    most: float
    """The highest of the lines, events a second."""

    @classmethod
    def of(cls, history: History) -> "Spark":
        """Draw a history of 15 minutes; its last slot still fills, and is left out."""
        series, width_s = history.series, history.width_s
        accepted = series.accepted[:-1]
        done = [_sum(pair) for pair in zip(series.delivered[:-1], series.deduplicated[:-1], strict=True)]
        most = max([count or 0 for count in (*accepted, *done)], default=0)
        lines = {"accepted": _points(accepted, most), "delivered": _points(done, most)}
        died = sum(filter(None, series.dead))
        return cls(_rate(accepted, width_s), _rate(done, width_s), died, lines, most / width_s)


class Sparks:
    """Read sparks, and keep each for a few seconds, whoever looks."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis, self._keys, self._clock = redis, keys, clock
        self._known: OrderedDict[str, tuple[float, Spark | None]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def read(self, views: Sequence[SourceView]) -> dict[str, Spark]:
        """The sparks of some sources, by name; raises what the Redis client raises."""
        now, keys = self._clock.monotonic(), {view.name: _key(view) for view in views}
        old = [view for view in views if now - self._known.get(keys[view.name], _NEVER)[0] >= FRESH_S]
        for start in range(0, len(old), _ABREAST):
            some = old[start : start + _ABREAST]
            read = [read_history(self._redis, self._keys, [view.source], "15m") for view in some]
            for view, history in zip(some, await asyncio.gather(*read), strict=True):
                self._known[keys[view.name]] = now, Spark.of(history)
        found = {name: self._known[key][1] for name, key in keys.items()}
        for key in keys.values():
            self._known.move_to_end(key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return {name: spark for name, spark in found.items() if spark}


def _key(view: SourceView) -> str:
    return f"{view.name} {view.source.incarnation}"


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _rate(counts: Sequence[int | None], width_s: float) -> float | None:
    minute = [count for count in counts[-MINUTE:] if count is not None]
    return sum(minute) / (len(minute) * width_s) if minute else None


def _points(counts: Sequence[int | None], most: float) -> str:
    if most <= 0 or not any(counts):
        return ""
    step, tall = WIDTH / max(1, len(counts) - 1), HEIGHT - 2
    known = [(number, count) for number, count in enumerate(counts) if count is not None]
    return " ".join(f"{number * step:.1f},{1 + tall * (1 - count / most):.1f}" for number, count in known)
