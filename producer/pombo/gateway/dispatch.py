"""Dispatch: a request's events and letters are made durable, or the request is refused."""

import random
from collections.abc import Sequence

from pombo.gateway.answers import Refusal, wait_s
from pombo.gateway.exchange import Exchange
from pombo.gateway.keyring import Keyring
from pombo.gateway.letters import Letter
from pombo.gateway.producers import Outcome, Producers
from pombo.producer.metrics import Metrics
from pombo.producer.receipts import Reason
from pombo.shared.clock import Clock
from pombo.shared.errors import InvalidEvent
from pombo.shared.prepared import Prepared

_REFUSALS = {
    "backlog_full": (429, "the source's queue is at its limit, as its events are not delivered as fast as they come"),
    "unconfirmed": (503, "whether the events are stored is not known; with the same messageIds they are sent once"),
}
_UNAVAILABLE = (503, "the events cannot be stored now")


class Dispatch:
    """Hand on what a request brings, and see that all of it is durable."""

    def __init__(
        self, keyring: Keyring, producers: Producers, metrics: Metrics, clock: Clock, rng: random.Random
    ) -> None:
        self._keyring = keyring
        self._producers = producers
        self._metrics = metrics
        self._clock = clock
        self._rng = rng

    def refuse(self, exchange: Exchange, error: InvalidEvent) -> Refusal:
        """Count and refuse a call whose one event can never be sent; it is not accepted."""
        reason: Reason = "too_large" if error.code == "too_large" else "invalid"
        self._metrics.rejected(str(exchange.source), reason)
        exchange.rejected = 1
        return Refusal(400, error.code, error.message, field=error.field or None)

    async def __call__(
        self, exchange: Exchange, key: str, events: Sequence[Prepared], letters: Sequence[Letter] = ()
    ) -> None:
        """Return once all is durable; what is, is not lost by a refusal: its copy will be found a duplicate.

        Args:
            exchange: the request, with its source.
            key: by which it came; looked up again if its source is not there any more.
            events: to be sent.
            letters: to be kept.

        Raises:
            Refusal: something is not durable.
        """
        channel = self._producers.of(str(exchange.source))
        outcome = await channel.send(events, letters)
        lasting = channel.note(self._clock.monotonic(), troubled=not outcome.well)
        if outcome.well:
            return
        if outcome.unknown_source:
            self._keyring.forget(key)
            await self._keyring.owner(key)  # Says whether it was removed, or Redis lost it.
        raise refusal(outcome, wait_s(lasting, self._rng))


def refusal(outcome: Outcome, retry_after_s: int) -> Refusal:
    """What to answer when not all is durable: what has to be waited for longest decides."""
    reasons = {one.reason for one in outcome.rejected}
    if reasons:
        status, reason = max((_REFUSALS.get(reason, _UNAVAILABLE)[0], reason) for reason in reasons)
        message = f"{_REFUSALS.get(reason, _UNAVAILABLE)[1]}; send them again later"
        return Refusal(status, reason, message, retry_after_s=retry_after_s)
    if outcome.letters == "full":
        message = "the source's dead letters are at their limit; discard or redrive some (`pombo dead list`)"
        return Refusal(429, "dead_letters_full", message, retry_after_s=retry_after_s)
    message = "the items that cannot be sent could not be kept as dead letters yet; send the batch again"
    return Refusal(503, "unavailable", message, retry_after_s=retry_after_s)
