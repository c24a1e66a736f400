"""A terminal's screen as text: of what a program writes, as much as pombo's screens use."""

import re

_TOKEN = re.compile(r"\x1b\[(?P<args>[?0-9;]*)(?P<code>[A-Za-z])|(?P<text>[^\x1b\r\n]+)|(?P<control>[\r\n])", re.DOTALL)


class Screen:
    """Lines of characters; colours are dropped, and what would scroll is an error."""

    def __init__(self, lines: int, columns: int) -> None:
        self.lines, self.columns = lines, columns
        self.alternate = False
        self._at = (0, 0)
        self._cells = [[" "] * columns for _ in range(lines)]

    @property
    def text(self) -> list[str]:
        """What can be read, without the spaces at the ends of lines."""
        return ["".join(row).rstrip() for row in self._cells]

    def feed(self, data: str) -> None:
        """Take what a program wrote."""
        end = 0
        for token in _TOKEN.finditer(data):
            assert token.start() == end, f"not understood: {data[end : token.start()]!r}"
            end = token.end()
            if token["text"] is not None:
                self._write(token["text"])
            elif token["control"] is not None:
                self._at = (self._at[0] + 1, 0) if token["control"] == "\n" else (self._at[0], 0)
            else:
                self._command(token["args"], token["code"])
        assert end == len(data), f"not understood: {data[end:]!r}"

    def _command(self, args: str, code: str) -> None:
        row, column = self._at
        if code == "H":
            wanted = [int(part or 1) - 1 for part in (args or "1;1").split(";")]
            self._at = (wanted[0], wanted[1])
        elif code == "K":
            self._cells[row][column:] = [" "] * (self.columns - column)
        elif code == "J":
            assert args == "2", args
            self._cells = [[" "] * self.columns for _ in range(self.lines)]
        elif args == "?1049":
            self.alternate = code == "h"
        else:
            assert code in "mhl", f"not understood: {args}{code}"

    def _write(self, text: str) -> None:
        row, column = self._at
        assert row < self.lines, f"line {row + 1} of {self.lines}"
        assert column + len(text) <= self.columns, f"{text!r} does not fit into line {row + 1}"
        self._cells[row][column : column + len(text)] = text
        self._at = (row, column + len(text))
