"""Rasa: an event broker that sends what is said in its conversations.

In Rasa's `endpoints.yml`:

    event_broker:
      type: pombo.producer.rasa.PomboEventBroker
      source: support_bot

Rasa asks nothing of a broker's class but its methods, so nothing of Rasa is imported here.
"""

import asyncio
import logging
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from math import isfinite
from typing import Any, Literal, Protocol, Self, get_args

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.client import Producer
from pombo.shared.errors import ConfigurationError
from pombo.shared.prepared import LIBRARY
from pombo.shared.values import stamp

Bodies = Literal["full", "length", "drop"]
Perspective = Literal["bot", "customer"]

_logger = logging.getLogger("pombo.producer.rasa")


@dataclass(frozen=True, slots=True)
class RasaOptions:
    """What decides how Rasa's events become Segment's.

    Raises:
        ConfigurationError: a value is not among those that there are.
    """

    bodies: Bodies = "length"
    """What becomes of texts: sent, only measured, or neither."""
    perspective: Perspective = "bot"
    """Whose sending is `Message Sent`."""
    actions: bool = False
    """Whether the assistant's actions become `Action Invoked`."""

    def __post_init__(self) -> None:
        for name, given, known in (
            ("bodies", self.bodies, get_args(Bodies)),
            ("perspective", self.perspective, get_args(Perspective)),
            ("actions", self.actions, (True, False)),
        ):
            if given not in known:
                words = ", ".join(map(str, known))
                raise ConfigurationError(f"{name}: {given!r} of the event broker in endpoints.yml is none of {words}")


def adapt(event: Mapping[str, Any], options: RasaOptions) -> Adapted | None:
    """Turn an event of a tracker, as brokers get it, into `Message Sent` or `Message Received`; None: nothing was said.

    The userId, and what keeps the order, is Rasa's `sender_id`: on some channels that is a phone number.

    Raises:
        UnknownItem: it is no event of a tracker.
    """
    kind, sender = event.get("event"), event.get("sender_id")
    if not isinstance(kind, str) or not isinstance(sender, str) or not sender:
        raise UnknownItem("this is no event of a Rasa tracker: it has no `event` or no `sender_id`", "sender_id")
    match kind:
        case "user" | "bot":
            name, properties = _message(event, kind, options)
        case "session_started":
            name, properties = "Conversation Started", {}
        case "action" if options.actions:
            name, properties = "Action Invoked", {"action": event.get("name"), "role": "bot"}
        case _:
            return None
    properties["conversation"] = sender
    made = {
        "messageId": _message_id(event, kind, sender),
        "type": "track",
        "userId": sender,
        "event": name,
        "properties": {key: value for key, value in properties.items() if value is not None},
        "context": {"integration": {"name": "rasa", "version": LIBRARY["version"]}},
    }
    if (moment := _moment(event.get("timestamp"))) is not None:
        made["timestamp"] = stamp(moment)
    return Adapted(made, sender)


def _message(event: Mapping[str, Any], kind: str, options: RasaOptions) -> tuple[str, dict[str, Any]]:
    inbound = kind == "user"
    sent = inbound == (options.perspective == "customer")
    text = event.get("text")
    properties: dict[str, Any] = {
        "direction": "inbound" if inbound else "outbound",
        "role": "customer" if inbound else "bot",
        "channel": event.get("input_channel"),
        "content_type": "text/plain" if isinstance(text, str) and text else "application/json",
        **_intent(event.get("parse_data")),
    }
    if isinstance(text, str) and options.bodies == "full":
        properties["message_body"] = text
    elif isinstance(text, str) and options.bodies == "length":
        properties["body_length"] = len(text)
    return "Message Sent" if sent else "Message Received", properties


def _intent(parsed: object) -> dict[str, Any]:
    """What Rasa took a message for; the words in which it was said are left out."""
    intent = parsed.get("intent") if isinstance(parsed, Mapping) else None
    if not isinstance(intent, Mapping):
        return {}
    return {"intent": intent.get("name"), "intent_confidence": intent.get("confidence")}


def _message_id(event: Mapping[str, Any], kind: str, sender: str) -> str:
    """The same for the same event, also when `rasa export` publishes it again.

    Texts go in by their length: whoever sees the id, the sender and the time could else try all short ones.
    """
    text = event.get("text")
    parts = [sender, kind, event.get("timestamp"), event.get("name"), len(text) if isinstance(text, str) else None]
    return f"rasa-{sha256(repr(parts).encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"


def _moment(told: object) -> datetime | None:
    """When it was, in seconds since 1970; anything else counts as none, and the event gets the time of its arrival."""
    if not isinstance(told, int | float) or isinstance(told, bool) or not isfinite(told):
        return None
    try:
        return datetime.fromtimestamp(told, UTC)
    except (OverflowError, OSError, ValueError):
        return None


class Sender(Protocol):
    """What of a producer a broker uses; a bot's tests give it a fake one."""

    def enqueue(self, event: dict[str, Any], ordering_key: str | None = None) -> object:
        """Take an event."""

    def close(self) -> None:
        """Send what is buffered."""


class BrokerConfig(Protocol):
    """What Rasa read of `event_broker` in `endpoints.yml`."""

    kwargs: Mapping[str, Any]


class PomboEventBroker:
    """Rasa's event broker that hands events to pombo.

    Beside `source`, `endpoints.yml` may say `redis_url`, and what `RasaOptions` has.
    """

    def __init__(self, producer: Sender, options: RasaOptions | None = None) -> None:
        self._producer = producer
        self._options = options or RasaOptions()

    @classmethod
    async def from_endpoint_config(
        cls, broker_config: BrokerConfig, event_loop: AbstractEventLoop | None = None
    ) -> Self:
        """Make one of what Rasa read.

        Raises:
            ConfigurationError: an option is unknown, or has no use.
        """
        given = dict(broker_config.kwargs)
        wanted = {name: given.pop(name) for name in ("source", "redis_url") if name in given}
        try:
            options = RasaOptions(**given)
        except TypeError:
            known = ["source", "redis_url", *RasaOptions.__dataclass_fields__]
            unknown = ", ".join(sorted(set(given) - set(known)))
            raise ConfigurationError(
                f"event_broker in endpoints.yml has {unknown}, which pombo does not know; it knows {', '.join(known)}"
            ) from None
        return cls(Producer(**wanted), options)

    def publish(self, event: Mapping[str, Any]) -> None:
        """Take an event; never waits and never raises, as the conversation goes on meanwhile."""
        try:
            adapted = adapt(event, self._options)
        except UnknownItem as error:
            _logger.warning("an event of Rasa's was left out: %s", error.message)
            return
        if adapted is not None:
            self._producer.enqueue(adapted.event, adapted.ordering_key)

    def is_ready(self) -> bool:
        """Whether events can be taken: always, as they wait here while Redis is away."""
        return True

    async def close(self) -> None:
        """Send what is buffered; at the end of Rasa."""
        await asyncio.to_thread(self._producer.close)
