"""The trial of a source: one test event goes the whole road, and what stands in its way is named.

1. The event is sent as a bot sends one, through a producer with this process's settings.
2. It is looked for where it must go: claimed, in flight, and then gone, or dead.
3. When the time is over, or when it is known sooner that it must wait, the obstacles are read.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from redis.asyncio import Redis

from pombo.ops.overview import SourceView, WorkerView, read_source, read_workers
from pombo.ops.trace import Place, Search
from pombo.ops.wording import age, plural
from pombo.producer import AsyncProducer, Rejected, Spooled
from pombo.shared.batches import partition_of
from pombo.shared.errors import ConfigurationError
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys
from pombo.shared.settings import Settings
from pombo.shared.sources import Source

EVENT: Final = "pombo Test Event"
USER: Final = "pombo-test"
INTEGRATIONS: Final = {"All": False}
"""The event reaches the source in Segment, and goes on to none of its destinations."""
POLL_S = 0.02
SETTLED_S: Final = 1.0
"""Of a source that is shut, after which what is in flight has had its answer, or will have none."""
REMINDER = (
    "Segment answers 200 to write keys that it does not know and drops the events: look for "
    f"{EVENT!r} of user {USER!r} in the source's debugger in Segment"
)

_SPOOLED = "it is on this machine's disk: Redis did not take it, or earlier events wait there; see `pombo doctor`"

Outcome = Literal["delivered", "dead", "waiting", "spooled", "rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a test event fared."""

    source: str
    outcome: Outcome
    message_id: str | None = None
    accepted_ms: float | None = None
    """From the call until Redis had it."""
    delivered_s: float | None = None
    """From the call until Segment's answer was noted."""
    obstacles: Sequence[str] = ()
    """What stands in its way, the first one most."""
    place: Place | None = None
    """Where it was last seen, when it is not delivered."""

    def describe(self) -> dict[str, Any]:
        """The JSON of `sources test`."""
        return {
            "source": self.source, "outcome": self.outcome, "event": EVENT, "message_id": self.message_id,
            "accepted_ms": _rounded(self.accepted_ms, 1), "delivered_s": _rounded(self.delivered_s, 3),
            "obstacles": list(self.obstacles),
            "place": self.place and self.place.describe(),
        }  # fmt: skip


async def try_source(settings: Settings, redis: Redis, source: Source, timeout_s: float) -> Trial:
    """Send one test event to a source, and follow it for `timeout_s` seconds at most.

    Raises:
        ConfigurationError: producers with these settings drop their events.
    """
    if settings.disabled:
        raise ConfigurationError("POMBO_DISABLED is on, and producers here drop their events; unset it")
    begun = time.monotonic()
    async with AsyncProducer(source.name, settings=settings, budget_s=timeout_s) as producer:
        receipt = await producer.track(USER, EVENT, {"sent_by": "pombo sources test"}, integrations=dict(INTEGRATIONS))
    accepted_ms = (time.monotonic() - begun) * 1000
    outcome, message_id = receipt.outcome, receipt.message_id or ""
    if isinstance(outcome, Rejected):
        return Trial(source=source.name, outcome="rejected", obstacles=[str(outcome)])
    if isinstance(outcome, Spooled):
        return Trial(source=source.name, outcome="spooled", message_id=message_id, obstacles=[_SPOOLED])
    road = Road(redis, settings.keys, source, message_id)
    place = await road.follow(begun + timeout_s)
    trial = Trial(source=source.name, outcome="waiting", message_id=message_id, accepted_ms=accepted_ms, place=place)
    if place is not None and place.state == "delivered":
        return replace(trial, outcome="delivered", delivered_s=time.monotonic() - begun, place=None)
    if place is not None and place.state == "dead":
        return replace(trial, outcome="dead", obstacles=[_verdict(place)])
    return replace(trial, obstacles=await road.obstacles(place))


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _verdict(place: Place) -> str:
    answer = " ".join(str(part) for part in (place.status, place.answer) if part)
    return f"it is dead, {place.reason}: {answer or 'no answer'}; `pombo dead show {place.letter}`"


class Road:
    """Where a test event goes, once it is accepted."""

    def __init__(
        self, redis: Redis, keys: Keys, source: Source, message_id: str, *, settled_s: float = SETTLED_S
    ) -> None:
        self._redis = redis
        self._settled_s = settled_s
        self._keys = keys
        self._source = source
        self._search = Search(redis, keys, source, message_id)
        self._partition = partition_of(USER, source.partitions)

    async def follow(self, until: float) -> Place | None:
        """Look until it is at its end, must wait for a person, or the time (monotonic) is over; None: still queued."""
        start, shut_at = f"{await redis_now(self._redis) - 60_000}-0", float("inf")
        while True:
            place = await self.look(start)
            if (place is not None and place.state != "in_flight") or time.monotonic() >= until:
                return place
            if await self._is_shut():
                # Its own request may be what parked the source; another one's may still be on the wire.
                shut_at = min(shut_at, time.monotonic())
                if place is None or time.monotonic() - shut_at >= self._settled_s:
                    return place
            await asyncio.sleep(POLL_S)

    async def look(self, start: str = "-") -> Place | None:
        """Its place, if it has left the queue: whoever is remembered and not in flight any more has ended well."""
        memory = await self._search.memory()
        flying = await self._search.in_flight(self._partition)
        if flying:
            return flying[0]
        async for letter in self._search.dead(start):
            return letter
        return Place(source=self._source.name, state="delivered") if memory else None

    async def _is_shut(self) -> bool:
        view = await self._view()
        return view.state in {"parked", "paused"} or bool(view.flow.blocked)

    async def _view(self) -> SourceView:
        return await read_source(self._redis, self._keys, self._source, await redis_now(self._redis))

    async def obstacles(self, place: Place | None) -> list[str]:
        """What stands in its way, the first one most."""
        workers = await read_workers(self._redis, self._keys)
        return [*obstacles(await self._view(), workers, place)] or ["nothing that can be seen from here; look again"]


def obstacles(view: SourceView, workers: Sequence[WorkerView], place: Place | None) -> Iterator[str]:
    """What keeps an event of a source from being delivered: pure, nothing is read."""
    flow, name = view.flow, view.name
    if not any(worker.alive(flow.now) for worker in workers):
        yield "no worker lives; `pombo worker` starts one"
    if flow.parked is not None:
        yield (
            f"the source is parked: {flow.parked}; the test event does not go past that, it waits with the others: "
            f"repair it, then `pombo sources resume {name}`"
        )
    elif view.state == "paused":
        yield f"the source is paused; `pombo sources resume {name}`"
    elif view.state == "held":
        yield f"Segment asked to wait: it is held for {age(((flow.hold_until or 0) - flow.now) / 1000)} more"
    elif view.state != "active":
        yield f"the source is {view.state}: {flow.reason or 'Segment does not answer'}; workers probe it by themselves"
    for where, why in flow.blocked.items():
        yield f"{'the source' if where == 'key' else f'partition {where}'} waits: {why}"
    if place is not None and place.state == "in_flight" and place.attempts:
        tries = plural(place.attempts or 0, "time")
        yield f"it was sent {tries}, and Segment has not accepted it yet: see `delivery.attempted` in the worker's log"
    elif view.ledger.queued > 1:
        rate = f", at {view.rate_limit:g} events/s at most" if view.rate_limit else ""
        yield f"{plural(view.ledger.queued - 1, 'event')} of the source wait with it{rate}"
