"""Matching: whether a compiled pattern is found in a text, in bounded time.

All ways through the program are walked at once, a character at a time, so no text makes a pattern explode.
"""

from functools import lru_cache

from pombo.producer.quickbot.effort import RANGES, Effort
from pombo.producer.quickbot.program import Program, Step

_LINE_ENDS = frozenset("\n\r\u2028\u2029")


def is_found(program: Program, text: str, effort: Effort) -> bool:
    """Search the text, or look only at its start when the pattern is sticky.

    Raises:
        Exhausted: the search takes more effort than is left.
    """
    search = _Search(program, text, effort)
    current: set[int] = set()
    for position in range(len(text) + 1):
        if position == 0 or not program.sticky:
            current.add(0)
        reached = search.without_reading(current, position)
        if reached is None:
            return True
        if position == len(text) or (program.sticky and not reached):
            break
        variants = _variants(text[position], program.ignores_case)
        current = {at + 1 for at in reached if _takes(program.steps[at], variants)}
    return False


class _Search:
    """One search, and the account that its steps are taken from."""

    def __init__(self, program: Program, text: str, effort: Effort) -> None:
        self._program = program
        self._text = text
        self._effort = effort

    def without_reading(self, start: set[int], position: int) -> list[int] | None:
        """The steps that want a character next; None if the pattern is found here."""
        waiting, seen, open_ = [], set(start), list(start)
        ranges = 0
        while open_:
            at = open_.pop()
            step = self._program.steps[at]
            if step.kind == "match":
                return None
            if step.kind == "set":
                waiting.append(at)
                ranges += len(step.ranges)
            else:
                ahead = [one for one in self._ways(step, at, position) if one not in seen]
                seen.update(ahead)
                open_ += ahead
        spellings = 3 if self._program.ignores_case else 1
        self._effort.spend(len(seen) + spellings * ranges // RANGES)
        return waiting

    def _ways(self, step: Step, at: int, position: int) -> tuple[int, ...]:
        if step.kind == "split":
            return (step.x, step.y)
        if step.kind == "jump":
            return (step.x,)
        return (at + 1,) if self._holds(step.name, position) else ()

    def _holds(self, assertion: str, position: int) -> bool:
        text, by_line = self._text, self._program.by_line
        if assertion == "start":
            return position == 0 or (by_line and text[position - 1] in _LINE_ENDS)
        if assertion == "end":
            return position == len(text) or (by_line and text[position] in _LINE_ENDS)
        border = _is_word(text[position - 1 : position]) != _is_word(text[position : position + 1])
        return border == (assertion == "word")


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


@lru_cache(maxsize=1024)
def _variants(character: str, ignores_case: bool) -> tuple[int, ...]:
    """The code points that a character counts as."""
    if not ignores_case:
        return (ord(character),)
    alike = (character, character.lower(), character.upper())
    return tuple({ord(one) for one in alike if len(one) == 1})


def _takes(step: Step, variants: tuple[int, ...]) -> bool:
    return any(low <= code <= high for code in variants for low, high in step.ranges) != step.negated
