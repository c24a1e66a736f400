from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from rich.cells import cell_len

from ops.top.looks import NOW, look, view, worker
from pombo.ops.closeup import Closeup, PartitionView
from pombo.ops.overview import SourceView
from pombo.ops.problems import away, problems
from pombo.ops.top.frame import frame
from pombo.ops.top.rates import Look
from pombo.ops.top.scene import Scene
from pombo.ops.top.view import Change, View
from pombo.shared.deadletters import DeadLetter, LetterHeader

AT = datetime(2026, 1, 2, 3, 4, 5)
ALIVE = (worker("w1"),)
PARK = {"parked": "Segment answered 401: the write key is refused; `pombo sources rotate-key`"}


def many(count: int) -> list[SourceView]:
    """Sources with ever smaller backlogs."""
    return [view(f"a-source-with-a-rather-long-name-{n}", queued=count - n, queued_bytes=9_999) for n in range(count)]


def sound(name: str, **more: Any) -> SourceView:
    """A source whose ledger adds up."""
    made = view(name, **more)
    total = made.ledger.queued + made.ledger.delivered + made.ledger.dead + made.ledger.in_flight
    return replace(made, ledger=replace(made.ledger, accepted=total))


def scene(now: Look, before: Look | None = None, **more: Any) -> Scene:
    """A scene of these looks."""
    return Scene.of(before, now, problems(now.overview, None, NOW), AT, **more)


def shown(now: Look, before: Look | None = None, *, width: int = 80, height: int | None = 24, **more: Any) -> list[str]:
    """The lines on the screen."""
    return [line.plain.rstrip() for line in frame(scene(now, before, **more), width, height)]


def header(lines: Sequence[str]) -> list[str]:
    """The headings of the table of sources."""
    (line,) = [line for line in lines if line.split()[:2] == ["source", "state"]]
    return line.split()


@pytest.mark.parametrize("page", ["sources", "source", "help"])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 300])
@pytest.mark.parametrize("height", [5, 12, 24, 60])
def test_a_frame_fits_any_terminal(width: int, height: int, page: Any) -> None:
    """With 1,000 sources and 50 workers no line is too long, and there are as many lines as the terminal has."""
    views = many(1000)
    now = look(2.0, *views, workers=[worker(f"w{n}") for n in range(50)])
    lines = shown(now, width=width, height=height, view=View(page, selected=views[3].name))
    assert all(cell_len(line) <= width for line in lines)
    assert height == len(lines)


def test_eighty_columns_have_what_matters() -> None:
    """At 80 columns states, rates, backlogs and ages are there; the rest of the sources is one line."""
    lines = shown(look(2.0, *many(1000), workers=ALIVE), look(1.0, *many(1000)))
    assert {"state", "in/s", "out/s", "queued", "oldest"} <= set(header(lines))
    (rest,) = [line for line in lines if " more (active)" in line]
    told = sum(line[2:].startswith("a-source") for line in lines)
    assert rest.startswith(f"{1000 - told} more (active): ")
    assert told >= 6


def test_narrow_terminals_drop_columns() -> None:
    """What is least needed goes first, and source, state and queued stay."""
    now = look(2.0, sound("bot", queued=5), workers=ALIVE)
    counts = [header(shown(now, width=width)) for width in (200, 90, 70, 50, 34)]
    assert all(set(small) < set(large) or small == large for large, small in pairwise(counts))
    assert ["source", "state", "queued"] == counts[-1]


def test_figures() -> None:
    """The line of a source has its rates, its backlog and how long it takes; the totals are above."""
    before = look(1.0, view("bot", accepted=100))
    now = look(2.0, view("bot", accepted=1300, delivered=2200, queued=5000, queued_bytes=1_200_000, in_flight=300))
    lines = shown(now, before, width=200)
    (line,) = [line.split() for line in lines if line.startswith("> bot")]
    assert ["bot", "active", "1,200", "2,200", "0", "0", "5,000", "1.2", "MB", "300"] == line[1:11]
    assert ["in", "5.3", "s"] == line[12:15]
    assert "in 1,200/s · out 2,200/s" in lines[1]
    assert "03:04:05" in lines[0]


