from typing import Any

import pytest

from pombo.producer.quickbot import Condition, Variables
from pombo.producer.quickbot.comparisons import OPERATORS
from pombo.producer.quickbot.conditions import read_condition
from producer.quickbot.samples import refused

LEFT: list[tuple[str, Any, str, bool]] = [
    # operator, the variable's value, what it is compared with, whether it holds
    ("Equal to", "Gold", "Gold", True),
    ("Equal to", "gold", "Gold", False),
    ("Equal to", "é", "e\u0301", True),
    ("Equal to", "", "", True),
    ("Equal to", None, "", False),
    ("Equal to", None, "null", True),
    ("Equal to", None, "undefined", True),
    ("Equal to", "null", "null", False),
    ("Equal to", ["a", "a"], "a", True),
    ("Equal to", ["a", "b"], "a", False),
    ("Equal to", "a", "{{AList}}", True),
    ("Equal to", ["a", "b"], "{{List}}", False),
    ("Not equal", "gold", "Gold", True),
    ("Not equal", "Gold", "Gold", False),
    ("Not equal", None, "null", False),
    ("Not equal", "x", "null", True),
    ("Not equal", ["x", "y"], "{{List}}", True),
    ("Not equal", ["x", "a"], "{{List}}", False),
    ("Contains", " Gold Plan", "gold", True),
    ("Contains", "Gold", "", False),
    ("Contains", None, "x", False),
    ("Contains", "x", "null", False),
    ("Contains", "CAFE\u0301", "café", True),
    ("Contains", ["a", "b"], "b", True),
    ("Contains", ["ab"], "a", False),
    ("Contains", ["A"], "a", False),
    ("Contains", "xa", "{{List}}", True),
    ("Does not contain", "Gold", "x", True),
    ("Does not contain", "Gold", "OL", False),
    ("Does not contain", "Gold", "", True),
    ("Does not contain", None, "x", True),
    ("Does not contain", ["a", "b"], "b", False),
    ("Does not contain", ["ab"], "a", True),
    ("Greater than", "10", "9", True),
    ("Greater than", "9", "9", False),
    ("Greater than", "0x10", "15", True),
    ("Greater than", "1e3", "999", True),
    ("Greater than", " ", "-1", True),
    ("Greater than", "2024-01-02", "2024-01-01", True),
    ("Greater than", "abcd", "3", True),
    ("Greater than", "+5", "1", True),
    ("Greater than", "+555555555555", "12", True),
    ("Greater than", None, "1", False),
    ("Greater than", "1", "null", False),
    ("Greater than", ["a", "b"], "1", True),
    ("Greater than", ["a", "b"], "x", False),
    ("Greater than", ["a", "b"], "{{AList}}", True),
    ("Greater than", "3", "{{List}}", True),
    ("Greater or equal to", "9", "9", True),
    ("Greater or equal to", "8", "9", False),
    ("Greater or equal to", None, "0", False),
    ("Less than", "9", "10", True),
    ("Less than", "10", "10", False),
    ("Less than", "x", "null", False),
    ("Less or equal to", "10", "10", True),
    ("Less or equal to", "11", "10", False),
    ("Is set", "x", "", True),
    ("Is set", "", "", False),
    ("Is set", None, "", False),
    ("Is set", [], "", False),
    ("Is set", [None], "", True),
    ("Is empty", "", "", True),
    ("Is empty", None, "", True),
    ("Is empty", [], "", True),
    ("Is empty", "x", "", False),
    ("Starts with", " GOLD plan", "gold", True),
    ("Starts with", "old gold", "gold", False),
    ("Starts with", "gold", "", False),
    ("Starts with", ["ab", "ac"], "a", True),
    ("Starts with", ["ab", "cd"], "a", False),
    ("Ends with", "old Gold ", "gold", True),
    ("Ends with", "gold plan", "gold", False),
    ("Ends with", None, "gold", False),
    ("Matches regex", "Gold 42", "[0-9]+", True),
    ("Matches regex", "Gold", "/gold/i", True),
    ("Matches regex", "Gold", "/gold/", False),
    ("Matches regex", "a\nb", "/^b$/m", True),
    ("Matches regex", "x", "(", False),
    ("Matches regex", "", "x*", False),
    ("Matches regex", "x", "", False),
    ("Matches regex", ["x", "42"], "^[0-9]+$", True),
    ("Does not match regex", "Gold", "[0-9]+", True),
    ("Does not match regex", "Gold 42", "[0-9]+", False),
    ("Does not match regex", None, "x", False),
    ("Does not match regex", "x", "", False),
    ("Does not match regex", ["x", "42"], "^[0-9]+$", False),
    ("Does not match regex", ["x", "y"], "^[0-9]+$", True),
]


