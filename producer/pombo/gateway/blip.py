"""Blip's routes: what its data webhook sends, item by item.

Many failures in a row make Blip stop sending for hours, and what it did not send then is lost. So whatever comes with
the right key is answered 200 once it is durable: as events, or as a dead letter where pombo does not know it.
"""

import asyncio
from typing import Any

from pombo.gateway.answers import Answer, Refusal, partly, unknown_route
from pombo.gateway.documents import read_json
from pombo.gateway.exchange import Exchange
from pombo.gateway.intake import Intake
from pombo.gateway.items import Frame, Sorted
from pombo.gateway.segment import MOST_ITEMS, SLICE
from pombo.gateway.webhooks import Webhooks
from pombo.producer.adapted import UnknownItem
from pombo.producer.blip import BlipOptions, Kind, adapt

KINDS = {kind.value: kind for kind in (Kind.MESSAGES, Kind.EVENTS, Kind.CONTACTS)}
"""What a route may say of its items."""


class Blip:
    """Take items of Blip's data webhook."""

    def __init__(self, webhooks: Webhooks, intake: Intake) -> None:
        self._webhooks = webhooks
        self._intake = intake

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer a request, once all that it brings is durable.

        Raises:
            Refusal: it is not taken, or not now.
            ClientGoneError: the client went away.
        """
        kind = _kind(exchange)
        source, key = await self._webhooks.admit(exchange)
        if not source.blip:
            message = (
                f"the source does not take Blip's items; `pombo sources set {source.name} --blip` has it take them"
            )
            raise Refusal(403, "not_for_blip", message)
        options = BlipOptions.of(source, await self._webhooks.id_key(source))
        with self._intake.share() as share:
            body = await self._intake.read(exchange, share)
            sorted_ = await sort_body(body, Frame(exchange.received_at), options, kind)
            del body
            exchange.events = len(sorted_.good)
            exchange.rejected = len(sorted_.dead)
            await self._intake.dispatch(exchange, key, sorted_.good, sorted_.dead)
        return partly(sorted_.rejected)


def _kind(exchange: Exchange) -> Kind | None:
    name = exchange.scope["path_params"].get("kind")
    if name is None:
        return None
    if name not in KINDS:
        raise unknown_route(exchange.path)
    return KINDS[name]


def _items(body: bytes) -> list[Any]:
    """The items of a body: one, an array of them, or a body that is none at all."""
    try:
        document = read_json(body)
    except Refusal:
        return [body]
    return document if isinstance(document, list) and 0 < len(document) <= MOST_ITEMS else [document]


async def sort_body(body: bytes, frame: Frame, options: BlipOptions, kind: Kind | None) -> Sorted:
    """Sort the events of all items of a body; others are served after every `SLICE` items."""
    sorted_ = Sorted(frame)
    try:
        for index, item in enumerate(_items(body)):
            if index % SLICE == 0 and index:
                await asyncio.sleep(0)
            _sort(sorted_, index, item, options, kind)
    except Refusal as refusal:  # An item is nested so deep that it cannot be written by itself.
        sorted_ = Sorted(frame)
        sorted_.keep(0, body, refusal.message)
    return sorted_


def _sort(sorted_: Sorted, index: int, item: Any, options: BlipOptions, kind: Kind | None) -> None:
    try:
        if isinstance(item, bytes):
            raise UnknownItem("the body is no JSON")
        events = adapt(item, options, kind=kind)
    except UnknownItem as error:
        sorted_.keep(index, item, error.message)
        return
    for event, ordering_key in events:
        sorted_.put(index, event, ordering_key)
