from datetime import date
from typing import Any

import pytest

from pombo.producer.quickbot import Variables
from producer.quickbot.samples import refused


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("", ""),
        (None, None),
        (True, "true"),
        (False, "false"),
        (42, "42"),
        (-7, "-7"),
        (1.5, "1.5"),
        (42.0, "42"),
        (0.1, "0.1"),
        (-0.0, "0"),
        (1e-06, "0.000001"),
        (0.00001, "0.00001"),
        (1e-7, "1e-7"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (808018258017901824.0, "808018258017901800"),
        (["a", None, 1], ["a", None, "1"]),
        (("a",), ["a"]),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ([["a"]], ['["a"]']),
        (date(2026, 1, 2), "2026-01-02"),
        ("\ud83d\ude00 \ud800", "😀 �"),
    ],
)
def test_values(value: Any, expected: Any) -> None:
    """Texts and lists are kept, numbers and booleans written as JavaScript writes them, objects as JSON."""
    assert expected == Variables.read({"x": value}).value("x")


def test_the_first_with_a_value_wins() -> None:
    """Of several variables of one name the first counts that has a value; ids find exactly theirs."""
    found = Variables.read(
        [{"id": "v1", "name": "x"}, {"id": "v2", "name": "x", "value": "2"}, {"id": "v3", "name": "x", "value": "3"}]
    )
    values = (found.value("x"), found.value_of_id("v1"), found.value_of_id("v3"))
    assert ("2", None, "3") == values


def test_a_name_stands_for_an_id() -> None:
    """Who gives values by name may name the variable in a condition too."""
    assert "2" == Variables.read({"x": "2"}).value_of_id("x")


def test_values_on_top() -> None:
    """A flow's own values are defaults: given ones go before, by name, and keep the flow's ids."""
    flow = Variables.read([{"id": "v1", "name": "a", "value": "1"}, {"id": "v2", "name": "b", "value": "2"}])
    both = flow.under(Variables.read({"a": "", "c": "3"}))
    assert ("", "", "2", "3") == (both.value("a"), both.value_of_id("v1"), both.value("b"), both.value("c"))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("text", "variables"),
        (5, "variables"),
        (b"x", "variables"),
        ({1: "x"}, "variables"),
        ({f"v{number}": "" for number in range(10_001)}, "variables"),
        (["x"], "variables[0]"),
        ([{"value": "x"}], "variables[0].name"),
        ({"x": {1, 2}}, "variables.x"),
        ({"a b": float("nan")}, 'variables["a b"]'),
        ({"x": 2**70}, "variables.x"),
        ({"x": ["a", b"b"]}, "variables.x[1]"),
        ([{"name": "x", "value": object()}], "variables[0].value"),
    ],
)
def test_what_no_text_can_stand_for(given: Any, field: str) -> None:
    """What a flow could not hold is refused with its place."""
    assert field == refused(lambda: Variables.read(given))[0]


def test_prints_no_value() -> None:
    """Variables are people's data: they do not show in a log."""
    assert "Variables(<1>)" == repr(Variables.read({"CPF": "529.982.247-25"}))
