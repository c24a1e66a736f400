"""What a PromQL expression speaks of: enough of its grammar to find the metrics and labels that it names."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'")
_RANGE = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*+)\s*+(\{[^}]*\})?(?!\s*\()")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)(?!\s*bool\b)")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "atan2", "by", "on", "inf", "nan", "group_left"})


class Selector(NamedTuple):
    """A metric, and the labels by which its series are selected."""

    metric: str
    labels: frozenset[str]


def selectors(expr: str) -> list[Selector]:
    """The metrics that an expression reads."""
    return [
        Selector(name, frozenset(_MATCHER.findall(braces or "")))
        for name, braces in _SELECTOR.findall(_bare(_GROUPING.sub(" ", _STRING.sub('""', expr))))
        if name.lower() not in _WORDS
    ]


def grouped(expr: str) -> set[str]:
    """The labels by which it aggregates or matches."""
    return {label.strip() for inside in _GROUPING.findall(_STRING.sub('""', expr)) for label in inside.split(",")} - {
        ""
    }


def as_figures(expr: str) -> str:
    """The expression with comparisons that answer 0 or 1 and filter nothing: it has series though all is well."""
    return "".join(part if masked else _COMPARISON.sub(r"\1 bool", part) for part, masked in _masked(expr))


def _bare(expr: str) -> str:
    return _RANGE.sub(" ", expr)


def _masked(expr: str) -> Iterator[tuple[str, bool]]:
    """The parts of an expression; True for strings and label matchers, in which a sign is no comparison."""
    at = 0
    for found in re.finditer(rf"\{{[^}}]*\}}|{_STRING.pattern}", expr):
        yield expr[at : found.start()], False
        yield found[0], True
        at = found.end()
    yield expr[at:], False
