"""The models: what they take, and what they refuse by field and code."""

import math
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import TypeAdapter

from pombo.shared.errors import InvalidEvent, PomboError
from pombo.shared.events import (
    MODELS,
    Alias,
    Event,
    Group,
    Identify,
    Page,
    Screen,
    Track,
    parse,
)
from pombo.shared.shapes import FIELDS, MAX_MESSAGE_ID, SHAPES

NOW = datetime(2026, 11, 21, 19, 0, 50, 834123, UTC)
VALID: dict[str, dict[str, Any]] = {
    "identify": {"type": "identify", "userId": "u1", "traits": {"plan": "gold"}},
    "track": {"type": "track", "userId": "u1", "event": "Message Sent", "properties": {"n": 1}},
    "page": {"type": "page", "anonymousId": "a1", "name": "Home", "category": "Docs"},
    "screen": {"type": "screen", "userId": "u1", "name": "Main"},
    "group": {"type": "group", "userId": "u1", "groupId": "g1", "traits": {"size": 3}},
    "alias": {"type": "alias", "userId": "u1", "previousId": "a1"},
}


class Hostile(tzinfo):
    """A time zone whose code is broken."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise KeyError("no such zone")

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        return "away"


class Kind(str, Enum):  # noqa: UP042 -- the mixin hashes by its name, a StrEnum by its text
    TRACK = "track"


def refusal(event: Any, *, strict: bool = True) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as caught:
        parse(event, strict=strict)
    assert caught.value.message
    return caught.value.field, caught.value.code


@pytest.mark.parametrize("kind", SHAPES)
def test_every_type_is_parsed_by_its_model(kind: str) -> None:
    """An event becomes the model that its type names, and gives its fields back under Segment's names."""
    model = parse(VALID[kind])

    assert MODELS[kind] is type(model)
    assert VALID[kind] == model.fields()


@pytest.mark.parametrize("kind", SHAPES)
def test_models_declare_what_the_shapes_say(kind: str) -> None:
    """Each model has exactly the fields of its shape, and each field a rule."""
    aliases = {field.alias for field in MODELS[kind].model_fields.values()} - {"type"}

    assert set(SHAPES[kind].names.values()) == aliases
    assert aliases <= set(FIELDS)


@pytest.mark.parametrize("kind", SHAPES)
def test_discriminated_union_finds_the_model(kind: str) -> None:
    """`Event` serves as a pydantic type wherever a program declares its own messages."""
    assert parse(VALID[kind]) == TypeAdapter(Event).validate_python(VALID[kind])


def test_snake_case_and_segment_names_are_one() -> None:
    """Both spellings make the same event, from keywords as from dicts."""
    expected = parse({"type": "group", "userId": "u", "groupId": "g", "messageId": "m", "timestamp": NOW})

    assert expected == Group(user_id="u", group_id="g", message_id="m", timestamp=NOW)
    assert expected == parse({"type": "group", "user_id": "u", "group_id": "g", "message_id": "m", "timestamp": NOW})


def test_explicit_none_equals_absent() -> None:
    """SDKs send null for what they do not know."""
    event = dict.fromkeys(SHAPES["track"].names.values())

    assert parse(VALID["track"]) == parse({**event, **VALID["track"]})
    assert Page(user_id="u") == Page(user_id="u", name=None, timestamp=None, context=None)


def test_type_may_be_an_enum() -> None:
    """A str subclass names a type as its text does."""
    assert parse(VALID["track"]) == parse({**VALID["track"], "type": Kind.TRACK})


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"userId": None}, "userId", "no_user_anon_id"),
        ({"userId": ""}, "userId", "id_not_string"),
        ({"userId": 7}, "userId", "id_not_string"),
        ({"anonymousId": True}, "anonymousId", "id_not_string"),
        ({"event": None}, "event", "event_not_defined"),
        ({"event": ""}, "event", "event_not_string"),
        ({"event": ["Sent"]}, "event", "event_not_string"),
        ({"properties": [1]}, "properties", "properties_not_object"),
        ({"properties": "a=1"}, "properties", "properties_not_object"),
        ({"context": 1}, "context", "context_not_object"),
        ({"integrations": ["All"]}, "integrations", "integrations_not_object"),
        ({"messageId": ""}, "messageId", "message_id_not_string"),
        ({"messageId": 5}, "messageId", "message_id_not_string"),
        ({"messageId": "m" * (MAX_MESSAGE_ID + 1)}, "messageId", "message_id_too_long"),
        ({"properties": {str(n): n for n in range(10_001)}}, "properties", "too_many_properties"),
        ({"propertes": {}}, "propertes", "unknown_field"),
        ({"traits": {}}, "traits", "unknown_field"),
        ({5: 1}, "int", "unknown_field"),
        ({"propertes": None}, "propertes", "unknown_field"),
        ({"user_id": "u2"}, "userId", "given_twice"),
        ({"type": "trak"}, "type", "invalid_type"),
        ({"type": ["track"]}, "type", "invalid_type"),
        ({"type": None}, "type", "missing_type"),
    ],
)
def test_track_refusals(change: dict[Any, Any], field: str, code: str) -> None:
    """What Segment would answer 200 to and drop is refused by field and code."""
    assert (field, code) == refusal({**VALID["track"], **change})


