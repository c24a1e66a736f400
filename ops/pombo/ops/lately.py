"""What went on lately: rates of the last minute, and what died in the last quarter of an hour, of many sources.

One look at the ledgers tells no rate. Workers sample every source that is astir each 10 s, and this reads the ends
of their samples: three commands a source, in pipelines.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from pombo.ops.overview import Overview, SourceView
from pombo.ops.problems import Recent
from pombo.ops.top.rates import Rates
from pombo.shared.history import SAMPLE_S, Sample
from pombo.shared.keys import Keys

RATE_MS: Final = 60_000
"""What rates are of."""
RECENT_MS: Final = 900_000
"""What `Recent` is of."""
_ENDING: Final = RATE_MS // (SAMPLE_S * 1000) + 2
"""Samples of the last minute, and one before it."""
_ABREAST: Final = 200
"""Sources in a pipeline."""


@dataclass(frozen=True, slots=True)
class Lately:
    """One source's last minutes."""

    rates: Rates
    recent: Recent


async def read_lately(redis: Redis, keys: Keys, overview: Overview) -> dict[str, Lately]:
    """Read the last minutes of all sources that were sampled."""
    views, found = [*overview.sources.values()], dict[str, Lately]()
    for some in (views[at : at + _ABREAST] for at in range(0, len(views), _ABREAST)):
        async with redis.pipeline(transaction=False) as pipe:
            for view in some:
                # Whoever has no dead letters is not asked what died: that would be a quarter of an hour of samples.
                pipe.lrange(keys.of(view.name).history, 0 if view.ledger.dead > 0 else -_ENDING, -1)
            replies = await pipe.execute()
        found |= dict(_all(some, replies))
    return found


def _all(views: Sequence[SourceView], replies: Sequence[Any]) -> Iterator[tuple[str, Lately]]:
    for view, stored in zip(views, replies, strict=True):
        samples = [sample for text in stored if (sample := Sample.parse(text)) is not None]
        told = lately(view, samples)
        if told is not None:
            yield view.name, told


def lately(view: SourceView, samples: Sequence[Sample]) -> Lately | None:
    """The last minutes of a source.

    Args:
        view: the source as it is now.
        samples: in order of time; none is nothing known.
    """
    now = view.flow.now
    base = _before(samples, now - RATE_MS)
    if base is None or base.at >= now:
        return None
    ledger = view.ledger
    moved = (
        ledger.accepted - base.sums.accepted,
        ledger.delivered - base.sums.delivered,
        ledger.deduplicated - base.sums.deduplicated,
        sum(ledger.died_by_reason.values()) - base.sums.dead,
    )
    # Where nothing was sampled nothing moved, so what moved since did so within the last minute.
    seconds = min(now - base.at, RATE_MS) / 1000
    rates = Rates(*(max(0, count) / seconds for count in moved))
    start = _before(samples, now - RECENT_MS)
    died = sum(ledger.died_by_reason.values()) - start.sums.dead if start else 0
    return Lately(rates, Recent(max(0, died), drain_s=_drain(view, rates)))


def recents(found: Mapping[str, Lately]) -> dict[str, Recent]:
    """What `problems` needs of it."""
    return {name: one.recent for name, one in found.items()}


def _before(samples: Iterable[Sample], at: int) -> Sample | None:
    """The last sample that was taken before a moment; without one the first after it."""
    chosen = None
    for sample in samples:
        if chosen is None or sample.at <= at:
            chosen = sample
    return chosen


def _drain(view: SourceView, rates: Rates) -> float | None:
    shrinks = rates.delivered + rates.deduplicated + rates.dead - rates.accepted
    waiting = view.ledger.queued + view.ledger.in_flight
    return waiting / shrinks if shrinks > 0 else None
