"""Comparisons: the fourteen operators of a condition, as pure functions of two values.

A value is a text, a list of texts or None for no value. Where lists meet, most operators want their comparison true of
every pair; `Contains` and `Matches regex` of some.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from unicodedata import normalize

from pombo.producer.quickbot.matching import is_found
from pombo.producer.quickbot.numerals import epoch_ms, length_of, number_of, trimmed
from pombo.producer.quickbot.pattern import InvalidPattern, UnsupportedPattern
from pombo.producer.quickbot.program import compile_pattern
from pombo.producer.quickbot.variables import Value

Pairwise = Callable[[str | None, str | None], bool]

_DELIMITED = re.compile(r"/([^\n\r\u2028\u2029]+)/([gimuy]*)\Z")


class UnusablePattern(Exception):  # noqa: N818 -- an outcome's name, like Rejected
    """A regular expression that cannot be used; its text, after "the pattern", says why."""


def _lift(pairwise: Pairwise, over: Callable[[Iterable[bool]], bool], left: Value | None, right: Value | None) -> bool:
    return over(pairwise(a, b) for a in _items(left) for b in _items(right))


def _items(value: Value | None) -> list[str | None]:
    return value if isinstance(value, list) else [value]


def _equal(left: str | None, right: str | None) -> bool:
    if left is None or right is None:
        return left is right
    return normalize("NFC", left) == normalize("NFC", right)


def _folded(text: str) -> str:
    return normalize("NFC", trimmed(text.lower()))


def _textual(test: Callable[[str, str], bool]) -> Pairwise:
    """A test of two texts that ignores case and blank ends, and is false of what is empty."""

    def pairwise(left: str | None, right: str | None) -> bool:
        return bool(left and right) and test(_folded(left or ""), _folded(right or ""))

    return pairwise


def _matches(left: str | None, right: str | None) -> bool:
    try:
        return bool(left and right) and _search(right or "", left or "")
    except InvalidPattern:
        return False


def _misses(left: str | None, right: str | None) -> bool:
    try:
        return bool(left and right) and not _search(right or "", left or "")
    except InvalidPattern as error:
        raise UnusablePattern(str(error)) from None


def _search(given: str, text: str) -> bool:
    """Search a text with `/pattern/flags`, wherever it begins, or with a bare pattern.

    Raises:
        InvalidPattern: JavaScript refuses it.
        UnusablePattern: JavaScript takes it, and we cannot.
    """
    delimited = _delimited(given)
    try:
        return is_found(compile_pattern(*delimited), text)
    except UnsupportedPattern as error:
        raise UnusablePattern(str(error)) from None


def _delimited(given: str) -> tuple[str, str]:
    start = given.find("/")
    found = _DELIMITED.match(given, start) if start >= 0 else None
    return (found[1], found[2]) if found else (given, "")


def _contains(left: Value | None, right: Value | None) -> bool:
    pairwise = _equal if isinstance(left, list) else _textual(operator.contains)
    return _lift(pairwise, any, left, right)


def _lacks(left: Value | None, right: Value | None) -> bool:
    pairwise = _equal if isinstance(left, list) else _textual(operator.contains)
    return _lift(lambda a, b: not pairwise(a, b), all, left, right)


def _ordered(test: Callable[[float, float], bool]) -> Callable[[Value | None, Value | None], bool]:
    def compare(left: Value | None, right: Value | None) -> bool:
        if left is None or right is None:
            return False
        if isinstance(left, str) and isinstance(right, str):
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


def _has_length(value: Value | None) -> bool:
    return value is not None and len(value) > 0


OPERATORS: Mapping[str, Callable[[Value | None, Value | None], bool]] = {
    "Equal to": lambda left, right: _lift(_equal, all, left, right),
    "Not equal": lambda left, right: _lift(lambda a, b: not _equal(a, b), all, left, right),
    "Contains": _contains,
    "Does not contain": _lacks,
    "Greater than": _ordered(operator.gt),
    "Greater or equal to": _ordered(operator.ge),
    "Less than": _ordered(operator.lt),
    "Less or equal to": _ordered(operator.le),
    "Is set": lambda left, _: _has_length(left),
    "Is empty": lambda left, _: not _has_length(left),
    "Starts with": lambda left, right: _lift(_textual(str.startswith), all, left, right),
    "Ends with": lambda left, right: _lift(_textual(str.endswith), all, left, right),
    "Matches regex": lambda left, right: _lift(_matches, any, left, right),
    "Does not match regex": lambda left, right: _lift(_misses, all, left, right),
}
"""Left is the variable's value, right what it is compared with. Regular expressions may raise `UnusablePattern`."""
