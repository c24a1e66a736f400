"""The producers of a gateway: one a source, shared by all requests, so that they share round trips."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from redis.asyncio import Redis

from pombo.gateway.catalogue import Catalogue
from pombo.gateway.letters import Fate, Letter, Letterbox
from pombo.producer import AsyncProducer, Receipt, Rejected
from pombo.producer.metrics import Metrics
from pombo.shared.clock import Clock
from pombo.shared.prepared import Prepared
from pombo.shared.settings import Settings

BUDGET_S = 2.0
"""Seconds from an event's entry to its outcome: SDKs wait 10 s for an answer."""
EVENTS = 50_000
"""Events of one source without an outcome: a second of full load, over a stalled Redis."""
STUCK_S = 10.0
"""Seconds beyond the budget after which a producer that has not settled its oldest event makes no progress."""


@dataclass(frozen=True)
class Outcome:
    """What became of a request's events and letters."""

    receipts: Sequence[Receipt]
    letters: Fate

    @cached_property
    def rejected(self) -> list[Rejected]:
        """Why events were not taken."""
        found = (receipt.outcome for receipt in self.receipts)
        return [outcome for outcome in found if isinstance(outcome, Rejected)]

    @property
    def well(self) -> bool:
        """Whether all is durable."""
        return not self.rejected and self.letters == "kept"

    @property
    def unknown_source(self) -> bool:
        """Whether there is no such source any more."""
        return self.letters == "unknown_source" or any(one.reason == "unknown_source" for one in self.rejected)


class Channel:
    """The way of one source's events: its producer and its letterbox."""

    def __init__(self, producer: AsyncProducer, letterbox: Letterbox | None) -> None:
        self._producer = producer
        self._letterbox = letterbox
        self._troubled_at: float | None = None

    async def send(self, events: Sequence[Prepared], letters: Sequence[Letter]) -> Outcome:
        """Make events and letters durable, side by side; return once the outcome of all is known."""
        if not letters:
            return Outcome(await self._producer.enqueue_prepared(events), "kept")
        receipts, fate = await asyncio.gather(self._producer.enqueue_prepared(events), self._put(letters))
        return Outcome(receipts, fate)

    async def _put(self, letters: Sequence[Letter]) -> Fate:
        return "kept" if self._letterbox is None else await self._letterbox.put(letters)

    def note(self, now: float, *, troubled: bool) -> float:
        """Note how a request fared; seconds for which the trouble has lasted by now."""
        if not troubled:
            self._troubled_at = None
            return 0.0
        self._troubled_at = now if self._troubled_at is None else self._troubled_at
        return now - self._troubled_at

    @property
    def stuck(self) -> bool:
        """Whether it makes no progress."""
        return self._producer.waiting_s > BUDGET_S + STUCK_S

    async def close(self) -> None:
        """Send what is buffered."""
        await self._producer.close()
        if self._letterbox is not None:
            await self._letterbox.close()


class Producers:
    """Make a channel for each source that has requests."""

    def __init__(self, settings: Settings, redis: Redis, catalogue: Catalogue, clock: Clock, metrics: Metrics) -> None:
        self._settings = settings
        self._redis = redis
        self._catalogue = catalogue
        self._clock = clock
        self._metrics = metrics
        self._channels: dict[str, Channel] = {}

    def of(self, source: str) -> Channel:
        """The channel of a source."""
        found = self._channels.get(source)
        if found is None:
            found = self._channels[source] = self._made(source)
        return found

    def _made(self, source: str) -> Channel:
        producer = AsyncProducer(
            source,
            settings=self._settings,
            budget_s=BUDGET_S,
            buffer_events=EVENTS,
            # Requests are bounded by their own bytes, for all sources together.
            buffer_bytes=2 * self._settings.gateway_in_flight_bytes,
            clock=self._clock,
            metrics=self._metrics,
        )
        if self._settings.disabled:
            return Channel(producer, None)
        keys = self._settings.keys
        return Channel(producer, Letterbox(self._redis, keys, source, self._catalogue, self._clock))

    @property
    def stuck(self) -> list[str]:
        """Sources whose events make no progress."""
        return sorted(name for name, channel in self._channels.items() if channel.stuck)

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))
