r"""Regular expressions of JavaScript, read into a tree.

Understood is what a program of steps can express (see `program`): literals, classes, groups, alternatives,
quantifiers, `^ $ \b \B`. Lookarounds, references to groups and `\p{…}` are refused. Characters are code points.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

LONGEST = 1_000
"""Characters of a pattern."""
MOST = 2_000
"""The most that a number in {n} counts for: more than a program may have steps."""
DEEPEST = 50
"""Groups within groups."""

_DIGITS = ((48, 57),)
_WORDS = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACES = (
    (9, 13), (32, 32), (160, 160), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
    (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF),
)  # fmt: skip
_LINE_ENDS = ((10, 10), (13, 13), (0x2028, 0x2029))
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}

Ranges = tuple[tuple[int, int], ...]


class InvalidPattern(Exception):  # noqa: N818 -- an outcome's name: JavaScript would refuse it too
    """JavaScript refuses this pattern."""


class UnsupportedPattern(Exception):  # noqa: N818 -- an outcome's name: JavaScript would take it
    """A pattern that JavaScript takes and this does not; its text says why."""


class Node(NamedTuple):
    """A part of the pattern's tree."""

    kind: Literal["set", "assert", "all", "any", "repeat"]
    parts: tuple["Node", ...] = ()
    ranges: Ranges = ()
    negated: bool = False
    name: str = ""
    least: int = 0
    most: int | None = None


def parse_pattern(pattern: str) -> Node:
    """Read a pattern.

    Raises:
        InvalidPattern: JavaScript refuses it.
        UnsupportedPattern: it needs what is not understood, or is too long.
    """
    if len(pattern) > LONGEST:
        raise UnsupportedPattern(f"has {len(pattern):,} characters, and {LONGEST:,} are the most")
    return _Parser(pattern).read()


