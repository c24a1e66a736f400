"""The figures for a terminal, for programs, and for `docs/benchmarks.md`."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import Aim, Comparison, Figure, Series
from bench.setting import Setting

NAMES: Mapping[str, str] = {
    "sdk": "segment-analytics-python",
    "sdk_consumer": "the same, its consumer alone",
    "sdk_import": "import segment.analytics",
    "node": "@segment/analytics-node",
    "rq": "RQ, a job an event",
    "streaq": "streaq, a job an event",
    "arq": "arq, a job an event",
    "xadd": "limit: a pipelined XADD an event",
    "post": "limit: gzip and POST of ready bytes",
    "post_zlib": "the same with zlib's gzip",
    "hollow": "limit: the same server, doing nothing",
    "near": "the same over Redis' own socket",
    "relay": "the same through an idle relay",
}
"""What stands beside pombo, as the tables call it."""
_HEADINGS = ("", "unit", "pombo", "beside", "its figure", "pombo / it", "aim", "met")
_LEFT = {0, 1, 3}
_VERDICTS = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True, slots=True)
class Chapter:
    """A section's results, ready to be shown: its figures, and how they were measured."""

    name: str
    title: str
    figures: Sequence[Figure]
    method: str


def as_json(setting: Setting, chapters: Sequence[Chapter]) -> dict[str, Any]:
    """One document: the setting, and by key each figure with all its runs."""
    found = {one.line.key: {"section": it.name, **one.describe()} for it in chapters for one in it.figures}
    return {"setting": setting.describe(), "figures": found}


def show(console: Console, chapters: Sequence[Chapter]) -> None:
    """Print one table of medians."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if number in _LEFT else "right", no_wrap=True)
    for chapter in chapters:
        table.add_row(f"[bold]{chapter.title}[/bold]")
        for one in chapter.figures:
            for row in rows(one, spread=False):
                table.add_row(*row)
        table.add_section()
    console.print(table)


def rows(one: Figure, *, spread: bool) -> Iterator[list[str]]:
    """Pombo's own value with the first peer or its own aim, then a row for each further comparison."""
    own = [one.line.title, one.line.unit, _series(one.pombo, spread)]
    comparisons = list(one.comparisons)
    if one.line.aim is not None or not comparisons:
        yield [*own, "", "", "", _aim(one.line.aim), _VERDICTS[one.met]]
    else:
        yield [*own, *_compared(comparisons.pop(0), spread)]
    for comparison in comparisons:
        yield ["", "", "", *_compared(comparison, spread)]


def _compared(one: Comparison, spread: bool) -> list[str]:
    name = NAMES[one.beside.name]
    return [name, _series(one.theirs, spread), _series(one.ratio, spread), _aim(one.beside.aim), _VERDICTS[one.met]]


def _series(series: Series, spread: bool) -> str:
    low, high = series.spread
    shown = number(series.median)
    return f"{shown} ({number(low)} … {number(high)})" if spread and len(series.values) > 1 else shown


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _aim(aim: Aim | None) -> str:
    if aim is None:
        return ""
    sign = "≥" if aim.at_least else "≤"
    bound = f"1/{1 / aim.bound:.0f}" if 0 < aim.bound < 0.5 else number(aim.bound)
    return f"{sign} {bound}"


def document(setting: Setting, chapters: Sequence[Chapter]) -> str:
    """`docs/benchmarks.md`."""
    return "\n".join(_document(setting, chapters)) + "\n"


def _document(setting: Setting, chapters: Sequence[Chapter]) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "<!-- Made by `make bench`; edit `bench/` instead. -->"
    yield ""
    yield f"Measured {setting.made_at} on {setting.machine}."
    yield f"Versions: {', '.join(f'{name} {one}' for name, one in sorted(setting.versions.items()))}."
    yield f"Events: {setting.corpus}. The sink that takes Segment's place is {setting.sink}."
    yield ""
    yield "Median of the rounds (least … greatest). A ratio is pombo's figure over the one beside it in the same round;"
    yield "an aim in a row with a name beside pombo is for the ratio."
    yield ""
    yield "| " + " | ".join(_HEADINGS) + " |"
    yield "| " + " | ".join("---" if number in _LEFT else "---:" for number in range(len(_HEADINGS))) + " |"
    for chapter in chapters:
        yield f"| **{chapter.title}** |" + "  |" * (len(_HEADINGS) - 1)
        for one in chapter.figures:
            for row in rows(one, spread=True):
                yield "| " + " | ".join(row) + " |"
    yield ""
    yield "## How it is measured"
    yield ""
    for paragraph in (*_common(setting), *(f"**{one.title}.** {one.method}" for one in chapters)):
        yield from textwrap.wrap(f"- {paragraph}", 120, subsequent_indent="  ", break_on_hyphens=False)


def _common(setting: Setting) -> Iterator[str]:
    plan = setting.plan
    yield (
        f"**Rounds.** {plan.rounds} where ratios to peers are judged, {plan.few_rounds} of what takes longer, after one"
        " that is not counted; one of what hardly varies. In each, every road is taken once, one right after the other,"
        " each in a fresh process; every second round goes in reverse. Single absolute figures of a shared machine say"
        " little, ratios within a round more."
    )
    yield (
        "**The server** runs on this machine, over a Unix socket, with an append-only file synced every second; all"
        " peers that need one use the same. The sink answers 200 over connections that stay open and throws bodies away."
        " CPU of pombo and of the job queues is without the server's, which has rows of its own; Segment's SDKs need no"
        " server, and lose what they hold when their process dies."
    )
