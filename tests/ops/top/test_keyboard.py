import pytest

from pombo.ops.top.keyboard import Keyboard


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"q", ["q"]),
        (b"jk\r", ["j", "k", "enter"]),
        (b"\x1b[A\x1b[B\x1bOA\x1bOB", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[4~", ["pageup", "pagedown", "home", "end"]),
        (b"\x7f\x08\x03", ["backspace", "backspace", "quit"]),
        ("é/".encode(), ["é", "/"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\x1b\x1b[A", ["escape", "up"]),
        (b"\x00\x01\x1b[200~\x1b[1;5Cx", ["x"]),
        (b"\xff", ["\N{REPLACEMENT CHARACTER}"]),
    ],
)
def test_keys_are_told_apart(sent: bytes, expected: list[str]) -> None:
    """Characters, names of keys that move, and nothing for what no key here means."""
    assert expected == Keyboard().feed(sent)


@pytest.mark.parametrize("sent", [b"\x1b[A", b"\x1b[6~", b"\x1bOB", "é".encode()])
def test_a_slow_line_may_cut_anywhere(sent: bytes) -> None:
    """A key that comes byte by byte is the same key, once."""
    keyboard = Keyboard()
    found = [key for byte in sent for key in keyboard.feed(bytes([byte]))]
    assert Keyboard().feed(sent) == found
    assert not keyboard.waits


def test_escape_alone_needs_a_moment() -> None:
    """It could begin a sequence: only when nothing follows is it the key."""
    keyboard = Keyboard()
    assert ([], True) == (keyboard.feed(b"\x1b"), keyboard.waits)
    assert (["escape"], False) == (keyboard.rest(), keyboard.waits)
    assert ([], []) == (keyboard.feed(b"\x1b["), keyboard.rest())
    assert ["x"] == keyboard.feed(b"x")
