"""Programs: patterns as steps that are walked in time linear in the text.

Patterns come from flows and texts from strangers, so no matcher that backtracks may see them.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

from pombo.producer.quickbot.pattern import MOST, InvalidPattern, Node, Ranges, UnsupportedPattern, parse_pattern

Kind = Literal["set", "split", "jump", "assert", "match"]


class Step(NamedTuple):
    """One step of a program: a set of characters, a way with two ends, an assertion, or the end."""

    kind: Kind
    ranges: Ranges = ()
    negated: bool = False
    x: int = 0
    y: int = 0
    name: str = ""


class Program(NamedTuple):
    """A compiled pattern."""

    steps: tuple[Step, ...]
    ignores_case: bool
    by_line: bool
    sticky: bool


@lru_cache(maxsize=256)
def compile_pattern(pattern: str, flags: str = "") -> Program:
    """Make the program of a pattern.

    Raises:
        InvalidPattern: JavaScript refuses it.
        UnsupportedPattern: it needs what is not understood, or is too large.
    """
    if len(set(flags)) != len(flags) or not set(flags) <= set("gimuy"):
        raise InvalidPattern(f"has the flags {flags!r}")
    steps: list[Step] = []
    _emit(parse_pattern(pattern), steps)
    _add(steps, Step("match"))
    return Program(tuple(steps), "i" in flags, "m" in flags, "y" in flags)


def _add(steps: list[Step], step: Step) -> int:
    if len(steps) >= MOST:
        raise UnsupportedPattern(f"repeats too much; it comes to more than {MOST:,} steps")
    steps.append(step)
    return len(steps) - 1


def _emit(node: Node, steps: list[Step]) -> None:
    if node.kind == "set":
        _add(steps, Step("set", node.ranges, node.negated))
    elif node.kind == "assert":
        _add(steps, Step("assert", name=node.name))
    elif node.kind == "all":
        for part in node.parts:
            _emit(part, steps)
    elif node.kind == "any":
        _emit_any(node.parts, steps)
    else:
        _emit_repeat(node, steps)


def _emit_any(parts: tuple[Node, ...], steps: list[Step]) -> None:
    ends = []
    for part in parts[:-1]:
        split = _add(steps, Step("split"))
        _emit(part, steps)
        ends.append(_add(steps, Step("jump")))
        steps[split] = Step("split", x=split + 1, y=len(steps))
    _emit(parts[-1], steps)
    for end in ends:
        steps[end] = Step("jump", x=len(steps))


def _emit_repeat(node: Node, steps: list[Step]) -> None:
    (part,) = node.parts
    for _ in range(node.least):
        before = len(steps)
        _emit(part, steps)
        if len(steps) == before:  # An empty part: any number of it is the same.
            return
    if node.most is None:
        split = _add(steps, Step("split"))
        _emit(part, steps)
        _add(steps, Step("jump", x=split))
        steps[split] = Step("split", x=split + 1, y=len(steps))
        return
    splits = []
    for _ in range(node.most - node.least):
        splits.append(_add(steps, Step("split")))
        _emit(part, steps)
    for split in splits:
        steps[split] = Step("split", x=split + 1, y=len(steps))
