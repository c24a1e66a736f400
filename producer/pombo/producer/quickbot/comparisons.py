"""Comparisons: the fourteen operators of a condition, as pure functions of two values.

A value is a text, a list of texts or None for no value. Where lists meet, most operators want their comparison true of
every pair; `Contains` and `Matches regex` of some. Each takes what it costs from an account.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from unicodedata import normalize

from pombo.producer.quickbot.effort import READING, Effort
from pombo.producer.quickbot.matching import is_found
from pombo.producer.quickbot.numerals import epoch_ms, length_of, number_of, trimmed
from pombo.producer.quickbot.pattern import InvalidPattern, UnsupportedPattern
from pombo.producer.quickbot.program import compile_pattern
from pombo.producer.quickbot.variables import Value

Pairwise = Callable[[str | None, str | None, Effort], bool]
Operator = Callable[[Value | None, Value | None, Effort], bool]

_DELIMITED = re.compile(r"/([^\n\r\u2028\u2029]+)/([gimuy]*)\Z")


class UnusablePattern(Exception):  # noqa: N818 -- an outcome's name, like Rejected
    """A regular expression that cannot be used; its text, after "the pattern", says why."""


def _lift(pairwise: Pairwise, over: Callable[[Iterable[bool]], bool]) -> Operator:
    """An operator on values from one on texts."""

    def compare(left: Value | None, right: Value | None, effort: Effort) -> bool:
        return over(pairwise(a, b, effort) for a in _items(left) for b in _items(right))

    return compare


def _inverted(pairwise: Pairwise) -> Pairwise:
    return lambda left, right, effort: not pairwise(left, right, effort)


def _items(value: Value | None) -> list[str | None]:
    return value if isinstance(value, list) else [value]


def _equal(left: str | None, right: str | None, effort: Effort) -> bool:
    effort.compare(left, right)
    if left is None or right is None:
        return left is right
    return normalize("NFC", left) == normalize("NFC", right)


def _folded(text: str) -> str:
    return normalize("NFC", trimmed(text.lower()))


def _textual(test: Callable[[str, str], bool]) -> Pairwise:
    """A test of two texts that ignores case and blank ends, and is false of what is empty."""

    def pairwise(left: str | None, right: str | None, effort: Effort) -> bool:
        effort.compare(left, right)
        return bool(left and right) and test(_folded(left or ""), _folded(right or ""))

    return pairwise


def _matches(left: str | None, right: str | None, effort: Effort) -> bool:
    try:
        return bool(left and right) and _search(right or "", left or "", effort)
    except InvalidPattern:
        return False


def _misses(left: str | None, right: str | None, effort: Effort) -> bool:
    try:
        return bool(left and right) and not _search(right or "", left or "", effort)
    except InvalidPattern as error:
        raise UnusablePattern(str(error)) from None


def _search(given: str, text: str, effort: Effort) -> bool:
    """Search a text with `/pattern/flags`, wherever it begins, or with a bare pattern.

    Raises:
        InvalidPattern: JavaScript refuses it.
        UnusablePattern: JavaScript takes it, and we cannot.
    """
    effort.compare(given, text)
    effort.spend(READING * len(given))
    try:
        program = compile_pattern(*_delimited(given))
        effort.spend(READING * len(program.steps))
        return is_found(program, text, effort)
    except UnsupportedPattern as error:
        raise UnusablePattern(str(error)) from None


def _delimited(given: str) -> tuple[str, str]:
    start = given.find("/")
    found = _DELIMITED.match(given, start) if start >= 0 else None
    return (found[1], found[2]) if found else (given, "")


_contains_text = _textual(operator.contains)


def _contains(left: Value | None, right: Value | None, effort: Effort) -> bool:
    pairwise = _equal if isinstance(left, list) else _contains_text
    return _lift(pairwise, any)(left, right, effort)


def _lacks(left: Value | None, right: Value | None, effort: Effort) -> bool:
    pairwise = _equal if isinstance(left, list) else _contains_text
    return _lift(_inverted(pairwise), all)(left, right, effort)


def _ordered(test: Callable[[float, float], bool]) -> Operator:
    def compare(left: Value | None, right: Value | None, effort: Effort) -> bool:
        if left is None or right is None:
            return False
        if isinstance(left, str) and isinstance(right, str):
            effort.compare(left, right)
            return test(_rank(left), _rank(right))
        return test(_size(left), _size(right))

    return compare


def _rank(text: str) -> float:
    """A number if it is one, else the moment that it is, else its length; `+55…` is no number."""
    for read in (epoch_ms,) if text.startswith("+") else (number_of, epoch_ms):
        value = read(text)
        if value == value:  # noqa: PLR0124 -- not NaN
            return value
    return length_of(text)


def _size(value: Value) -> float:
    """What a list is compared by, its length, or with."""
    return len(value) if isinstance(value, list) else number_of(value)


def _is_set(left: Value | None, _right: Value | None, _effort: Effort) -> bool:
    return left is not None and len(left) > 0


def _is_empty(left: Value | None, _right: Value | None, _effort: Effort) -> bool:
    return left is None or len(left) == 0


OPERATORS: Mapping[str, Operator] = {
    "Equal to": _lift(_equal, all),
    "Not equal": _lift(_inverted(_equal), all),
    "Contains": _contains,
    "Does not contain": _lacks,
    "Greater than": _ordered(operator.gt),
    "Greater or equal to": _ordered(operator.ge),
    "Less than": _ordered(operator.lt),
    "Less or equal to": _ordered(operator.le),
    "Is set": _is_set,
    "Is empty": _is_empty,
    "Starts with": _lift(_textual(str.startswith), all),
    "Ends with": _lift(_textual(str.endswith), all),
    "Matches regex": _lift(_matches, any),
    "Does not match regex": _lift(_misses, all),
}
"""Left is the variable's value, right what it is compared with.

Any may raise `Exhausted`, and those with regular expressions `UnusablePattern`.
"""