def test_a_first_look_knows_no_rates() -> None:
    """Before the second look there are neither rates nor an estimate, rather than wrong ones."""
    (line,) = [line.split() for line in shown(look(1.0, sound("bot", queued=5)), width=200) if line.startswith("> bot")]
    assert ["bot", "active", "-", "-", "-", "-", "5"] == line[1:8]
    assert "never" not in line


def test_what_is_wrong_comes_before_all_else_with_what_to_type() -> None:
    """The verdict is above the table, each problem with its command, whatever else there is."""
    lines = shown(look(2.0, sound("bot", flow=PARK, queued=3), *(sound(f"s{n}") for n in range(99)), workers=ALIVE))
    assert "1 source needs you" == lines[2]
    assert lines[3].startswith("✗ bot — parked: ")
    assert "    pombo sources rotate-key bot --write-key -" in lines[:6]
    assert "All well" == shown(look(2.0, sound("bot"), workers=ALIVE))[2]


def test_trouble_is_told_beside_the_source_too() -> None:
    """Why a source is parked, or until when it is held, is at the end of its line, when there is room."""
    now = look(2.0, view("bot", flow={"parked": "answer 404\x1b[31m"}), view("sim", flow={"hold_until": 2_000_000}))
    text = "\n".join(shown(now, width=160))
    assert "answer 404\N{REPLACEMENT CHARACTER}[31m" in text
    assert "until " in text
    assert "held 17 min" in text


def test_workers() -> None:
    """The silent ones come first; without any it is said that nothing is sent."""
    now = look(2.0, workers=[worker("a"), worker("b", alive=False), worker("c", stopping=True)])
    lines = shown(now)
    told = [[line.split()[0], *line.split()[2:4]] for line in lines if line[:1] in {*"abc"} and line[1:2] == " "]
    assert [["b", "3", "silent"], ["a", "3", "alive"], ["c", "3", "stopping"]] == told
    assert " · 2 workers · " in lines[0]
    assert "no workers: nothing is sent; `pombo worker` starts one" in shown(look(1.0))


def test_the_selection_stays_in_sight() -> None:
    """However far down the list it is; the rest, above and below, is summed up."""
    views = many(1000)
    now = look(2.0, *views, workers=ALIVE)
    for place in (0, 3, 500, 999):
        lines = shown(now, view=View(selected=views[place].name), width=120)
        (marked,) = [line for line in lines if line.startswith("> ")]
        assert marked.split()[1].partition("…")[2] == views[place].name[-11:]
        told = sum(line[2:].startswith("a-source") for line in lines)
        assert any(line.startswith(f"{1000 - told} more") for line in lines)


def test_a_filter_that_finds_nothing_says_so() -> None:
    """An empty list would look like an empty installation."""
    lines = shown(look(2.0, sound("bot"), sound("shop"), workers=ALIVE), view=View(wanted="zz"))
    assert "none of 2 sources has 'zz' in its name or state" in lines
    assert "/ filter: zz" in lines[-1]


def test_what_was_asked_for_is_asked_again() -> None:
    """The last line is the question; what became of it stands there afterwards."""
    now = look(2.0, sound("bot"), workers=ALIVE)
    assert shown(now, view=View(asked=Change("pause", "bot")))[-1].startswith("pause bot?  y: yes, any other key: no")
    assert "source bot is paused" == shown(now, view=View(said="source bot is paused"))[-1]
    assert shown(now, view=View(typing=True, wanted="sh"))[-1].startswith("show only: sh")