class _Parser:
    """Reads one pattern, from left to right."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0
        self._names: set[str] = set()

    def read(self) -> Node:
        node = self._alternatives()
        if self._at < len(self._text):
            raise InvalidPattern("has an unmatched )")
        return node

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, word: str) -> bool:
        taken = self._text.startswith(word, self._at)
        self._at += len(word) if taken else 0
        return taken

    def _alternatives(self) -> Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Node("any", tuple(parts))

    def _sequence(self) -> Node:
        parts = []
        while self._at < len(self._text) and self._next() not in "|)":
            parts.append(self._term())
        return Node("all", tuple(parts))

    def _term(self) -> Node:
        atom = self._atom()
        bounds = self._quantifier()
        if bounds is None:
            return atom
        if atom.kind == "assert":
            raise InvalidPattern("repeats nothing")
        self._take("?")  # Whether it is lazy does not change if there is a match.
        return Node("repeat", (atom,), least=bounds[0], most=bounds[1])

    def _quantifier(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        return self._braces()

    def _braces(self) -> tuple[int, int | None] | None:
        """The bounds of {n}, {n,} or {n,m}; other braces are text."""
        end = self._text.find("}", self._at)
        if self._next() != "{" or end < 0:
            return None
        least, comma, most = self._text[self._at + 1 : end].partition(",")
        if not _is_count(least) or (most and not _is_count(most)):
            return None
        self._at = end + 1
        bounds = (_count(least), (_count(most) if most else None) if comma else _count(least))
        if bounds[1] is not None and bounds[1] < bounds[0]:
            raise InvalidPattern("has the numbers of a {n,m} out of order")
        return bounds

    def _atom(self) -> Node:
        character = self._next()
        self._at += 1
        reader: Callable[[], Node] | None = {
            "(": self._group,
            "[": self._class,
            "\\": self._escape,
            ".": lambda: Node("set", ranges=_LINE_ENDS, negated=True),
            "^": lambda: Node("assert", name="start"),
            "$": lambda: Node("assert", name="end"),
        }.get(character)
        if reader is not None:
            return reader()
        if character in "*+?" or (character == "{" and self._is_quantifier()):
            raise InvalidPattern("repeats nothing")
        return _single(ord(character))

    def _is_quantifier(self) -> bool:
        self._at -= 1
        start = self._at
        found = self._braces() is not None
        self._at = start + 1
        return found

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise UnsupportedPattern(f"nests groups over {DEEPEST} deep")
        if self._take("?"):
            self._group_kind()
        node = self._alternatives()
        if not self._take(")"):
            raise InvalidPattern("has an unmatched (")
        self._depth -= 1
        return node

    def _group_kind(self) -> None:
        if self._take(":"):
            return
        if self._next() in ("=", "!") or self._text[self._at : self._at + 2] in ("<=", "<!"):
            raise UnsupportedPattern("looks ahead or behind, (?= (?! (?<= (?<!")
        end = self._text.find(">", self._at)
        name = self._text[self._at + 1 : end].replace("$", "_")
        if not self._take("<") or end < 0 or not name.isidentifier():
            raise InvalidPattern("has a group (? of no known kind")
        if name in self._names:
            raise InvalidPattern("has two groups of one name")
        self._names.add(name)
        self._at = end + 1

    def _escape(self) -> Node:
        character = self._next()
        if character in ("b", "B"):
            self._at += 1
            return Node("assert", name="word" if character == "b" else "no word")
        ranges, negated = self._escaped()
        return Node("set", ranges=ranges, negated=negated)

    def _escaped(self) -> tuple[Ranges, bool]:
        """The characters that stand behind a backslash, within a class or not."""
        if self._at >= len(self._text):
            raise InvalidPattern("ends in a backslash")
        character = self._next()
        self._at += 1
        for letter, ranges in (("d", _DIGITS), ("w", _WORDS), ("s", _SPACES)):
            if character.lower() == letter:
                return ranges, character.isupper()
        if character in ("p", "P", "k") and self._next() in ("{", "<"):
            raise UnsupportedPattern(f"uses \\{character}")
        if character in "123456789" or (character == "0" and self._next().isdecimal()):
            raise UnsupportedPattern(f"uses \\{character}: a reference to a group, or an octal number")
        code = self._code(character)
        return ((code, code),), False

    def _code(self, character: str) -> int:
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character == "c" and self._next().isascii() and self._next().isalpha():
            self._at += 1
            return ord(self._text[self._at - 1]) % 32
        if character == "u" and self._next() == "{":
            return self._hex(self._text.find("}", self._at) - self._at - 1, 1, ord(character))
        if character in ("x", "u"):
            return self._hex(2 if character == "x" else 4, 0, ord(character))
        return ord(character)

    def _hex(self, digits: int, frame: int, otherwise: int) -> int:
        """A number of so many hexadecimal digits, in a frame of braces or none; else the letter itself."""
        text = self._text[self._at + frame : self._at + frame + max(digits, 0)]
        if not 0 < len(text) == digits or not set(text) <= set("0123456789abcdefABCDEF") or int(text, 16) > 0x10FFFF:
            return otherwise
        self._at += digits + 2 * frame
        return int(text, 16)

    def _class(self) -> Node:
        negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        while not self._take("]"):
            if self._at >= len(self._text):
                raise InvalidPattern("has an unmatched [")
            ranges += self._class_part()
        return Node("set", ranges=tuple(ranges), negated=negated)

    def _class_part(self) -> Ranges:
        first = self._class_atom()
        rest = self._text[self._at : self._at + 2]
        if not rest.startswith("-") or len(rest) < 2 or rest[1] == "]":
            return first
        self._at += 1
        last = self._class_atom()
        if len(first) != 1 or len(last) != 1 or first[0][0] != first[0][1] or last[0][0] != last[0][1]:
            return (*first, (45, 45), *last)
        if last[0][0] < first[0][0]:
            raise InvalidPattern("has a range [a-b] out of order")
        return ((first[0][0], last[0][0]),)

    def _class_atom(self) -> Ranges:
        character = self._next()
        self._at += 1
        if character != "\\":
            return ((ord(character), ord(character)),)
        if self._take("b"):
            return ((8, 8),)
        ranges, negated = self._escaped()
        return _inverse(ranges) if negated else ranges


def _single(code: int) -> Node:
    return Node("set", ranges=((code, code),))


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _count(text: str) -> int:
    return min(int(text), MOST + 1)


def _inverse(ranges: Ranges) -> Ranges:
    """All characters but these; the ranges are in order."""
    edges = [-1, *(edge for low, high in ranges for edge in (low, high)), 0x110000]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((low + 1, high - 1) for low, high in pairs if low + 1 <= high - 1)
