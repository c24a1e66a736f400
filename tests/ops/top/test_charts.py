from dataclasses import replace

import pytest
from rich.cells import cell_len

from ops.top.looks import view
from pombo.ops.top.charts import charts
from pombo.ops.top.rates import Rates, Row
from pombo.shared.history import History, Sample, Span
from pombo.shared.history.samples import Sums, Waits
from pombo.shared.history.series import Grid
from pombo.shared.history.sheet import lay

NOW = 1_000_005_000
ROW = Row(view("bot", queued=300, queued_bytes=9000), Rates(accepted=8.0, delivered=6.0))


def taken(slots_ago: int, tallies: dict[str, int] | None = None, waiting: int = 0, **sums: int) -> Sample:
    """A sample at the end of a slot of 10 s."""
    at = NOW - NOW % 10_000 - slots_ago * 10_000 + 9_999
    waits = Waits(waiting, 0, 5)
    return Sample(at - at % 10_000, at, Sums(**sums), waits, waits, 1000, tallies or {})


def history(*samples: Sample, spans: tuple[Span, ...] = ()) -> History:
    """The last 15 minutes of these samples."""
    grid = Grid.until(NOW, "15m")
    return History(NOW, grid, lay([samples], grid), {"bot": spans} if spans else {})


def drawn(found: History | None, width: int = 200) -> list[str]:
    return [line.plain for line in charts(found, ROW, width)]


FLOW = history(
    *(taken(n, accepted=100 * (9 - n), delivered=50 * (9 - n), waiting=50 * (9 - n)) for n in range(9, 3, -1)),
    taken(3, {"2xx": 7, "429": 2, "retries": 2, "b1": 90, "b12": 10}, accepted=500, delivered=500, dead=1),
    taken(2, accepted=500, delivered=500, dead=1), taken(1, accepted=500, delivered=500, dead=1),
)  # fmt: skip


def test_a_quarter_of_an_hour_in_lines() -> None:
    """In and out share a scale, what is not known is left out, and beside each line are its figures."""
    lines = drawn(FLOW)
    assert [["in", "out", "dead", "waiting"]] == [[line.split()[0] for line in lines[:4]]]
    assert lines[0].endswith("▄▄▄▄▄▁▁▁  8.0/s now, 10/s at most")
    assert lines[1].endswith("▂▂▂▂▂█▁▁  6.0/s now, 25/s at most")
    assert lines[2].endswith("▁▁▁▁▁█▁▁  0/s now, 0.1/s at most")
    assert lines[3].endswith("  300 events, 9.0 kB")


def test_answers_and_ages() -> None:
    """How often Segment answered what, and how old events were when it took them."""
    assert [
        "answers   2xx 7 · 429 2 in 15 min · 2 to be sent again",
        "delivered half within 8 ms of their acceptance, 99 % within 57 s",
    ] == drawn(FLOW)[-2:]
    assert "answers   none in 15 min" == drawn(history(taken(2), taken(1)))[-1]


def test_when_it_was_kept_from_sending() -> None:
    """A letter for the part of the time in which it was held, broken, parked or paused; it goes on until now."""
    grid = FLOW.grid
    spans = (Span("held", grid.begin, grid.begin + 20_000), Span("broken", NOW - 31_000, None))
    (line,) = [line for line in drawn(replace(FLOW, states={"bot": spans})) if line.startswith("state")]
    shown = line.split()[1]
    assert (89, "hh·", "·bbb") == (len(shown), shown[:3], shown[-4:])


@pytest.mark.parametrize(("width", "wide"), [(60, 15), (80, 30), (120, 45), (200, 89)])
def test_charts_are_as_wide_as_there_is_room(width: int, wide: int) -> None:
    """All lines of blocks have one width, and the figures beside them are not cut."""
    lines = drawn(replace(FLOW, states={"bot": (Span("held", 0, None),)}), width)[:5]
    assert all(cell_len(line) <= width for line in lines)
    assert [wide] * 5 == [line[10:].find("  ", wide) if line[10:].strip() else 0 for line in lines]
    assert "h" * wide in lines[4]


def test_a_source_that_nobody_sampled() -> None:
    """Without samples there are the figures of now, and it is said who takes some."""
    expected = [
        "in        8.0/s now", "out       6.0/s now", "dead      0/s now", "waiting   300 events, 9.0 kB",
        "no charts yet: workers take a sample every 10 s, and the console without them",
    ]  # fmt: skip
    assert expected == drawn(history()) == drawn(None)
