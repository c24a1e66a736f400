"""Rasa's event broker: what becomes of a tracker's events. Rasa itself is not needed."""

import inspect
import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.producer.adapted import Adapted, UnknownItem
from pombo.producer.rasa import PomboEventBroker, RasaOptions, adapt
from pombo.producer.testing import FakeProducer
from pombo.shared.errors import ConfigurationError
from pombo.shared.prepared import LIBRARY

SAID: dict[str, Any] = {
    "sender_id": "default", "timestamp": 1528402837.617099, "event": "bot", "text": "what your bot said",
    "data": "some data about e.g. attachments", "metadata": {"a key": "a value"},
}  # fmt: skip
"""The sample of Rasa's page on event brokers."""
ASKED: dict[str, Any] = {
    "sender_id": "u1", "timestamp": 1528402837.5, "event": "user", "text": "olá, quero o plano ouro",
    "input_channel": "rest", "message_id": "4b2a",
    "parse_data": {"intent": {"name": "choose_plan", "confidence": 0.97}, "entities": [], "text": "x"},
}  # fmt: skip


def made(event: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The event that comes of it."""
    found = adapt(event, RasaOptions(**options))
    assert found is not None
    return found.event


def test_what_the_bot_says() -> None:
    """A message of the bot is `Message Sent`, at its time, under the sender's id, without its words."""
    found = adapt(SAID, RasaOptions())
    assert found is not None
    message_id = found.event.pop("messageId")
    assert message_id.startswith("rasa-")
    expected = {
        "type": "track",
        "userId": "default",
        "event": "Message Sent",
        "timestamp": "2018-06-07T20:20:37.617099Z",
        "properties": {
            "direction": "outbound",
            "role": "bot",
            "content_type": "text/plain",
            "body_length": 18,
            "conversation": "default",
        },
        "context": {"integration": {"name": "rasa", "version": LIBRARY["version"]}},
    }
    assert Adapted(expected, "default") == found


def test_what_the_customer_says() -> None:
    """A customer's message has channel and intent; its words only for who asks for them."""
    properties = made(ASKED)["properties"]
    assert ("inbound", "customer", "rest", "choose_plan", 0.97, 23) == tuple(
        properties[name] for name in ("direction", "role", "channel", "intent", "intent_confidence", "body_length")
    )
    assert "ouro" not in json.dumps(made(ASKED))
    assert ASKED["text"] == made(ASKED, bodies="full")["properties"]["message_body"]
    assert set() == {"message_body", "body_length"} & set(made(ASKED, bodies="drop")["properties"])


@pytest.mark.parametrize(
    ("perspective", "names"),
    [("bot", ["Message Received", "Message Sent"]), ("customer", ["Message Sent", "Message Received"])],
)
def test_perspective(perspective: str, names: list[str]) -> None:
    """Whose sending is `Message Sent` is a choice; the direction is told in any case."""
    assert names == [made(event, perspective=perspective)["event"] for event in (ASKED, SAID)]


def test_other_events_of_a_tracker() -> None:
    """A session's start is told, actions on demand; slots and the rest say nothing."""
    common = {"sender_id": "u1", "timestamp": 1.0}
    assert "Conversation Started" == made({**common, "event": "session_started"})["event"]
    action = {**common, "event": "action", "name": "action_listen"}
    assert "action_listen" == made(action, actions=True)["properties"]["action"]
    silent = [action, *({**common, "event": kind} for kind in ("slot", "user_featurization", "restart"))]
    assert [None] * 4 == [adapt(event, RasaOptions()) for event in silent]


def test_ids_repeat_and_differ() -> None:
    """The same event gets the same id again, and events that differ in sender, kind or time do not share one."""
    others = [SAID, {**SAID, "sender_id": "u2"}, {**SAID, "event": "user"}, {**SAID, "timestamp": 1528402837.617100}]
    assert made(SAID)["messageId"] == made(json.loads(json.dumps(SAID)))["messageId"]
    assert len(others) == len({made(event)["messageId"] for event in others})


@pytest.mark.parametrize(
    "event", [{}, {"event": "bot"}, {"event": "bot", "sender_id": ""}, {"event": 1, "sender_id": "u"}]
)
def test_no_event_of_a_tracker(event: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """What is none is named as such by the adapter, and logged and left out by the broker."""
    with pytest.raises(UnknownItem):
        adapt(event, RasaOptions())
    producer = FakeProducer()
    PomboEventBroker(producer).publish(event)
    assert [] == producer.events
    assert "left out" in caplog.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.sampled_from(["user", "bot", "session_started", "action"]),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("text", "timestamp", "input_channel", "parse_data", "metadata", "name"), JSON)
    ),
)
def test_the_broker_raises_for_nothing(kind: str, rest: dict[str, Any]) -> None:
    """Whatever an event holds, publishing it never raises, and what is taken is an event that Segment keeps."""
    producer = FakeProducer()
    PomboEventBroker(producer, RasaOptions(bodies="full", actions=True)).publish(
        {"event": kind, "sender_id": "u1", **rest}
    )
    assert 1 == len(producer.events) + len(producer.rejected)
    assert {"u1"} >= {event["userId"] for event in producer.events}


async def test_from_endpoints_yml() -> None:
    """Rasa makes a broker of what `endpoints.yml` says; words that mean nothing are refused with those that do."""
    given = SimpleNamespace(kwargs={"source": "support_bot", "redis_url": "redis://localhost:1", "bodies": "drop"})
    broker = await PomboEventBroker.from_endpoint_config(given)
    assert broker.is_ready()
    await broker.close()
    with pytest.raises(
        ConfigurationError, match="has body, which pombo does not know; it knows source, redis_url, bodies"
    ):
        await PomboEventBroker.from_endpoint_config(SimpleNamespace(kwargs={"body": "drop"}))
    with pytest.raises(ConfigurationError, match=r"bodies: 'none' .* is none of full, length, drop"):
        await PomboEventBroker.from_endpoint_config(SimpleNamespace(kwargs={"bodies": "none"}))


def test_it_has_what_rasa_calls() -> None:
    """Rasa awaits the making and the closing, and calls the rest; it need not be installed."""
    awaited = ("from_endpoint_config", "close")
    assert all(inspect.iscoroutinefunction(getattr(PomboEventBroker, name)) for name in awaited)
    assert not any(inspect.iscoroutinefunction(getattr(PomboEventBroker, name)) for name in ("publish", "is_ready"))
    assert "rasa" not in sys.modules
