from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from pombo.ops.top.canvas import Canvas, changes
from support.vt import Screen


class Tty(StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def console(**options: object) -> Console:
    """A console of 10 columns and 3 lines that writes into memory."""
    return Console(file=Tty(), width=10, height=3, force_terminal=True, **options)  # type: ignore[arg-type]


def written(made: Console) -> str:
    """What it wrote since the last time."""
    file = made.file
    assert isinstance(file, Tty)
    text = file.getvalue()
    file.seek(0)
    file.truncate()
    return text


def test_only_lines_that_differ_are_written() -> None:
    """Nothing for the same frame, one line for one figure, the whole for an unknown screen."""
    assert "" == changes(["a", "b"], ["a", "b"])
    assert "\x1b[?2026h\x1b[2;1H\x1b[Kc\x1b[?2026l" == changes(["a", "b"], ["a", "c"])
    assert "\x1b[2J" in changes(None, ["a"])
    screen = Screen(3, 10)
    for before, after in ((None, ["a" * 10, "b", "c"]), (["a" * 10, "b", "c"], ["a", "bb"]), (["a", "bb"], ["x" * 10])):
        screen.feed(changes(before, after))
        assert [*after, "", ""][:3] == screen.text


def test_a_canvas_gives_the_terminal_back() -> None:
    """It draws on the other screen, without a cursor, and leaves both as they were."""
    made = console()
    canvas, screen = Canvas(made), Screen(3, 10)
    canvas.enter()
    canvas.draw([Text("one", "bold red"), Text("0123456789")])
    first = written(made)
    assert "\x1b[?25l" in first
    screen.feed(first)
    assert (True, ["one", "0123456789", ""]) == (screen.alternate, screen.text)
    canvas.draw([Text("one", "bold red"), Text("0123456789")])
    assert "" == written(made)
    canvas.forget()
    canvas.draw([Text("one")])
    assert "\x1b[2J" in written(made)
    canvas.leave()
    assert "\x1b[?25h\x1b[?1049l" == written(made)


def test_a_new_size_is_drawn_from_scratch() -> None:
    """Terminals move what they show when they change size."""
    made = console()
    canvas = Canvas(made)
    canvas.draw([Text("a")])
    written(made)
    made.size = (20, 5)
    canvas.draw([Text("a")])
    assert "\x1b[2J" in written(made)


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR there is bold, but no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    made = console()
    Canvas(made).draw([Text("a", "bold red")])
    text = written(made)
    assert "\x1b[1m" in text
    assert "31" not in text


def test_a_terminal_that_is_gone() -> None:
    """What cannot be given back any more keeps nobody."""

    class Gone(Tty):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    canvas = Canvas(Console(file=Gone(), width=10, height=3, force_terminal=True))
    canvas.leave()
    with pytest.raises(OSError, match="Input/output"):
        canvas.draw([Text("a")])
