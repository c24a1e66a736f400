from collections.abc import Sequence
from dataclasses import replace

import pytest

from ops.top.looks import look, view
from pombo.ops.top.rates import Row, rows
from pombo.ops.top.view import SORTS, Change, Pressed, View, press

ROWS = rows(
    look(1.0, *(view(name, accepted=0) for name in ("a", "b", "c"))),
    look(
        2.0, view("a", queued=1, dead=9, accepted=3), view("b", queued=5, accepted=1), view("c", queued=3, delivered=7),
        view("d", flow={"paused": True}), view("e", flow={"parked": "why"}),
    ),
)  # fmt: skip


def after(keys: Sequence[str], start: View | None = None, found: Sequence[Row] = ROWS) -> Pressed:
    """What keys make, one after the other."""
    pressed = Pressed(start or View())
    for key in keys:
        pressed = press(pressed.view, key, pressed.view.rows(found))
    return pressed


def names(shown: View) -> str:
    """The sources that are shown, in their order."""
    return "".join(row.view.name for row in shown.rows(ROWS))


def chosen(pressed: Pressed) -> str:
    """The selected source."""
    found = pressed.view.chosen(pressed.view.rows(ROWS))
    assert found is not None
    return found.view.name


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([], "e"),
        (["j"], "d"),
        (["down", "down", "k"], "d"),
        (["up"], "e"),
        (["end"], "a"),
        (["G", "g"], "e"),
        (["pagedown"], "a"),
        (["end", "down"], "a"),
    ],
)
def test_arrows_select(keys: list[str], expected: str) -> None:
    """They move along the order on the screen and stop at its ends."""
    assert "edbca" == names(View())
    assert expected == chosen(after(keys))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("trouble", "edbca"), ("source", "abcde"), ("queued", "bcade"), ("in/s", "abcde"), ("out/s", "cabde"),
     ("dead", "abcde")],
)  # fmt: skip
def test_sources_can_be_ordered(sort: str, expected: str) -> None:
    """Figures with the most first, names upwards, and trouble as `rows` has it."""
    assert expected == names(View(sort=sort))


def test_s_goes_round_all_orders() -> None:
    """Each once, and S back; the selection stays with its source."""
    pressed = after(["j", *"s" * len(SORTS)])
    assert ("trouble", "d") == (pressed.view.sort, chosen(pressed))
    assert [*SORTS[1:], SORTS[0]] == [after("s" * n).view.sort for n in range(1, len(SORTS) + 1)]
    assert SORTS[-1] == after("S").view.sort


def test_a_filter_is_typed() -> None:
    """While it is typed keys are letters; Enter keeps it, Escape drops it, and it finds names and states."""
    typed = after(["/", "q", "s", "backspace", "backspace", "p", "a", "r", "k"])
    assert ("park", True, False) == (typed.view.wanted, typed.view.typing, typed.quits)
    assert "e" == names(typed.view)
    assert View(wanted="park", selected=None) == after(["enter"], typed.view).view
    assert View() == after(["escape"], typed.view).view
    assert View() == after(["enter", "escape"], typed.view).view
    assert "" == after(["clear"], typed.view).view.wanted
    assert "b" == names(View(wanted="B"))


def test_a_selection_that_is_not_shown_falls_to_the_first() -> None:
    """A filter or a removal takes it away; it comes back with its source."""
    assert "e" == chosen(Pressed(View(selected="gone")))
    assert View().chosen([]) is None
    assert View() == after(["j", "enter", "p"], found=[]).view


def test_a_change_needs_a_yes() -> None:
    """P asks, y does it, any other key does not; nothing else happens meanwhile."""
    asked = after(["j", "p"])
    assert (Change("resume", "d"), None) == (asked.view.asked, asked.change)
    assert Change("resume", "d") == after(["y"], asked.view).change
    refused = after(["q"], asked.view)
    assert (None, None, "nothing changed", False) == (
        refused.change, refused.view.asked, refused.view.said, refused.quits
    )  # fmt: skip
    assert "" == after(["j"], refused.view).view.said


@pytest.mark.parametrize(("source", "verb"), [("a", "pause"), ("d", "resume"), ("e", "resume")])
def test_p_offers_what_helps(source: str, verb: str) -> None:
    """It ends a pause or a park, else it pauses; on a source's own page too."""
    for page in ("sources", "source"):
        assert Change(verb, source) == after(["p"], View(page, source)).view.asked  # type: ignore[arg-type]


def test_a_source_is_looked_at_from_near_and_left() -> None:
    """Enter opens it, and Escape, q or an arrow go back to where it was."""
    near = after(["j", "enter"])
    assert ("source", "d") == (near.view.page, near.view.selected)
    for key in ("escape", "q", "left"):
        back = after([key], near.view)
        assert (View(selected="d"), False) == (back.view, back.quits)
    assert 1 == after(["down", "down", "up"], near.view).view.scroll
    assert 0 == after(["up"], near.view).view.scroll


def test_help_and_quit() -> None:
    """? opens the help from anywhere; q and Ctrl-C quit, Ctrl-C also out of a question or a filter."""
    assert "help" == after("?").view.page
    assert View() == after(["?", "q"]).view
    assert after("q").quits
    for view_ in (View(typing=True), View(asked=Change("pause", "a")), View("help"), View("source", "a")):
        assert after(["quit"], view_).quits
    assert replace(View(), said="") == after(["x"], View(said="done")).view
