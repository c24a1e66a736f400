"""Reading: the charts of one source, or of a whole installation."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from pombo.shared.flow import Flow, redis_now
from pombo.shared.history.estimate import drain_s
from pombo.shared.history.samples import Sample
from pombo.shared.history.series import SPANS, Grid, Series, Width
from pombo.shared.history.sheet import lay
from pombo.shared.history.spans import Span, spans, within
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source

_ABREAST = 8
"""Sources read at the same time: enough to hide the way to Redis."""
LATEST = 32
"""Samples of five minutes, and some to spare."""


@dataclass(frozen=True)
class History:
    """The charts of some sources: evenly spaced slots, the last of which is the present one and still fills."""

    now: int
    """When it was read, in ms of Redis' clock."""
    grid: Grid
    series: Series
    states: Mapping[str, Sequence[Span]]
    """By source, when it was not active."""

    @property
    def at(self) -> list[int]:
        """When each slot begins, in ms of Redis' clock."""
        return self.grid.starts

    @property
    def width_s(self) -> float:
        """Seconds of a slot."""
        return self.grid.width / 1000

    @cached_property
    def p50(self) -> list[float | None]:
        """Seconds from acceptance to Segment's answer that half of a slot's record batches did not exceed."""
        return self.series.quantile(0.5)

    @cached_property
    def p99(self) -> list[float | None]:
        """The same for 99 of 100."""
        return self.series.quantile(0.99)

    @property
    def drain_s(self) -> float | None:
        """Seconds until the backlog is gone; None when it is not shrinking."""
        return drain_s(self.series, self.width_s, (self.now - self.at[-1]) / 1000)

    def describe(self) -> dict[str, Any]:
        """The charts as JSON: a list a line, all as long as `at`."""
        one = self.series
        return {
            "now": self.now, "at": self.at, "width_s": self.width_s,
            "accepted": one.accepted, "delivered": one.delivered, "deduplicated": one.deduplicated, "dead": one.dead,
            "queued": one.queued, "in_flight": one.in_flight, "oldest_age_s": one.oldest_age_s,
            "p50": self.p50, "p99": self.p99, "requests": one.requests, "retries": one.retries,
            "rate_limit": one.rate_limit, "drain_s": self.drain_s,
            "states": {name: [span.describe() for span in found] for name, found in self.states.items()},
        }  # fmt: skip


async def read_history(
    redis: Redis, keys: Keys, sources: Iterable[Source], span: Width, *, now: int | None = None
) -> History:
    """Read what happened to sources within a span of time up to now, summed; raises what the client raises.

    Its last word is a look at ledger and flow of this moment, so that a source which no worker samples is told, too.
    Of many sources that are read again and again, `Rolling` reads only what is new. `now` is asked of Redis without.
    """
    now = await redis_now(redis) if now is None else now
    grid = Grid.until(now, span)
    wanted = list(sources)
    found: list[list[Sample]] = []
    for start in range(0, len(wanted), _ABREAST):
        some = wanted[start : start + _ABREAST]
        found += await asyncio.gather(*(read_samples(redis, keys, source, now, span) for source in some))
    # It takes a while for many sources, and whoever asks has others to serve.
    series = await asyncio.to_thread(lay, found, grid)
    states = {source.name: _states(samples, grid) for source, samples in zip(wanted, found, strict=True)}
    return History(now, grid, series, {name: some for name, some in states.items() if some})


async def read_samples(redis: Redis, keys: Keys, source: Source, now: int, span: Width) -> list[Sample]:
    """Read one source's samples, in order of time; the last is of `now`, in ms of Redis' clock."""
    of = keys.of(source.name)
    async with redis.pipeline(transaction=False) as pipe:
        # Those that are not in the day yet are of the same five minutes.
        pipe.lrange(of.history, -LATEST if span == "24h" else 0, -1)
        pipe.hgetall(of.ledger)
        pipe.hgetall(of.flow)
        if span == "24h":
            pipe.lrange(of.history_day, 0, -1)
        stored, ledger, flow, *day = await pipe.execute()
    samples = joined(Sample.parse_all(day[0] if day else ()), Sample.parse_all(stored))
    samples = [sample for sample in samples if sample.at <= now]
    last = of_now(samples[-1] if samples else None, Ledger.parse(ledger), Flow.parse(flow, now), source)
    if not samples and not (last.waits.queued or last.waits.in_flight):
        # Nothing has happened since the last samples ended, or there would be others.
        return [ever(last), last]
    return [*samples, last]


def joined(day: Sequence[Sample], recent: Sequence[Sample]) -> list[Sample]:
    """The samples of five minutes, and behind them the ones that are not summed up yet."""
    return [*day, *(unsummed(day[-1], recent) if day else recent)]


def unsummed(last: Sample, recent: Sequence[Sample]) -> Sequence[Sample]:
    """Those behind the last sample of five minutes."""
    return [sample for sample in recent if sample.slot >= last.slot + SPANS["24h"][0]]


def _states(samples: Sequence[Sample], grid: Grid) -> list[Span]:
    return within(spans(sight for sample in samples for sight in sample.sights), grid.begin)


def of_now(last: Sample | None, ledger: Ledger, flow: Flow, source: Source) -> Sample:
    """What ledger and flow say now, as a sample; `last` is the one before it, which knows how old the oldest is."""
    age = -1
    if last is not None and (ledger.queued or ledger.in_flight) and last.waits.age_ms >= 0:
        age = last.waits.age_ms + flow.now - last.at
    return Sample.of_now(ledger, flow, flow.rate(source.rate) or 0, age)


def ever(sample: Sample) -> Sample:
    """The sample as if taken long ago: of a source without samples in which nothing has happened."""
    return sample._replace(slot=0, at=0, sights=())
