"""Charts: what history tells of the sources, read once for everybody who looks at the same."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from pombo.ops.overview import Overview, SourceView
from pombo.ops.problems import LATE_S, Recent
from pombo.shared.clock import Clock
from pombo.shared.history import SAMPLE_S, History, Width, read_history, sample
from pombo.shared.history.series import quantile
from pombo.shared.keys import Keys

FRESH_S: Final[Mapping[Width, float]] = {"15m": 4.0, "24h": 60.0}
"""Seconds for which what was read is shown again."""
KEPT: Final = 64
"""Charts kept; each is some 100 kB."""
MINUTE: Final = 6
"""Slots of the last full minute."""


@dataclass(frozen=True, slots=True)
class _Read:
    at: float
    history: History


class Charts:
    """Read histories, and keep them for a few seconds."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis, self._keys, self._clock = redis, keys, clock
        self._read: OrderedDict[tuple[Width, frozenset[str]], _Read] = OrderedDict()
        self._sampled = float("-inf")

    async def history(self, views: Iterable[SourceView], span: Width) -> History:
        """The history of some sources, summed; raises what the Redis client raises."""
        wanted = [view.source for view in views]
        key = (span, frozenset(f"{source.name} {source.incarnation}" for source in wanted))
        known, now = self._read.get(key), self._clock.monotonic()
        if known is None or now - known.at >= FRESH_S[span]:
            known = _Read(now, await read_history(self._redis, self._keys, wanted, span))
            self._read[key] = known
            while len(self._read) > KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(key)
        return known.history

    async def recent(self, overview: Overview) -> dict[str, Recent]:
        """By source, what its last minutes say: of those of which it is asked, which hold dead letters or are late."""
        asked = [v for v in overview.sources.values() if v.ledger.dead > 0 or (v.oldest_age_s or 0) >= LATE_S]
        found = {}
        for view in asked:
            history = await self.history([view], "15m")
            found[view.name] = Recent(died=sum(filter(None, history.series.dead)), drain_s=history.drain_s)
        return found

    async def stand_in(self, overview: Overview) -> None:
        """Take the samples that workers take, while none lives; those of a slot that is taken are left alone."""
        now = self._clock.monotonic()
        if now - self._sampled < SAMPLE_S or any(worker.alive(overview.now) for worker in overview.workers):
            return
        self._sampled = now
        for view in overview.sources.values():
            await sample(self._redis, self._keys, view.source)


def freshness(history: History) -> tuple[float | None, float | None]:
    """Seconds from acceptance to Segment's answer of the last full minute: the median, and 99 of 100."""
    counts = [sum(column[-MINUTE - 1 : -1]) for column in history.series.ages]
    return quantile(counts, 0.5), quantile(counts, 0.99)