@pytest.mark.parametrize(
    ("kind", "change", "field", "code"),
    [
        ("identify", {"userId": None}, "userId", "no_user_anon_id"),
        ("identify", {"traits": "gold"}, "traits", "traits_not_object"),
        ("page", {"name": ""}, "name", "name_not_string"),
        ("page", {"category": 3}, "category", "category_not_string"),
        ("screen", {"name": 3.5}, "name", "name_not_string"),
        ("screen", {"category": ""}, "category", "category_not_string"),
        ("group", {"groupId": None}, "groupId", "group_id_required"),
        ("group", {"groupId": ""}, "groupId", "id_not_string"),
        ("group", {"userId": None}, "userId", "no_user_anon_id"),
        ("alias", {"previousId": None}, "previousId", "previous_id_required"),
        ("alias", {"previousId": 1}, "previousId", "id_not_string"),
        ("alias", {"userId": None, "anonymousId": "a"}, "userId", "user_id_required"),
        ("alias", {"userId": None}, "userId", "no_user_anon_id"),
    ],
)
def test_refusals_of_the_other_types(kind: str, change: dict[str, Any], field: str, code: str) -> None:
    """Each type demands its own fields."""
    assert (field, code) == refusal({**VALID[kind], **change})


@pytest.mark.parametrize("event", [None, [], "track", 5])
def test_what_is_no_mapping_is_refused(event: Any) -> None:
    """A ready event is a dict or a model and nothing else."""
    assert ("", "not_an_event") == refusal(event)
    with pytest.raises(InvalidEvent):
        TypeAdapter(Track).validate_python(event)


def test_constructors_refuse_in_the_same_words() -> None:
    """A model's constructor raises `InvalidEvent`, never pydantic's own error."""
    with pytest.raises(PomboError, match="event is empty; make it a non-empty string"):
        Track(user_id="u", event="")
    with pytest.raises(PomboError, match="alias has no userId"):
        Alias(anonymous_id="a", previous_id="b")
    with pytest.raises(PomboError, match="type is 'page' in an event of type 'screen'"):
        Screen.model_validate(VALID["page"])


def test_typo_is_answered_with_the_right_name() -> None:
    """An unknown field names its nearest neighbour, or else what the type takes."""
    with pytest.raises(InvalidEvent, match=r"unknown field 'propertes'; did you mean 'properties'\?"):
        parse({**VALID["track"], "propertes": {}})
    with pytest.raises(InvalidEvent, match="unknown field 'zzz'; identify takes userId, anonymousId, context"):
        parse({**VALID["identify"], "zzz": 1})


def test_messages_hold_no_values() -> None:
    """A refusal may be logged: it says where, never what."""
    with pytest.raises(InvalidEvent) as caught:
        parse({**VALID["track"], "timestamp": "529.982.247-25"})

    assert "529" not in str(caught.value)


def test_keys_that_sdks_send_are_no_typos() -> None:
    """What Segment or the worker sets is dropped, what Segment reads is handed on."""
    sdk = {
        "sentAt": "x",
        "writeKey": "k",
        "receivedAt": "x",
        "originalTimestamp": "x",
        "version": 2,
        "projectId": "p",
    }
    passed = {"_metadata": {"nodeVersion": "v20"}, "channel": "server"}

    assert {**VALID["track"], **passed} == parse({**VALID["track"], **sdk, **passed}).fields()


def test_lenient_parsing_hands_unknown_keys_on() -> None:
    """Other programs' events keep what Segment ignores, if JSON can carry it."""
    foreign = {"traits": ("no", "object\ud800"), "vendor\ud800": (1, 2)}
    expected = {**VALID["track"], "traits": ["no", "object\ufffd"], "vendor\ufffd": [1, 2]}

    assert expected == parse({**VALID["track"], **foreign}, strict=False).fields()
    assert ("extra", "not_finite") == refusal({**VALID["track"], "extra": math.nan}, strict=False)
    assert ("int", "unknown_field") == refusal({**VALID["track"], 5: 1}, strict=False)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NOW, NOW),
        (NOW.replace(tzinfo=None), NOW),
        (NOW.astimezone(timezone(timedelta(hours=-3))), NOW),
        (NOW.astimezone(timezone(timedelta(seconds=4321))), NOW),
        ("2026-11-21T19:00:50.834123Z", NOW),
        ("2026-11-21T16:00:50.834123-03:00", NOW),
        ("2026-11-21T19:00:50.834123", NOW),
        ("2026-11-21T19:00:50.834123999Z", NOW),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        (datetime(1, 1, 1), datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_timestamps_are_read_as_utc(given: Any, expected: datetime) -> None:
    """A timestamp is a datetime or an ISO text; a naive one is taken as UTC."""
    assert expected == parse({**VALID["track"], "timestamp": given}).timestamp


@pytest.mark.parametrize(
    "given",
    [
        "",
        "yesterday",
        "2026-13-01",
        1795287650,
        NOW.date(),
        time(12),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3))),
        NOW.replace(tzinfo=Hostile()),
    ],
)
def test_timestamps_that_are_no_moment_are_refused(given: Any) -> None:
    """A timestamp that Segment could not read is refused, and so is one out of the calendar."""
    assert ("timestamp", "timestamp_invalid") == refusal({**VALID["track"], "timestamp": given})


def test_ids_of_exactly_the_limit_pass() -> None:
    """The limit of a messageId is inclusive, and counts mended characters."""
    assert "m" * 100 == parse({**VALID["track"], "messageId": "m" * 100}).message_id
    assert "m" * 99 + "😀" == parse({**VALID["track"], "messageId": "m" * 99 + "\ud83d\ude00"}).message_id


def test_models_hold_clean_copies() -> None:
    """A model shares nothing with the caller's dicts and holds what JSON carries."""
    given = {"items": ({"price": Decimal("1.10")},), "when": NOW}

    model = Identify(user_id="u\ud800", traits=given)

    assert "u\ufffd" == model.user_id
    assert {"items": [{"price": Decimal("1.10")}], "when": "2026-11-21T19:00:50.834123Z"} == model.traits
    assert {"items": ({"price": Decimal("1.10")},), "when": NOW} == given
