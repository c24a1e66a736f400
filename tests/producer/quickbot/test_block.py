from typing import Any

import pytest

from pombo.producer.quickbot import SegmentBlock
from pombo.shared.errors import InvalidEvent
from producer.quickbot.samples import ALIAS, CONTEXT, IDENTIFY, KNOWN, PAGE, TRACK, refused, with_options


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (TRACK, {"type": "track", "userId": "u1", "event": "Plan Chosen", "properties": {"plan": "Gold"}}),
        (
            IDENTIFY,
            {"type": "identify", "userId": "u1", "traits": {"name": "Maria", "email": "maria@example.com"}},
        ),
        (ALIAS, {"type": "alias", "userId": "u1", "previousId": "a1"}),
        (
            PAGE,
            {
                "type": "page",
                "userId": "u1",
                "name": "Checkout",
                "category": "Bot",
                "properties": {"category": "Bot"},
            },
        ),
        (
            with_options(PAGE, category=None, properties=[{"key": "step", "value": "1"}]),
            {"type": "page", "userId": "u1", "name": "Checkout", "properties": {"step": "1"}},
        ),
        (
            with_options(PAGE, properties=[{"key": "category", "value": "other"}]),
            {
                "type": "page",
                "userId": "u1",
                "name": "Checkout",
                "category": "Bot",
                "properties": {"category": "Bot"},
            },
        ),
        (
            with_options(TRACK, properties=None),
            {"type": "track", "userId": "u1", "event": "Plan Chosen", "properties": {}},
        ),
        (
            with_options(IDENTIFY, traits=[{"key": "email", "value": "other@example.com"}]),
            {"type": "identify", "userId": "u1", "traits": {"email": "maria@example.com"}},
        ),
        (
            with_options(IDENTIFY, traits=None),
            {"type": "identify", "userId": "u1", "traits": {"email": "maria@example.com"}},
        ),
    ],
)
def test_each_action_makes_its_event(block: dict[str, Any], expected: dict[str, Any]) -> None:
    """A block as exported becomes the call that the platform makes of it."""
    assert {**expected, "context": CONTEXT} == SegmentBlock.model_validate(block).event(KNOWN)


@pytest.mark.parametrize(
    ("block", "names", "kind"),
    [
        (IDENTIFY, ["Identify User", "identify user", "Identify"], "identify"),
        (ALIAS, ["Alias", "ALIAS"], "alias"),
        (TRACK, ["Track", "Track Event", "track  event", " Track"], "track"),
        (PAGE, ["Page", "Page View"], "page"),
    ],
)
def test_actions_have_aliases(block: dict[str, Any], names: list[str], kind: str) -> None:
    """The editor's label means the same action as the literal of an export."""
    events = [SegmentBlock.model_validate(with_options(block, action=name)).event(KNOWN) for name in names]
    assert [kind] * len(names) == [event["type"] for event in events]


@pytest.mark.parametrize(
    ("block", "field", "code"),
    [
        (IDENTIFY, "userId", "no_user_anon_id"),
        (IDENTIFY, "email", "email_required"),
        (ALIAS, "userId", "user_id_required"),
        (ALIAS, "previousId", "previous_id_required"),
        (TRACK, "eventName", "event_not_defined"),
        (TRACK, "userId", "no_user_anon_id"),
        (PAGE, "name", "name_required"),
        (PAGE, "userId", "no_user_anon_id"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "{{Not Set}}"])
def test_a_missing_field_is_refused_by_name(block: dict[str, Any], field: str, code: str, value: str | None) -> None:
    """What the platform would silently not send names the field that is absent, empty or came out empty."""
    lacking = SegmentBlock.model_validate(with_options(block, **{field: value}))
    assert (field, code) == refused(lambda: lacking.event(KNOWN))


def test_an_empty_template_is_named() -> None:
    """The refusal says which variable has no value, and holds no value of another."""
    block = SegmentBlock.model_validate(with_options(TRACK, userId="{{Not Set}}{{User  ID}}"))
    with pytest.raises(InvalidEvent) as caught:
        block.event(KNOWN)
    assert "Track needs User ID (userId), which came out empty: {{Not Set}}, {{User  ID}} has no value" == str(
        caught.value
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"action": None}, ("action", "action_missing")),
        ({"action": "Group"}, ("action", "action_unknown")),
        ({"action": "{{Not Set}}"}, ("action", "action_missing")),
        ({"userId": "{{= 1 + 1 =}}"}, ("userId", "inline_code")),
        ({"eventName": "a {{=1=}} b"}, ("eventName", "inline_code")),
        ({"properties": [{"key": "{{=1=}}", "value": "x"}]}, ("properties[0].key", "inline_code")),
        ({"properties": [{}, {"key": "x", "value": "{{=1=}}"}]}, ("properties[1].value", "inline_code")),
        ({"properties": [{"key": "x", "value": {"a": "{{=1=}}"}}]}, ("properties[0].value.a", "inline_code")),
        ({"properties": [{"key": "x", "value": {1, 2}}]}, ("properties[0].value", "not_serialisable")),
        ({"properties": [{"key": "x", "value": "y" * 40_000}]}, ("properties", "too_large")),
        ({"properties": [{}] * 10_001}, ("properties", "too_many_properties")),
    ],
)
def test_what_cannot_be_sent_is_refused(options: dict[str, Any], expected: tuple[str, str]) -> None:
    """Unknown actions, inline code and what Segment would drop are refused with the field's name."""
    block = SegmentBlock.model_validate(with_options(TRACK, **options))
    assert expected == refused(lambda: block.event(KNOWN))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (None, "block"),
        ([], "block"),
        ({"type": "Text"}, "block.type"),
        ({"type": 5}, "block.type"),
        ({"id": 5}, "block.id"),
        ({"options": []}, "block.options"),
        ({"options": {"userId": 42}}, "block.options.userId"),
        ({"options": {"properties": {"plan": "Gold"}}}, "block.options.properties"),
        ({"options": {"traits": ["x"]}}, "block.options.traits[0]"),
        ({"options": {"traits": [{"key": 1}]}}, "block.options.traits[0].key"),
    ],
)
def test_what_is_no_block_is_refused(given: Any, field: str) -> None:
    """A form that no editor exports is refused by the same error, with its place."""
    assert field == refused(lambda: SegmentBlock.model_validate(given))[0]