def condition(*comparisons: tuple[str | None, str | None, str | None], logic: str | None = None) -> Condition:
    """A condition as an export holds it."""
    made = [{"id": "c", "variableId": v, "comparisonOperator": op, "value": value} for v, op, value in comparisons]
    return read_condition({"logicalOperator": logic, "comparisons": made})


@pytest.mark.parametrize(("operator", "left", "right", "expected"), LEFT)
def test_operators(operator: str, left: Any, right: str, expected: bool) -> None:
    """Each operator compares as the platform's does: case, blanks, Unicode, numbers, dates, lists and nothing."""
    variables = Variables.read(
        [
            {"id": "v1", "name": "Left", "value": left},
            {"id": "v2", "name": "List", "value": ["a", "b"]},
            {"id": "v3", "name": "AList", "value": ["a"]},
        ]
    )
    assert expected == condition(("v1", operator, right)).holds(variables)


def test_every_operator_is_tried() -> None:
    """There are fourteen, and the table above tries each both ways."""
    assert 14 == len(OPERATORS)
    assert {(name, held) for name in OPERATORS for held in (True, False)} == {(row[0], row[3]) for row in LEFT}


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (condition(), False),
        (condition(logic="OR"), False),
        (condition(("a", "Is set", None), ("b", "Is set", None)), False),
        (condition(("a", "Is set", None), ("a", "Equal to", "1")), True),
        (condition(("a", "Is set", None), ("b", "Is set", None), logic="AND"), False),
        (condition(("a", "Is set", None), ("b", "Is set", None), logic="OR"), True),
        (condition(("b", "Is set", None), ("b", "Is set", None), logic="OR"), False),
        (condition((None, "Is empty", None)), False),
        (condition(("a", None, "1")), False),
        (condition(("b", "Is empty", None)), True),
        (condition(("a", "Equal to", "{{c}}")), True),
        (condition(("a", "Equal to", "x{{c}}")), False),
        (condition(("b", "Equal to", "{{b}}")), False),
        (Condition(), False),
    ],
)
def test_logic(made: Condition, expected: bool) -> None:
    """AND is the default; nothing compared, no variable or no operator is false; values are templates."""
    assert expected == made.holds(Variables.read({"a": "1", "c": "1"}))


def test_an_exported_item() -> None:
    """The item of a Condition block is taken as the editor exports it."""
    item = {
        "id": "w1cg5txczy2qmn4kbh1eybkk",
        "outgoingEdgeId": "tfixdvay6mxj4g7z7bfmjthc",
        "content": {
            "comparisons": [
                {
                    "id": "r9ju98p1i6tevti45tt6jwk8",
                    "variableId": "vi5ta5lktses2h6skf5ky2zs0",
                    "comparisonOperator": "Greater than",
                    "value": "5",
                }
            ]
        },
    }
    given = [{"id": "vi5ta5lktses2h6skf5ky2zs0", "name": "Score", "value": value} for value in ("6", "5")]
    assert [True, False] == [read_condition(item).holds(Variables.read([one])) for one in given]


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        (("a", "equals", "1"), ("condition.comparisons[0].comparisonOperator", "operator_unknown")),
        (("a", "Equal to", "{{=1=}}"), ("condition.comparisons[0].value", "inline_code")),
        (("a", "Does not match regex", "("), ("condition.comparisons[0].value", "pattern_unusable")),
        (("a", "Matches regex", "(?=a)"), ("condition.comparisons[0].value", "pattern_unusable")),
        (("a", "Matches regex", "(a)\\1"), ("condition.comparisons[0].value", "pattern_unusable")),
        (("a", "Matches regex", "(x{500}){500}"), ("condition.comparisons[0].value", "pattern_unusable")),
    ],
)
def test_what_cannot_be_compared(comparison: tuple[str, str, str], expected: tuple[str, str]) -> None:
    """What would silently be false, or cannot be run, is refused with its place."""
    assert expected == refused(lambda: condition(comparison).holds(Variables.read({"a": "1"})))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (5, "condition"),
        ({"comparisons": {}}, "condition.comparisons"),
        ({"logicalOperator": "XOR"}, "condition.logicalOperator"),
        ({"comparisons": [{"value": 5}]}, "condition.comparisons[0].value"),
        ({"type": "Condition", "items": []}, "condition"),
    ],
)
def test_what_is_no_condition(given: Any, field: str) -> None:
    """Another form is refused, a whole block with what to give instead."""
    assert field == refused(lambda: read_condition(given))[0]
