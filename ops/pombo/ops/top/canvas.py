"""The canvas: a terminal of which only the lines that differ are written anew, so that nothing flickers.

A frame of 24 lines in which one figure moved is some 100 bytes, also over ssh.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from rich.console import Console
from rich.text import Text

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
"""To the other screen, without a cursor."""
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
"""Back to the usual one."""
CLEAR: Final = "\x1b[2J"
AT_ONCE: Final = ("\x1b[?2026h", "\x1b[?2026l")
"""Around what terminals that know it show in one go; the others pass it over."""


class Canvas:
    """What a terminal shows, as far as we wrote it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: Sequence[str] | None = None
        self._size = (0, 0)

    def enter(self) -> None:
        """Take the terminal."""
        self._write(ENTER)

    def leave(self) -> None:
        """Give the terminal back as it was, if it is still there."""
        with suppress(OSError):
            self._write(LEAVE)

    def forget(self) -> None:
        """Write everything anew the next time: somebody else may have written too."""
        self._shown = None

    def draw(self, lines: Sequence[Text]) -> None:
        """Show these lines, of which there are no more than the terminal has."""
        size = (self._console.width, self._console.height)
        if size != self._size:
            self._size, self._shown = size, None
        coloured = [self._coloured(line) for line in lines]
        self._write(changes(self._shown, coloured))
        self._shown = coloured

    def _coloured(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        return capture.get()

    def _write(self, text: str) -> None:
        if text:
            self._console.file.write(text)
            self._console.file.flush()


def changes(before: Sequence[str] | None, after: Sequence[str]) -> str:
    """What to write so that a terminal that shows `before` (None: anything) shows `after`."""
    old = before or ()
    # Erased first: behind a line as wide as the terminal, erasing would take its last character.
    told = [
        f"\x1b[{number + 1};1H\x1b[K{line}"
        for number, line in enumerate(after)
        if number >= len(old) or old[number] != line
    ]
    told += [f"\x1b[{number + 1};1H\x1b[K" for number in range(len(after), len(old))]
    if not told:
        return ""
    return "".join([AT_ONCE[0], CLEAR if before is None else "", *told, AT_ONCE[1]])