@pytest.mark.parametrize("block", [{"type": "segment"}, {"type": "segment", "options": None}, {"type": "Segment"}])
def test_an_unconfigured_block_says_so(block: dict[str, Any]) -> None:
    """A block without options is one that nobody has configured yet."""
    assert ("action", "action_missing") == refused(lambda: SegmentBlock.model_validate(block).event(KNOWN))


def test_pairs() -> None:
    """Pairs without key or value are skipped, of equal keys the last wins, keys are templates too."""
    pairs = [
        {"key": "a", "value": "1"},
        {"key": "", "value": "2"},
        {"value": "3"},
        {"key": "b"},
        {"key": "c", "value": ""},
        {"key": "{{Plan}}", "value": "4"},
        {"key": "a", "value": "5"},
        {"key": "{{Not Set}}", "value": "6"},
    ]
    outcome = SegmentBlock.model_validate(with_options(TRACK, properties=pairs)).outcome(KNOWN)
    assert {"a": "5", "Gold": "4"} == outcome.event["properties"]
    assert [
        ("properties[1]", "its key is empty"),
        ("properties[2]", "its key is empty"),
        ("properties[3]", "its value is empty"),
        ("properties[4]", "its value is empty"),
        ("properties[7]", "its key is empty: {{Not Set}} has no value"),
    ] == [tuple(one) for one in outcome.skipped]


def test_values_of_other_types() -> None:
    """What is no text is sent as it is; in objects, texts are filled in and empty ones left out."""
    nested = {"a": "{{Plan}}", "b": "{{Not Set}}", "c": [{"d": "{{Plan}}"}, "{{Plan}}", 7], "e": None, "f": True}
    pairs = [{"key": "n", "value": 42}, {"key": "no", "value": False}, {"key": "o", "value": nested}]
    event = SegmentBlock.model_validate(with_options(TRACK, properties=pairs)).event(KNOWN)
    filled = {"a": "Gold", "c": [{"d": "Gold"}, "{{Plan}}", 7], "f": True}
    assert {"n": 42, "no": False, "o": filled} == event["properties"]


def test_what_a_user_wrote_is_not_looked_at_again() -> None:
    """Braces in a value stay text, and inline code there is no code."""
    event = SegmentBlock.model_validate(TRACK).event({**KNOWN, "Plan": "{{Email}} {{= 1 =}}"})
    assert {"plan": "{{Email}} {{= 1 =}}"} == event["properties"]


def test_context_is_filled_in() -> None:
    """Variables reach the context through templates; what is empty is left out."""
    templates = {"locale": "{{Locale}}", "timezone": "{{Zone}}", "page": {"url": "{{URL}}", "title": "{{Not Set}}"}}
    known = {**KNOWN, "Locale": "pt-BR", "URL": "https://example.com/?a=1"}
    event = SegmentBlock.model_validate(TRACK).event(known, context=templates)
    assert {**CONTEXT, "locale": "pt-BR", "page": {"url": "https://example.com/?a=1"}} == event["context"]


def test_filled_in_already() -> None:
    """Without variables the fields are the platform's own work and taken as they are."""
    filled = with_options(TRACK, userId="u1", properties=[{"key": "text", "value": "I wrote {{Plan}} {{=1=}}"}])
    event = SegmentBlock.model_validate(filled).event(None)
    assert ("u1", {"text": "I wrote {{Plan}} {{=1=}}"}) == (event["userId"], event["properties"])


@pytest.mark.parametrize(("block", "field"), [(TRACK, "userId"), (IDENTIFY, "userId"), (ALIAS, "userId")])
def test_forgotten_variables(block: dict[str, Any], field: str) -> None:
    """An id that still is a template is refused: it would make all users one."""
    assert (field, "not_filled_in") == refused(lambda: SegmentBlock.model_validate(block).event(None))
