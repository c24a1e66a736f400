"""Segment's routes: single calls and batches, as every SDK sends them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pombo.gateway.answers import SUCCESS, Answer, Refusal, partly, unknown_route
from pombo.gateway.credentials import basic_key, body_key, no_key
from pombo.gateway.documents import parse
from pombo.gateway.exchange import Exchange
from pombo.gateway.intake import Intake
from pombo.gateway.items import Frame, Sorted
from pombo.gateway.keyring import Keyring
from pombo.shared.errors import InvalidEvent
from pombo.shared.shapes import SHAPES

SINGLE = {spelling: kind for kind in SHAPES for spelling in (kind, kind[0])}
"""Routes of single calls, and the type that each means."""
BATCH = frozenset({"batch", "import", "b"})
MOST_ITEMS = 10_000
"""Events in one request; Segment takes 2,500."""
SLICE = 100
"""Events that are sorted at a stretch: a millisecond or two, in which nobody else is served."""
_HOW = "give the source's intake key, or its write key, as the name of Basic authentication, or as `writeKey`"


class Segment:
    """Take calls and batches."""

    def __init__(self, keyring: Keyring, intake: Intake) -> None:
        self._keyring = keyring
        self._intake = intake

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer a request, once all that it brings is durable.

        Raises:
            Refusal: it is not taken, or not now.
            ClientGoneError: the client went away.
        """
        call = exchange.param("call")
        if call == "m":
            return SUCCESS  # The browser SDK's metrics of itself.
        if call not in SINGLE and call not in BATCH:
            raise unknown_route(exchange.path)
        header = basic_key(exchange.headers.get(b"authorization"))
        # Before the body is read: a stranger's body takes no room.
        owner = None if header is None else (self._keyring.known(header) or await self._keyring.owner(header))
        with self._intake.share() as share:
            body = await self._intake.read(exchange, share)
            document, items = _parsed(body, call)
            key = header or body_key(document, items)
            if key is None:
                raise no_key(_HOW)
            owner = owner or self._keyring.known(key)
            if owner is None:
                # Parsed it takes many times the room that was counted for it: not while Redis is asked for a stranger.
                del document, items
                owner = await self._keyring.owner(key)
                document, items = _parsed(body, call)
            del body
            exchange.source = owner.source
            exchange.events = len(items)
            single = call in SINGLE
            sorted_ = self._one(exchange, document) if single else await _sorted(exchange, document, items)
            del document, items  # Parsed they take several times the room that was counted for them.
            await self._intake.dispatch(exchange, key, sorted_.good, sorted_.dead)
            return partly(sorted_.rejected)

    def _one(self, exchange: Exchange, document: dict[str, Any]) -> Sorted:
        found = Sorted(Frame(exchange.received_at))
        try:
            found.add({**document, "type": SINGLE[exchange.param("call")]})
        except InvalidEvent as error:
            raise self._intake.dispatch.refuse(exchange, error) from None
        return found


async def _sorted(exchange: Exchange, document: Mapping[str, Any], items: list[Any]) -> Sorted:
    found = Sorted(Frame.of(document, exchange.received_at))
    for index, item in enumerate(items):
        if index % SLICE == 0 and index:
            await asyncio.sleep(0)
        found.take(index, item)
    exchange.rejected = len(found.rejected)
    return found


def _parsed(body: bytes, call: str) -> tuple[dict[str, Any], list[Any]]:
    """The document of a call or a batch, and its items."""
    document = parse(body)
    return document, [document] if call in SINGLE else _items(document)


def _items(document: Mapping[str, Any]) -> list[Any]:
    items = document.get("batch")
    if not isinstance(items, list):
        raise Refusal(
            400, "invalid_request", "the body has no array `batch`; a single event goes to /v1/track and such"
        )
    if len(items) > MOST_ITEMS:
        message = f"the batch has {len(items):,} events; send {MOST_ITEMS:,} at most at once (Segment: 2,500)"
        raise Refusal(413, "too_many_events", message)
    return items
