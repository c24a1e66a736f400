from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from ops.top.looks import NOW, look, view, worker
from pombo.ops.jobcount import Jobs
from pombo.ops.overview import Head, SourceView, WorkerView
from pombo.ops.problems import ordered, problems
from pombo.ops.summary import summary
from pombo.ops.top.rates import rows

PARK = {"parked": "Segment answered 401: the write key is refused; `pombo sources rotate-key`", "parked_at": NOW - 9000}
ALIVE = (worker("w1"),)


def balanced(name: str, flow: dict[str, Any] | None = None, **ledger: int) -> SourceView:
    """A source whose ledger adds up."""
    counts: dict[str, Any] = {**ledger, "accepted": sum(ledger.values())}
    return view(name, flow=flow, **counts)


def screen(
    *views: SourceView, workers: Sequence[WorkerView] = ALIVE, jobs: Jobs | None = None, width: int = 80,
    height: int | None = 23, before: Sequence[SourceView] = (),
) -> list[str]:  # fmt: skip
    """What is on the screen."""
    now = look(2.0, *views, workers=workers)
    earlier = look(1.0, *before) if before else None
    found = ordered(problems(now.overview, None, NOW))
    lines = summary(now.overview, rows(earlier, now), found, jobs=jobs, width=width, height=height)
    return [line.plain for line in lines]


def test_a_handful_of_sources_at_three_in_the_morning() -> None:
    """At 80×24 the verdict, the commands, every source and all that is around them are on one screen."""
    shop = replace(balanced("shop", queued=2000, dead=3), heads=(Head(NOW - 120_000, "w1"),))
    shown = screen(
        balanced("bot", PARK, queued=7), shop, balanced("chat", {"hold_until": NOW + 25_000}), balanced("intern"),
        workers=(*ALIVE, worker("w2", alive=False)), jobs=Jobs(2, 1, 1, 1),
    )  # fmt: skip
    assert len(shown) <= 23
    assert "2 sources and the installation need you" == shown[0]
    assert "    pombo sources rotate-key bot --write-key -" in shown
    table = [line.split()[:2] for line in shown if line.split()[:1] in (["bot"], ["shop"], ["chat"], ["intern"])]
    assert [["bot", "parked"], ["chat", "held"], ["shop", "active"], ["intern", "active"]] == table
    assert "workers  1 alive · 1 silent · 3 leases · 0 unowned partitions" in shown
    assert "jobs     1 running · 1 queued · 1 failed" in shown


def test_a_thousand_sources_are_summed_up() -> None:
    """Those in trouble come first, what they share is told once, and the rest is one line with its sums."""
    views = [balanced(f"source-{n:03}", PARK if n % 2 else None, queued=1) for n in range(1000)]
    shown = screen(*views)
    assert len(shown) <= 23
    assert "✗ parked: 500 sources, source-001, source-003, source-005 and 497 more;" == shown[1]
    told = sum(line.startswith("source-") for line in shown)
    assert told >= 3
    assert f"{1000 - told} more (active, parked): {1000 - told} queued, 0 dead" in shown
    assert "ledger   balanced · 1,000 accepted = 1,000 queued" == next(x for x in shown if x.startswith("ledger"))


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("height", [12, 23, 39, None])
def test_it_fits_the_terminal(width: int, height: int | None) -> None:
    """No line is too long, and there are no more of them than the terminal has."""
    views = [balanced(f"a-source-with-a-rather-long-name-{n}", PARK if n < 9 else None, queued=n) for n in range(200)]
    shown = screen(*views, workers=[worker(f"w{n}") for n in range(40)], width=width, height=height)
    assert all(cell_len(line) <= width for line in shown)
    assert height is None or len(shown) <= height


def test_without_a_limit_nothing_is_left_out() -> None:
    """In a pipe every source and every worker has its line."""
    views = [balanced(f"source-{n:03}", PARK) for n in range(100)]
    shown = screen(*views, workers=[worker(f"w{n}") for n in range(40)], height=None)
    told = [sum(line.startswith(beginning) for line in shown) for beginning in ("source-", "w1", "w2", "w3")]
    assert [100, 11, 11, 11] == told


def test_rates_are_shown_once_they_are_known() -> None:
    """A source that was looked at twice has its speed, and how long its backlog takes."""
    (line,) = [
        x for x in screen(view("bot", accepted=100, queued=50), before=[view("bot", accepted=40)]) if "bot  " in x
    ]
    assert ["bot", "active", "50", "0", "-", "60", "0"] == line.split()[:7]


def test_a_ledger_that_does_not_add_up_is_named() -> None:
    """The line of the ledger begins with it, so that no width cuts it off."""
    assert any(x.startswith("ledger   NOT BALANCED (bot) · 3 accepted") for x in screen(view("bot", accepted=3)))


def test_nobody_and_nothing() -> None:
    """An installation without sources and workers says how to make both."""
    shown = screen(workers=())
    assert "There are no sources; `pombo sources add NAME --write-key -` makes one." in shown
    assert "workers  none lives: nothing is sent; `pombo worker` starts one" in shown


def test_jobs_that_nobody_does() -> None:
    """They are told with what is missing."""
    assert any("nobody does them" in line for line in screen(jobs=Jobs(2, 0)))
