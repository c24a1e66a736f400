import inspect

import pytest

from pombo.producer.calls import Calls
from pombo.producer.testing import FakeProducer

COMMON = ["context", "timestamp", "anonymous_id", "integrations", "message_id"]
SEGMENT = {
    "identify": ["user_id", "traits", *COMMON],
    "track": ["user_id", "event", "properties", *COMMON],
    "page": ["user_id", "category", "name", "properties", *COMMON],
    "screen": ["user_id", "category", "name", "properties", *COMMON],
    "group": ["user_id", "group_id", "traits", *COMMON],
    "alias": ["previous_id", "user_id", "context", "timestamp", "integrations", "message_id"],
}


@pytest.mark.parametrize("call", SEGMENT)
def test_parameters_of_the_sdk(call: str) -> None:
    """Each call takes Segment's Python SDK's parameters, in its order, also by position."""
    parameters = inspect.signature(getattr(Calls, call)).parameters.values()
    positional = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert SEGMENT[call] == positional[1:]
    assert "ordering_key" in {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}


@pytest.mark.parametrize("call", SEGMENT)
def test_every_parameter_arrives(call: str) -> None:
    """Each parameter of a call is in the event, under Segment's name."""
    values = {
        "user_id": "u1", "anonymous_id": "a1", "event": "A", "properties": {"p": 1}, "traits": {"t": 1},
        "context": {"ip": "::1"}, "timestamp": "2026-01-01T00:00:00.000000Z", "integrations": {"All": True},
        "message_id": "m1", "category": "C", "name": "N", "group_id": "g1", "previous_id": "p1",
    }  # fmt: skip
    names = {
        "user_id": "userId", "anonymous_id": "anonymousId", "message_id": "messageId", "group_id": "groupId",
        "previous_id": "previousId",
    }  # fmt: skip
    producer = FakeProducer()
    getattr(producer, call)(**{name: values[name] for name in SEGMENT[call]}).result()
    (event,) = producer.events
    context = event.pop("context")
    assert {"ip": "::1", "library": context["library"]} == context
    expected = {names.get(name, name): values[name] for name in SEGMENT[call] if name != "context"}
    assert {"type": call, **expected} == event
