import pytest

from pombo.producer.quickbot import Variables
from pombo.producer.quickbot.template import LONGEST, Filling
from producer.quickbot.samples import refused

KNOWN = Variables.read(
    {
        "x": "1",
        "User ID": "u1",
        "List": ["a", "b", None],
        "None": None,
        "Quote": 'say "hi"',
        "Nested": "{{x}}",
        "Empty": [],
        "=x": "odd",
        "é": "acute",
    }
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{x}}", "1"),
        ("a{{x}}b{{x}}", "a1b1"),
        ("{{User ID}}", "u1"),
        ("{{ x }}", ""),
        ("{{X}}", ""),
        ("{{user id}}", ""),
        ("{{unknown}}", ""),
        ("{{None}}", ""),
        ("${{x}}", "$1"),
        ("${{unknown}}", "$"),
        ("{{{x}}}", "{1}"),
        ("{{x}", "{{x}"),
        ("{x}}", "{x}}"),
        ("{{}}", "{{}}"),
        ("{{a{x}}", "{{a{x}}"),
        ("{{List}}", '["a","b",null]'),
        ("{{Empty}}", "[]"),
        ("{{Quote}}", 'say "hi"'),
        ("{{Nested}}", "{{x}}"),
        ("{{User\nID}}", ""),
        ("{{é}}", "acute"),
        ("{{=x}}", "odd"),
        ("{{= x }} =} {{x}}", " =} 1"),
        ("{{=x\n=}}", ""),
        ("{{==}}", ""),
    ],
)
def test_second_pass(template: str, expected: str) -> None:
    """Names are exact, what is unknown is empty, what is inserted is not looked at again."""
    assert expected == Filling(KNOWN).text(template, "userId")


@pytest.mark.parametrize(
    "code", ["{{=1=}}", "a {{= x + 1 =}} b", "{{={{x}}=}}", "\n{{=1=}}", "{{==}} {{=1=}}", "{{===}}"]
)
def test_inline_code_is_refused(code: str) -> None:
    """JavaScript is not run, and its text is not sent either."""
    assert ("userId", "inline_code") == refused(lambda: Filling(KNOWN).text(code, "userId"))


def test_long_templates_are_quick() -> None:
    """A template of a megabyte of openings is read once, not once for each."""
    assert "{{=" * 300_000 == Filling(KNOWN).text("{{=" * 300_000, "userId")


def test_no_value_is_multiplied_without_end() -> None:
    """What all fields of a block come to is bounded, however often a long value is named."""
    filling = Filling(Variables.read({"x": "y" * 1000, "list": ["y" * 1000]}))
    assert LONGEST // 2 == len(filling.text("{{x}}" * (LONGEST // 2000), "a"))
    assert ("b", "too_large") == refused(lambda: filling.text("{{list}}" * LONGEST, "b"))
