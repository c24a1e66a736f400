import pytest

from pombo.producer.quickbot.effort import COSTLIEST, Effort, Exhausted
from pombo.producer.quickbot.matching import is_found
from pombo.producer.quickbot.pattern import InvalidPattern, UnsupportedPattern
from pombo.producer.quickbot.program import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "flags", "text", "expected"),
    [
        ("", "", "", True),
        ("a", "", "bab", True),
        ("^a", "", "ba", False),
        ("a$", "", "a\n", False),
        ("^b$", "m", "a\nb\nc", True),
        (".", "", "\n\r\u2028\u2029", False),
        ("[^]", "", "\n", True),
        ("[]", "", "x", False),
        ("\\d", "", "٣", False),
        ("\\D", "", "٣", True),
        ("\\w+", "", "é", False),
        ("\\s", "", "\ufeff", True),
        ("\\s", "", "\x1c", False),
        ("\\bcat\\b", "", "a cat.", True),
        ("\\bcat\\b", "", "concat", False),
        ("\\B", "", "", True),
        ("(a|b)+c", "", "xabbac", True),
        ("(?:ab){2}", "", "abab", True),
        ("(?:ab){2}", "", "ab", False),
        ("^a{1,2}$", "", "aaa", False),
        ("^a{2,}$", "", "aaa", True),
        ("a{,2}", "", "a{,2}", True),
        ("{", "", "{", True),
        ("^(?<year>\\d{4})-(?<month>\\d\\d)$", "", "2026-11", True),
        ("[a-c-]", "", "-", True),
        ("[\\w-]", "", "-", True),
        ("[^\\d\\s]", "", "1 2", False),
        ("[\\b]", "", "\b", True),
        ("\\x41\\u0042\\u{43}", "", "ABC", True),
        ("\\cJ", "", "\n", True),
        ("\\/\\.\\-", "", "/.-", True),
        ("ÉCOLE", "i", "école", True),
        ("[A-Z]", "i", "z", True),
        ("[^a]", "i", "A", False),
        ("b", "y", "ab", False),
        ("a", "y", "ab", True),
        ("a.*?b", "", "axxb", True),
        ("(a*)*b", "", "aaa", False),
        ("x|^$", "", "", True),
        ("()*x", "", "x", True),
        ("(a{0}){5}x", "", "x", True),
    ],
)
def test_what_is_found(pattern: str, flags: str, text: str, expected: bool) -> None:
    """Patterns mean what they mean in JavaScript (each row is what node answers)."""
    assert expected == is_found(compile_pattern(pattern, flags), text, Effort())


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "[", "a**", "*", "+a", "{2}", "[b-a]", "a{2,1}", "\\", "(?x)", "(?<", "(?<abc", "(?<1>a)",
        "(?<n>a)(?<n>b)", "^*", "a(b",
    ],
)  # fmt: skip
def test_invalid_patterns(pattern: str) -> None:
    """What JavaScript refuses is told apart from what is merely not understood here."""
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@pytest.mark.parametrize("flags", ["gg", "x", "s"])
def test_invalid_flags(flags: str) -> None:
    """Flags other than the platform's, or twice the same, are refused."""
    with pytest.raises(InvalidPattern):
        compile_pattern("a", flags)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b", "(a)\\1", "\\01", "\\p{L}", "\\k<n>", "(a{100}){100}", "a{99999}",
        "x" * 1001, "(" * 60 + ")" * 60,
    ],
)  # fmt: skip
def test_unsupported_patterns(pattern: str) -> None:
    """What a program of steps cannot say, or not in reasonable size, is named."""
    with pytest.raises(UnsupportedPattern):
        compile_pattern(pattern)


def test_no_pattern_explodes() -> None:
    """What takes a backtracking matcher longer than the universe has lasted takes a step a character."""
    text = "a" * (COSTLIEST // 20) + "b"
    assert not is_found(compile_pattern("^(a+)+$"), text, Effort())


def test_a_costly_search_is_given_up() -> None:
    """A search has a budget, so that no flow holds up the others."""
    with pytest.raises(Exhausted):
        is_found(compile_pattern("(.*)*" * 100 + "x"), "a" * 5000, Effort())


@pytest.mark.parametrize("flags", ["", "i"])
def test_a_class_costs_what_it_holds(flags: str) -> None:
    """A character held against hundreds of ranges takes as long as hundreds of steps, and counts as such."""
    wide = "".join(chr(0x4E00 + 2 * number) for number in range(480))
    text = "z" * (COSTLIEST // 20)
    assert not is_found(compile_pattern("^[a-z]*$", flags), text + "!", Effort())
    with pytest.raises(Exhausted):
        is_found(compile_pattern(f"^[{wide}z]*$", flags), text + "!", Effort())
