"""Samples: what a source looked like at one moment, as Redis keeps it for the charts."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson
from redis.asyncio import Redis

from pombo.shared.flow import Flow
from pombo.shared.history.spans import Sight
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.scripts import script
from pombo.shared.sources import Source

SAMPLE_S: Final = 10
"""Seconds of a slot: a source has one sample in each, whoever took it."""
LATENCY_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43_200)
"""Upper bounds, in seconds, of the classes of age in which deliveries are counted; one more class is above."""
STATUS_CLASSES: Final = ("2xx", "3xx", "4xx", "429", "5xx", "error")
"""How answers are counted; `error` is none at all."""
RETRIES: Final = "retries"
"""The name under which requests are counted that have to be sent again."""
_VERSION = 1


class Sums(NamedTuple):
    """Events counted ever."""

    accepted: int = 0
    delivered: int = 0
    deduplicated: int = 0
    dead: int = 0
    """Died, whether redriven since or not."""

    @classmethod
    def of(cls, ledger: Ledger) -> "Sums":
        """What a ledger has counted."""
        return cls(ledger.accepted, ledger.delivered, ledger.deduplicated, sum(ledger.died_by_reason.values()))


class Waits(NamedTuple):
    """What has not come to its end."""

    queued: int = 0
    in_flight: int = 0
    age_ms: int = -1
    """Of the oldest entry; -1 without one."""


class Sample(NamedTuple):
    """One source at one moment, and what happened in the slot up to it. Times in ms of Redis' clock.

    A tuple of tuples: the charts of a day of a hundred sources are made of thirty thousand.
    """

    slot: int
    """When its slot began."""
    at: int
    """When it was taken."""
    sums: Sums
    waits: Waits
    highest: Waits
    """The highest within the slot."""
    rate: float = 0
    """Events a second that might be sent; 0: no limit."""
    tallies: Mapping[str, int] = MappingProxyType({})
    """Within the slot: answers by status class, `retries`, and ages by class, `b0` and on, as `LATENCY_S` has them."""
    sights: Sequence[Sight] = ()

    @classmethod
    def parse(cls, stored: bytes) -> "Sample | None":
        """Read what `sample.lua` wrote; None for what another version did."""
        try:
            version, slot, at, sums, waits, highest, rate, tallies, sights = orjson.loads(stored)
            if version != _VERSION:
                return None
            seen = [Sight(*sight) for sight in sights]
            return cls(slot, at, Sums(*sums), Waits(*waits), Waits(*highest), rate, tallies, seen)
        except (ValueError, TypeError):
            return None

    @classmethod
    def parse_all(cls, stored: Sequence[bytes]) -> "list[Sample]":
        """Read a list of them; without what another version wrote."""
        return [sample for text in stored if (sample := cls.parse(text)) is not None]

    @classmethod
    def of_now(cls, ledger: Ledger, flow: Flow, rate: float, age_ms: int) -> "Sample":
        """What a look at a source says that stores nothing."""
        sums = Sums.of(ledger)
        waits = Waits(ledger.queued, ledger.in_flight, age_ms)
        at = flow.now
        return cls(at - at % (SAMPLE_S * 1000), at, sums, waits, waits, rate, sights=[Sight.of(flow)])


def status_class(status: int | None) -> str:
    """The class in which an answer is counted; None is no answer."""
    if status is None:
        return "error"
    return "429" if status == 429 else f"{min(max(status // 100, 2), 5)}xx"


async def sample(
    redis: Redis,
    keys: Keys,
    source: Source,
    tallies: Mapping[str, int] | None = None,
    *,
    done: Sequence[int] = (0, 0, 0),
) -> bool:
    """Take a sample of a source, unless that of this slot is there already; raises what the client raises.

    It is one short script; at maxmemory Redis refuses it, and the charts have a gap.

    Args:
        redis: a client.
        keys: the key catalogue.
        source: which.
        tallies: what a worker counted since its last one; it adds them to a sample that is there.
        done: events that it delivered, deduplicated and made dead letters since it began with this source.

    Returns:
        Whether something was written.
    """
    of = keys.of(source.name)
    streams = [of.stream(partition) for partition in range(source.partitions)]
    told: list[Any] = [orjson.dumps(tallies or {}), "1" if tallies is None else "", orjson.dumps(list(done))]
    names = [of.ledger, of.flow, of.history, of.history_day, *streams]
    return bool(await script("sample").acall(redis, names, [source.incarnation, source.rate, *told]))
