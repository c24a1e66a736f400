import pytest

from ops.top.looks import look, view
from pombo.ops.top.course import BLOCKS, POINTS, Courses, blocks
from pombo.ops.top.rates import rows


def test_a_course_keeps_the_last_points() -> None:
    """Each look adds one once there are rates; the oldest go, and so do sources that are gone."""
    courses, before = Courses(), look(0.0, view("bot"), view("other"))
    courses.note(rows(None, before))
    assert [] == [*courses.of["bot"]["accepted"]]
    for n in range(1, POINTS + 3):
        now = look(float(n), view("bot", accepted=n * 5, queued=n), view("other"))
        courses.note(rows(before, now))
        before = now
    assert [5.0] * POINTS == [*courses.of["bot"]["accepted"]]
    assert [float(n) for n in range(3, POINTS + 3)] == [*courses.of["bot"]["waiting"]]
    courses.note(rows(before, look(999.0, view("bot"))))
    assert ["bot"] == [*courses.of]


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 9, ""),
        ([0, 0], 9, "▁▁"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 9, BLOCKS),
        ([1, 1000], 9, "▂█"),
        ([0, 9, 0, 0, 3], 3, "▁█▃"),
        ([5.0] * 150, 75, "█" * 75),
    ],
)
def test_blocks(values: list[float], width: int, expected: str) -> None:
    """The newest is on the right, peaks survive being squeezed, and what is not nothing is seen."""
    assert expected == blocks(values, width)


def test_blocks_of_a_scale() -> None:
    """Two lines with one scale can be compared."""
    assert "▂▅" == blocks([10, 50], 9, most=100)
