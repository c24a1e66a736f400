import pytest
from rich.cells import cell_len

from pombo.ops.problems import Action, Problem, Severity
from pombo.ops.verdict import line, lines, together, verdict

KEY = Action("rotate the key", "pombo sources rotate-key bot --write-key -")
PARKED = Problem("critical", "bot", "parked", "Segment answered 401: the write key is refused; 7 events wait", KEY)


def many(count: int, what: str = "parked", severity: Severity = "critical") -> list[Problem]:
    """So many sources with the same trouble."""
    return [Problem(severity, f"s{n}", what, f"why {n}", Action("look", f"look s{n}")) for n in range(count)]


def plain(found: list[Problem], width: int = 80, room: int | None = None) -> list[str]:
    return [row.plain for row in verdict(found, width=width, room=room)]


def test_a_problem_in_full_ends_with_a_command_to_copy() -> None:
    """The sentence is broken at words, and the command stands on a line of its own, whole."""
    assert [
        "✗ bot — parked: Segment answered 401: the write key is refused; 7 events wait →",
        "  rotate the key",
        "    pombo sources rotate-key bot --write-key -",
    ] == [row.plain for row in lines(PARKED, 80)]


def test_a_problem_on_one_line_keeps_its_command() -> None:
    """Of the reason stays what there is room for, of the command all."""
    assert "✗ bot — parked: Segment answ… → pombo sources rotate-key bot --write-key -" == line(PARKED, 74).plain
    assert "✗ bot — parked → pombo sources rotate-key bot --write-key -" == line(PARKED, 60).plain
    assert line(PARKED, 200).plain.startswith(f"✗ bot — parked: {PARKED.why} → ")
    assert "· bot — held: why → wait" == line(Problem("note", "bot", "held", "why", Action("wait")), 80).plain


def test_what_many_sources_have_is_one_problem() -> None:
    """Three are told one by one, more are told once, where the first stood, with its reason and command."""
    assert many(3) == together(many(3))
    (one,) = together(many(4))
    assert ("parked", "4 sources, s0, s1, s2 and 1 more; s0: why 0", "look s0") == (
        one.what, one.why, one.action.command
    )  # fmt: skip
    fleet = Problem("critical", None, "no worker lives", "", Action(""))
    other = many(1, "late", "warning")
    assert ["no worker lives", "parked", "late"] == [p.what for p in together([fleet, *many(9), *other])]


def test_all_is_well() -> None:
    """Without problems there is one line; notes follow it and change nothing."""
    assert ["All well"] == plain([])
    held = Problem("note", "bot", "held", "25 s more", Action("wait"))
    assert ["All well", "· bot — held: 25 s more → wait"] == plain([held])


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize("width", [30, 80, 200])
def test_a_verdict_keeps_to_its_room(width: int, room: int) -> None:
    """However many kinds of trouble there are; the worst stays, the last line counts what is missing."""
    found = [PARKED, *(problem for n in range(12) for problem in many(1, f"kind {n}"))]
    shown = plain(found, width, room)
    assert len(shown) <= room
    assert all(cell_len(row) <= max(width, 50) for row in shown)
    if room >= 3:
        assert shown[1].startswith("✗ bot — parked")
    if 2 <= room < 13:
        assert "more problem" in shown[-1]
        told = sum(row.startswith("✗") for row in shown)
        assert shown[-1].strip().startswith(f"and {len(found) - told} more")


def test_other_peoples_text_cannot_steer_the_terminal() -> None:
    """A reason may come from a server: control characters are replaced."""
    nasty = Problem("critical", "bot", "parked", "404\x1b[31m\nx", Action("look"))
    assert "\x1b" not in "".join(plain([nasty]))
    assert "\x1b" not in line(nasty, 200).plain
