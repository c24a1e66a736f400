"""Charts: what history tells of the sources, read once for everybody who looks at the same."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from pombo.ops.overview import Overview, SourceView
from pombo.ops.problems import LATE_S, Recent
from pombo.shared.clock import Clock
from pombo.shared.history import SAMPLE_S, SPANS, History, Present, Rolling, Width, read_history, sample
from pombo.shared.history.series import quantile
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger

FRESH_S: Final[Mapping[Width, float]] = {"15m": 4.0, "24h": 60.0}
"""Seconds for which what was read is shown again."""
KEPT: Final = 64
"""Charts of single sources kept; each is some 100 kB."""
ASKED: Final = 16
"""Sources whose last minutes are read at one look, those first of which is known least: some 10 ms."""
LATELY_S: Final = 10.0
"""Seconds for which a source's last minutes are told again."""
STANDING: Final = 100
"""Samples taken side by side where no worker lives."""
MINUTE: Final = 6
"""Slots of the last full minute."""


@dataclass(frozen=True, slots=True)
class _Read:
    at: float
    history: History


@dataclass(frozen=True, slots=True)
class _Lately:
    """A source's last minutes, and what its ledger said when they were read."""

    at: float
    incarnation: str
    died: int
    recent: Recent


class Charts:
    """Read histories, and keep them for a few seconds."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis, self._keys, self._clock = redis, keys, clock
        self._read: OrderedDict[tuple[Width, str], _Read] = OrderedDict()
        self._rolling = {span: Rolling(span) for span in SPANS}
        self._fleet: dict[Width, _Read] = {}
        self._turn = asyncio.Lock()
        self._lately: dict[str, _Lately] = {}
        self._sampled = float("-inf")
        self._stood: dict[str, Ledger] = {}

    async def history(self, view: SourceView, span: Width) -> History:
        """The history of a source; raises what the Redis client raises."""
        key = span, f"{view.name} {view.source.incarnation}"
        known, now = self._read.get(key), self._clock.monotonic()
        if known is None or now - known.at >= FRESH_S[span]:
            known = _Read(now, await read_history(self._redis, self._keys, [view.source], span))
            self._read[key] = known
            while len(self._read) > KEPT:
                self._read.popitem(last=False)
        self._read.move_to_end(key)
        return known.history

    async def fleet(self, overview: Overview, span: Width) -> History:
        """The history of all sources, summed, as the overview found them; raises what the Redis client raises."""
        async with self._turn:
            known, now = self._fleet.get(span), self._clock.monotonic()
            if known is None or now - known.at >= FRESH_S[span]:
                sources = [Present(view.source, view.ledger, view.flow) for view in overview.sources.values()]
                read = await self._rolling[span].read(self._redis, self._keys, sources, overview.now)
                known = self._fleet[span] = _Read(now, read)
            return known.history

    async def recent(self, overview: Overview) -> dict[str, Recent]:
        """By source, what its last minutes say: of those of which it is asked, which hold dead letters or are late.

        A look asks of a few at a time, those that are late first; of the others it tells what the looks before found.
        """
        asked = {view.name: view for view in overview.sources.values() if _late(view) or view.ledger.dead > 0}
        now, known = self._clock.monotonic(), self._lately
        for name in [name for name, one in known.items() if not _same(one, asked.get(name))]:
            del known[name]
        due = [view for view in asked.values() if self._due(view, now)]
        due.sort(key=lambda view: (not _late(view), known[view.name].at if view.name in known else float("-inf")))
        for view in due[:ASKED]:
            history = await self.history(view, "15m")
            recent = Recent(died=sum(filter(None, history.series.dead)), drain_s=history.drain_s)
            known[view.name] = _Lately(now, view.source.incarnation, _died(view), recent)
        return {name: one.recent for name, one in known.items()}

    def _due(self, view: SourceView, now: float) -> bool:
        """Whether a source's last minutes may say something else by now."""
        known = self._lately.get(view.name)
        if known is None:
            return True
        changes = _late(view) or known.recent.died > 0 or known.died != _died(view)
        return changes and now - known.at >= LATELY_S

    async def stand_in(self, overview: Overview) -> None:
        """Take the samples that workers take, while none lives; those of a slot that is taken are left alone.

        As with workers, of what is astir: where nothing waits and nothing was counted since, there is nothing to tell.
        """
        now = self._clock.monotonic()
        if now - self._sampled < SAMPLE_S or any(worker.alive(overview.now) for worker in overview.workers):
            return
        self._sampled, stood = now, self._stood
        self._stood = {view.name: view.ledger for view in overview.sources.values()}
        astir = [
            view.source for view in overview.sources.values() if _waits(view) or stood.get(view.name) != view.ledger
        ]
        for start in range(0, len(astir), STANDING):
            some = astir[start : start + STANDING]
            await asyncio.gather(*(sample(self._redis, self._keys, source) for source in some))


def _waits(view: SourceView) -> bool:
    return bool(view.ledger.queued or view.ledger.in_flight)


def _late(view: SourceView) -> bool:
    return view.state == "active" and (view.oldest_age_s or 0) >= LATE_S


def _died(view: SourceView) -> int:
    return sum(view.ledger.died_by_reason.values())


def _same(known: _Lately, view: SourceView | None) -> bool:
    return view is not None and known.incarnation == view.source.incarnation


def freshness(history: History) -> tuple[float | None, float | None]:
    """Seconds from acceptance to Segment's answer of the last full minute: the median, and 99 of 100."""
    counts = [sum(column[-MINUTE - 1 : -1]) for column in history.series.ages]
    return quantile(counts, 0.5), quantile(counts, 0.99)
