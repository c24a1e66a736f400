"""Prepared events: the bytes, the defaults and the limits."""

import copy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from importlib.metadata import version
from typing import Any

import orjson
import pytest

from pombo.shared.errors import InvalidEvent
from pombo.shared.events import BaseEvent, Track, parse
from pombo.shared.prepared import MAX_BYTES, Prepared, prepare, prepare_by_model

NOW = datetime(2026, 11, 21, 19, 0, 50, 834123, UTC)
TRACK: dict[str, Any] = {"type": "track", "user_id": "u1", "event": "Message Sent"}
LIBRARY = {"name": "pombo", "version": version("pombo")}


class Plan(StrEnum):
    GOLD = "gold"


def ready(event: Any, **options: Any) -> Prepared:
    return prepare(event, now=NOW, new_id=lambda: "m1", **options)


def wire(event: Any, **options: Any) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(ready(event, **options).body)
    return content


def refusal(event: Any, **options: Any) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as caught:
        ready(event, **options)
    return caught.value.field, caught.value.code


def test_a_track_becomes_the_bytes_that_segment_gets() -> None:
    """The body is compact, begins with the messageId and carries only what was given or filled in."""
    library = orjson.dumps(LIBRARY).decode()
    expected = (
        '{"messageId":"m1","type":"track","userId":"u1","event":"Message Sent",'
        '"timestamp":"2026-11-21T19:00:50.834123Z","context":{"library":' + library + "}}"
    )

    assert Prepared("m1", "track", "u1", expected.encode()) == ready(TRACK)


def test_a_given_message_id_comes_first_too() -> None:
    """Wherever the caller put its messageId, a worker finds it at the start of the body."""
    prepared = ready({**TRACK, "messageId": "mine"})

    assert "mine" == prepared.message_id
    assert prepared.body.startswith(b'{"messageId":"mine","type":"track",')
    assert prepare_by_model({**TRACK, "messageId": "mine"}, now=NOW).body.startswith(b'{"messageId":"mine","type"')


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (NOW.astimezone(timezone(timedelta(hours=-3))), "2026-11-21T19:00:50.834123Z"),
        (datetime(2026, 1, 2), "2026-01-02T00:00:00.000000Z"),
        ("2026-11-21T16:00:50-03:00", "2026-11-21T19:00:50.000000Z"),
        (None, "2026-11-21T19:00:50.834123Z"),
    ],
)
def test_timestamps_are_written_in_utc(given: Any, written: str) -> None:
    """Every timestamp leaves as UTC with microseconds; an absent one is now."""
    assert written == wire({**TRACK, "timestamp": given})["timestamp"]


@pytest.mark.parametrize("context", [None, {}, {"ip": "10.0.0.1"}, {"library": None}])
def test_library_is_pombo_unless_given(context: Any) -> None:
    """Events name their sender, beside whatever context the caller gave."""
    assert {**(context or {}), "library": LIBRARY} == wire({**TRACK, "context": context})["context"]


def test_a_given_library_stays() -> None:
    """An event that another SDK made keeps that SDK's name."""
    context = {"library": {"name": "analytics-go"}}

    assert context == wire({**TRACK, "context": context})["context"]


def test_absent_fields_are_omitted() -> None:
    """None is not sent at the top level, and is sent below it."""
    event = {**TRACK, "anonymousId": None, "integrations": None, "properties": {"coupon": None}}

    assert list(wire(event)) == ["messageId", "type", "userId", "event", "properties", "timestamp", "context"]
    assert wire(event)["properties"] == {"coupon": None}


def test_the_callers_dicts_stay_as_they_are() -> None:
    """Preparing changes nothing that the caller holds, even where it repairs."""
    event = {**TRACK, "context": {"a": ("\ud800",)}, "properties": {"p": Plan.GOLD, "d": Decimal("1.0")}}
    before = copy.deepcopy(event)

    ready(event)

    assert before == event


@pytest.mark.parametrize(
    ("ids", "ordering_key", "expected"),
    [
        ({"userId": "u", "anonymousId": "a"}, None, "u"),
        ({"userId": None, "anonymousId": "a"}, None, "a"),
        ({"userId": "u"}, "conversation-1", "conversation-1"),
        ({"userId": "u"}, "cut\ud83d", "cut\ufffd"),
        ({"userId": "cut\ud83d"}, None, "cut\ufffd"),
    ],
)
def test_ordering_key(ids: dict[str, Any], ordering_key: str | None, expected: str) -> None:
    """The ordering key is the given one, else the userId, else the anonymousId; always UTF-8."""
    event = {"type": "track", "event": "e", **ids}

    assert expected == ready(event, ordering_key=ordering_key).ordering_key


@pytest.mark.parametrize("ordering_key", ["", 5, b"k"])
def test_an_ordering_key_is_a_non_empty_string(ordering_key: Any) -> None:
    """A key that would put everyone into one partition is a mistake."""
    assert ("orderingKey", "ordering_key_not_string") == refusal(TRACK, ordering_key=ordering_key)


def test_a_model_is_as_good_as_its_dict() -> None:
    """A ready model and the dict it came from make the same event."""
    event = {**TRACK, "properties": {"n": Decimal("1.50"), "when": NOW}, "_metadata": {"jsRuntime": "node"}}
    model = parse(event)

    assert isinstance(model, BaseEvent)
    assert wire(event) == wire(model)
    assert wire({**event, "vendor": 1}, strict=False) == wire(parse({**event, "vendor": 1}, strict=False))


def test_a_model_that_was_changed_inside_is_checked_again() -> None:
    """A model's dicts can be changed after it was made: what leaves is checked all the same."""
    model = Track(user_id="u", event="e", properties={"n": 1})
    assert model.properties is not None
    model.properties["n"] = float("nan")

    assert ("properties.n", "not_finite") == refusal(model)


def test_the_size_limit_is_inclusive() -> None:
    """The largest event that Segment takes passes, and one byte more is refused with its largest part."""
    room = MAX_BYTES - len(ready({**TRACK, "properties": {"text": ""}}).body)

    assert len(ready({**TRACK, "properties": {"text": "x" * room}}).body) == MAX_BYTES
    with pytest.raises(InvalidEvent, match="has 32,001 bytes as JSON and Segment takes 32,000; shorten properties"):
        ready({**TRACK, "properties": {"text": "x" * (room + 1)}})
    assert ("properties", "too_large") == refusal({**TRACK, "properties": {"text": "é" * room}})
    assert ("properties", "too_large") == refusal({**TRACK, "properties": {"text": "\ud800" * room}})


def test_too_many_properties_are_named_before_the_size() -> None:
    """10,001 keys are over both limits; the one that says more is named."""
    assert refusal({"type": "identify", "userId": "u", "traits": {f"{n}": 0 for n in range(10_001)}}) == (
        "traits",
        "too_many_properties",
    )


def test_no_newline_in_any_body() -> None:
    """A record batch is cut at newlines."""
    event = {**TRACK, "event": "a\nb", "properties": {"\n": "\r\n", "cut\ud800": "\n"}}

    assert b"\n" not in ready(event).body