def test_while_redis_is_away_all_is_grey_below_what_is_wrong() -> None:
    """The last frame stays, without colours, so that nobody takes it for what is; the verdict is that Redis is away."""
    now = look(2.0, sound("bot", flow=PARK), workers=ALIVE)
    made = replace(scene(now), stale=True, found=[away("no Redis answers at unix:///x", 12.0)])
    lines = frame(made, 80, 24)
    assert "The installation needs you" == lines[2].plain
    assert lines[3].plain.startswith("✗ Redis is away: last heard 12 s ago: no Redis answers at unix:///x")
    body = [line for line in lines if "> bot" in line.plain]
    assert [("dim", [])] == [(line.style, line.spans) for line in body]


def test_nobody_can_press_keys_in_a_pipe() -> None:
    """Without a keyboard there is neither selection nor a line of keys, and nothing is left out."""
    lines = shown(look(2.0, *many(99), workers=ALIVE), height=None, keys=False)
    assert 99 == sum(line.startswith("a-source") for line in lines)
    assert not [line for line in lines if "q quit" in line]


def near(now: Look, height: int = 40, **more: Any) -> list[str]:
    """The page of source bot."""
    return shown(now, height=height, width=100, view=View("source", "bot", **more.pop("of", {})), **more)


def test_a_source_from_near() -> None:
    """Its state, its last minutes as blocks, what Segment answered, and every partition with its owner."""
    before = look(1.0, sound("bot", delivered=10))
    dead = {"dead_by_reason": {"rejected_by_segment": 2, "poison": 1}}
    now = look(2.0, sound("bot", delivered=30, queued=400, dead=3, **dead), workers=ALIVE)
    letter = DeadLetter(
        "bot", f"{NOW - 60_000}-0", LetterHeader("rejected_by_segment", 0, status=400, answer="no such\x1b[1m event"),
        b'{"messageId":"m1","type":"track","event":"Order Placed"}',
    )  # fmt: skip
    partitions = (PartitionView(0, 2, NOW - 5000, "w1", 7, 2), PartitionView(1, 9, NOW - 90_000, "gone"))
    lines = near(now, before=before, closeup=Closeup("bot", partitions, (letter,)))
    text = "\n".join(lines)
    assert "› bot" in lines[0]
    assert "active · https://api.segment.io · limit 1,000/s · never delivered" in lines
    assert "out       20/s now" in lines
    assert "3 dead letters: 2 rejected_by_segment, 1 poison" in lines
    assert "400  rejected_by_segment  Order Placed  no such\N{REPLACEMENT CHARACTER}[1m event" in text
    rows_ = [line.split() for line in lines if line.strip()[:1] in {"0", "1"}]
    assert [["1", "9", "90", "s", "0", "-", "gone"], ["0", "2", "5.0", "s", "7", "2×", "w1"]] == [r[:7] for r in rows_]
    assert text.count("nobody who lives holds it") == 1


def test_a_long_page_scrolls() -> None:
    """What is below the screen is counted, and an arrow brings it up; nothing lies beyond the end."""
    partitions = tuple(PartitionView(n, 0, None, "w1") for n in range(64))
    now, closeup = look(2.0, sound("bot"), workers=ALIVE), Closeup("bot", partitions)
    top = near(now, height=24, closeup=closeup)
    assert any(line.endswith("more lines: ↓") for line in top)
    end = near(now, height=24, closeup=closeup, of={"scroll": 9999})
    assert not any(line.endswith("more lines: ↓") for line in end)
    assert "63" == end[-2].split()[0]


def test_a_source_that_was_removed_meanwhile() -> None:
    """Its page says so instead of showing another one."""
    assert "there is no source bot any more" in near(look(2.0, sound("shop"), workers=ALIVE))


def test_the_help_names_every_key() -> None:
    """The page of keys has each that does something."""
    text = "\n".join(shown(look(2.0), view=View("help"), height=60))
    assert all(f"  {key}" in text for key in ("↑ ↓  j k", "⏎", "p", "s  S", "/", "?", "esc", "q  ^C"))
