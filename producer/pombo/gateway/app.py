"""The gateway as an ASGI application: which route leads where."""

import random
from collections.abc import Callable

from redis.asyncio import Redis
from starlette.routing import Route, Router

from pombo.gateway.answers import Answer, unknown_route, wait_s
from pombo.gateway.blip import Blip
from pombo.gateway.catalogue import Catalogue
from pombo.gateway.dispatch import Dispatch
from pombo.gateway.door import Door, Handler
from pombo.gateway.exchange import Exchange
from pombo.gateway.health import Health
from pombo.gateway.intake import Intake
from pombo.gateway.keyring import Keyring
from pombo.gateway.metrics import Metrics
from pombo.gateway.producers import Producers
from pombo.gateway.quickbot import QuickBot
from pombo.gateway.room import Room
from pombo.gateway.segment import Segment
from pombo.gateway.traffic import Traffic
from pombo.gateway.webhooks import Webhooks
from pombo.shared.clock import Clock
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets
from pombo.shared.settings import Settings


class Gateway:
    """Everything that one process of a gateway is made of; it belongs to one event loop."""

    def __init__(
        self,
        settings: Settings,
        secrets: Secrets,
        redis: Redis,
        *,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.traffic = Traffic(self.metrics.requests)
        self._clock = clock
        registry = Registry(redis, settings.keys, secrets)
        catalogue = Catalogue(redis, settings.keys, registry, clock)
        self._producers = Producers(settings, redis, catalogue, clock, self.metrics.producer)

        def soon() -> int:
            return wait_s(0.0, rng)

        self._room = Room(settings.gateway_in_flight_bytes, soon, clock.monotonic)
        keyring = Keyring(registry, clock, soon)
        health = Health(
            redis,
            settings.keys,
            self._producers,
            self._room,
            clock,
            spool=settings.spool_dir is not None,
            stopping=stopping,
        )
        dispatch = Dispatch(keyring, self._producers, self.metrics.producer, clock, rng)
        intake = Intake(dispatch, self._room, settings.gateway_body_bytes)
        webhooks = Webhooks(keyring, catalogue)
        segment = Segment(keyring, intake)
        blip = Blip(webhooks, intake)
        quickbot = QuickBot(webhooks, intake)
        # A router alone: what Starlette puts around it handles errors, and doors leave none.
        self.app = Router(
            routes=[
                *self._both("/v1/{call}", segment, "POST"),
                *self._both("/blip/{source}", blip, "POST"),
                *self._both("/blip/{source}/{kind}", blip, "POST"),
                *self._both("/quickbot/{source}", quickbot, "POST"),
                *self._both("/healthz", health.alive, "GET", "HEAD"),
                *self._both("/readyz", health.ready, "GET", "HEAD"),
                *self._both("/metrics", self.metrics, "GET", "HEAD"),
            ],
            redirect_slashes=False,
            default=self._door(_nowhere, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
        )

    def _both(self, path: str, handler: Handler, *methods: str) -> list[Route]:
        """The route with and without a trailing slash."""
        door = self._door(handler, *methods)
        return [Route(path, door, name=path), Route(f"{path}/", door, name=f"{path}/")]

    def _door(self, handler: Handler, *methods: str) -> Door:
        return Door(handler, methods, self._clock, self.traffic)

    async def close(self) -> None:
        """Bring what was taken to its outcome, and take no more."""
        await self._producers.close()


async def _nowhere(exchange: Exchange) -> Answer:
    raise unknown_route(exchange.path)
