from itertools import pairwise

import pytest
from rich.cells import cell_len

from ops.top.looks import look, view, worker
from pombo.ops.overview import SourceView
from pombo.ops.top.frame import frame


def many(count: int) -> list[SourceView]:
    """Sources with ever smaller backlogs."""
    return [view(f"a-source-with-a-rather-long-name-{n}", queued=count - n, queued_bytes=9_999) for n in range(count)]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [5, 12, 24, 60])
def test_a_frame_fits_any_terminal(width: int, height: int) -> None:
    """With 1,000 sources and 50 workers no line is too long, and there are no more lines than the terminal has."""
    now = look(2.0, *many(1000), workers=[worker(f"w{n}") for n in range(50)])
    lines = frame(None, now, width=width, height=height, keys=True).plain.splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert len(lines) <= max(height, 12)
    assert "1,000 sources" in lines[0] or width < 40


def test_eighty_columns_have_what_matters() -> None:
    """At 80 columns states, rates, backlogs and ages are there; the rest of the sources is one line."""
    text = frame(look(1.0, *many(1000)), look(2.0, *many(1000)), width=80, height=24).plain
    header = next(line for line in text.splitlines() if line.startswith("source"))
    assert {"state", "in/s", "out/s", "queued", "oldest"} <= set(header.split())
    (rest,) = [line for line in text.splitlines() if " more (active)" in line]
    shown = sum(line.startswith("a-source") for line in text.splitlines())
    assert rest.startswith(f"{1000 - shown} more (active): ")


def test_narrow_terminals_drop_columns() -> None:
    """What is least needed goes first, and source, state and queued stay."""
    now = look(2.0, view("bot", queued=5))
    counts = []
    for width in (200, 90, 70, 50, 30):
        (header,) = [line for line in frame(None, now, width=width).plain.splitlines() if line.startswith("source")]
        counts.append(header.split())
    assert all(set(small) < set(large) or small == large for large, small in pairwise(counts))
    assert ["source", "state", "queued"] == counts[-1]


def test_figures() -> None:
    """The line of a source has its rates, its backlog and how long it takes; the totals are above."""
    before = look(1.0, view("bot", accepted=100))
    now = look(2.0, view("bot", accepted=1300, delivered=2200, queued=5000, queued_bytes=1_200_000, in_flight=300))
    lines = frame(before, now, width=200).plain.splitlines()
    (line,) = [line.split() for line in lines if line.startswith("bot")]
    assert ["bot", "active", "1,200", "2,200", "0", "0", "5,000", "1.2", "MB", "300"] == line[:10]
    assert ["in", "5.3", "s"] == line[11:14]
    assert "in 1,200/s · out 2,200/s" in lines[1]


def test_trouble_is_told_below_where_lines_are_too_short() -> None:
    """What is cut beside a source stands below the table as far as there is room, and nowhere twice."""
    parked = view("bot", flow={"parked": "answer 404 of the endpoint"})
    told = "bot: answer 404 of the endpoint"
    lines = frame(None, look(2.0, parked, view("other")), width=80, height=24).plain.splitlines()
    assert told in lines
    assert not [line for line in lines if line.startswith("other:")]
    assert told not in frame(None, look(2.0, parked, view("other")), width=200, height=24).plain
    many_lines = frame(None, look(2.0, parked, *many(30)), width=80, height=14).plain.splitlines()
    assert len(many_lines) <= 14
    assert told not in many_lines


def test_trouble_is_told_beside_the_source() -> None:
    """Why a source is parked, or until when it is held, is at the end of its line, when there is room."""
    now = look(2.0, view("bot", flow={"parked": "answer 404\x1b[31m"}), view("sim", flow={"hold_until": 2_000_000}))
    text = frame(None, now, width=160).plain
    assert "answer 404\N{REPLACEMENT CHARACTER}[31m" in text
    assert "until " in text


def test_workers() -> None:
    """The silent ones come first; without any it is said that nothing is sent."""
    now = look(2.0, workers=[worker("a"), worker("b", alive=False), worker("c", stopping=True)])
    lines = frame(None, now, width=80).plain.splitlines()
    told = [[line.split()[0], *line.split()[2:4]] for line in lines if line[:1] in "abc" and line[1:2] == " "]
    assert [["b", "3", "silent"], ["a", "3", "alive"], ["c", "3", "stopping"]] == told
    assert " · 2 workers · " in lines[0]
    assert "no workers: nothing is sent" in frame(None, look(1.0), width=80).plain


def test_what_is_wrong_stays_in_sight() -> None:
    """Why there is nothing newer is shown also on a small terminal."""
    lines = frame(
        None, look(1.0, *many(50)), width=80, height=12, problem="no Redis answers", keys=True
    ).plain.splitlines()
    assert ["no Redis answers", "q quits"] == lines[-2:]
