from typing import Any

import pytest

from pombo.producer.quickbot import SegmentBlock
from pombo.producer.quickbot.casting import cast_value, read_cast
from producer.quickbot.samples import IDENTIFY, KNOWN, TRACK, refused, with_options


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("42", 42),
        ("-1.5", -1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("null", None),
        ('["a",1]', ["a", 1]),
        ('{"a":{"b":true}}', {"a": {"b": True}}),
        ('"quoted"', "quoted"),
        ("Gold", "Gold"),
        ("", ""),
        ("007", "007"),
        ("+5511987654321", "+5511987654321"),
        ("5511987654321", 5511987654321),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", "9007199254740993"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1e400", "1e400"),
        ("NaN", "NaN"),
        ("True", "True"),
        ("[1,", "[1,"),
        ("[" * 120 + "]" * 120, "[" * 120 + "]" * 120),
        ("[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
    ],
)
def test_json(text: str, expected: Any) -> None:
    """A text that is JSON is sent as what it says, unless that would lose digits or nest too deep."""
    cast = cast_value(text, "json")
    assert (expected, type(expected)) == (cast, type(cast))


def test_texts_stay_texts_unless_asked() -> None:
    """Like the platform itself, traits and properties are texts by default."""
    block = SegmentBlock.model_validate(TRACK)
    known = {**KNOWN, "Plan": "42"}
    assert [{"plan": "42"}, {"plan": 42}] == [
        block.event(known)["properties"],
        block.event(known, cast="json")["properties"],
    ]


def test_ids_and_emails_stay_texts() -> None:
    """Casting is for traits and properties; Segment takes ids as texts only."""
    block = SegmentBlock.model_validate(with_options(IDENTIFY, traits=None))
    event = block.event({"User ID": "42", "Email": "7"}, cast="json")
    assert ("42", {"email": "7"}) == (event["userId"], event["traits"])


@pytest.mark.parametrize("given", ["JSON", "yes", 1, None, ["json"]])
def test_unknown_casts(given: object) -> None:
    """A word that means nothing is refused."""
    assert ("cast", "cast_unknown") == refused(lambda: read_cast(given))
