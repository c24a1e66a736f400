"""QuickBot's route: one Segment block, with the variables of its conversation."""

import orjson

from pombo.gateway.answers import SUCCESS, Answer
from pombo.gateway.documents import parse
from pombo.gateway.exchange import Exchange
from pombo.gateway.intake import Intake
from pombo.gateway.webhooks import Webhooks
from pombo.producer.quickbot import adapt
from pombo.shared.errors import InvalidEvent
from pombo.shared.prepared import Prepared, prepare

NOT_SENT = Answer(200, orjson.dumps({"success": True, "sent": False}))
"""The request's condition does not hold."""


class QuickBot:
    """Take blocks."""

    def __init__(self, webhooks: Webhooks, intake: Intake) -> None:
        self._webhooks = webhooks
        self._intake = intake

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer a request, once its event is durable.

        Raises:
            Refusal: it is not taken, or not now.
            ClientGoneError: the client went away.
        """
        source, key = await self._webhooks.admit(exchange)
        with self._intake.share() as share:
            body = await self._intake.read(exchange, share)
            exchange.events = 1
            try:
                prepared = _prepared(exchange, body, source.name)
            except InvalidEvent as error:
                raise self._intake.dispatch.refuse(exchange, error) from None
            del body
            if prepared is None:
                return NOT_SENT
            await self._intake.dispatch(exchange, key, [prepared])
        return SUCCESS


def _prepared(exchange: Exchange, body: bytes, source: str) -> Prepared | None:
    """The event that a request asks for; None when its condition does not hold.

    Raises:
        InvalidEvent: it cannot be sent.
        Refusal: the body is no JSON object.
    """
    idempotency_key = exchange.headers.get(b"idempotency-key", b"").decode("utf-8", "replace")
    adapted = adapt(parse(body), idempotency_key=idempotency_key or None, scope=source)
    if adapted is None:
        return None
    event, ordering_key = adapted
    return prepare(event, now=exchange.received_at, ordering_key=ordering_key, strict=False)
