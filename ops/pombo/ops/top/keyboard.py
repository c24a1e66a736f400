"""The keyboard: what a terminal sends, as names of keys."""

from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from typing import Final

ESCAPE: Final = "\x1b"
SEQUENCES: Final[Mapping[str, str]] = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "OA": "up", "OB": "down", "OC": "right", "OD": "left",
    "[H": "home", "[F": "end", "OH": "home", "OF": "end", "[1~": "home", "[4~": "end", "[7~": "home", "[8~": "end",
    "[5~": "pageup", "[6~": "pagedown",
}  # fmt: skip
"""What follows Escape, as xterm, the Linux console, tmux and rxvt send it."""
PLAIN: Final[Mapping[str, str]] = {
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\t": "down", "\x03": "quit", "\x04": "quit",
    "\x0c": "redraw", "\x02": "pageup", "\x06": "pagedown", "\x10": "up", "\x0e": "down", "\x15": "clear",
}  # fmt: skip
"""Control characters; all others mean nothing."""
FINAL: Final = "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
"""Characters that end an escape sequence."""


class Keyboard:
    """Cut bytes into keys; what may still become one waits for the rest, as a slow line splits sequences anywhere."""

    def __init__(self) -> None:
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    @property
    def waits(self) -> bool:
        """Whether a sequence has begun and not ended: an Escape, as long as nothing follows it."""
        return bool(self._begun)

    def feed(self, data: bytes) -> list[str]:
        """The keys that these bytes complete: a name, or the character itself."""
        self._begun += self._decoder.decode(data)
        return [*self._keys()]

    def rest(self) -> list[str]:
        """What has begun and was not continued: Escape, if it was that key alone."""
        begun, self._begun = self._begun, ""
        return ["escape"] if begun == ESCAPE else []

    def _keys(self) -> Iterator[str]:
        while self._begun:
            if self._begun[0] != ESCAPE:
                first, self._begun = self._begun[0], self._begun[1:]
                yield from _plain(first)
                continue
            length = _length(self._begun)
            if length is None:
                return
            sequence, self._begun = self._begun[1:length], self._begun[length:]
            if sequence == "":
                yield "escape"
            elif sequence in SEQUENCES:
                yield SEQUENCES[sequence]


def _plain(character: str) -> Iterator[str]:
    if character in PLAIN:
        yield PLAIN[character]
    elif character.isprintable():
        yield character


def _length(begun: str) -> int | None:
    """Characters of the sequence that `begun` begins with; None while it is not whole."""
    if len(begun) == 1:
        return None
    if begun[1] not in "[O":
        return 1  # Escape, and then another key.
    for at, character in enumerate(begun[2:], 3):
        if character in FINAL:
            return at
    return None
