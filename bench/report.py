"""The figures for a terminal, for programs, and for `docs/benchmarks.md`."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.figures import Aim, Figure, Series
from bench.setting import Setting

_HEADINGS = ("", "unit", "pombo", "Segment's SDK", "RQ", "to the SDK", "to RQ", "aim", "met")


def as_json(setting: Setting, found: Sequence[Figure]) -> dict[str, Any]:
    """One document: the setting, and by key each figure with all its runs."""
    return {"setting": setting.describe(), "figures": {one.line.key: one.describe() for one in found}}


def show(console: Console, found: Sequence[Figure]) -> None:
    """Print one table of medians."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    for one in found:
        table.add_row(*_cells(one, spread=False))
    console.print(table)


def _cells(one: Figure, *, spread: bool) -> list[str]:
    aim, met = one.line.aim, one.met
    return [
        one.line.title,
        one.line.unit,
        *(_series(series, spread) for series in (one.pombo, one.sdk, one.rq)),
        *(_series(one.ratio(peer), spread) for peer in _PEERS),
        _aim(aim) if aim else "",
        {True: "yes", False: "NO", None: "" if aim is None else "?"}[met],
    ]


_PEERS: tuple[Literal["sdk"], Literal["rq"]] = ("sdk", "rq")


def _series(series: Series | None, spread: bool) -> str:
    if series is None:
        return ""
    low, high = series.spread
    shown = number(series.median)
    return f"{shown} ({number(low)} … {number(high)})" if spread and len(series.values) > 1 else shown


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _aim(aim: Aim) -> str:
    sign = "≥" if aim.at_least else "≤"
    bound = f"1/{1 / aim.bound:.0f}" if 0 < aim.bound < 1 else number(aim.bound)
    return f"{sign} {bound}"


def document(setting: Setting, found: Sequence[Figure]) -> str:
    """`docs/benchmarks.md`."""
    return "\n".join(_document(setting, found)) + "\n"


def _document(setting: Setting, found: Sequence[Figure]) -> Iterator[str]:
    plan = setting.plan
    yield "# Benchmarks"
    yield ""
    yield "<!-- Made by `make bench`; edit `bench/` instead. -->"
    yield ""
    yield f"Measured {setting.made_at} on {setting.machine}."
    yield f"Versions: {', '.join(f'{name} {one}' for name, one in sorted(setting.versions.items()))}."
    yield f"Events: {setting.corpus}."
    yield ""
    yield "Median of the rounds (least … greatest). A ratio is pombo's figure over its peer's in the same round."
    yield ""
    yield "| " + " | ".join(_HEADINGS) + " |"
    yield "| " + " | ".join("---" if number < 2 else "---:" for number in range(len(_HEADINGS))) + " |"
    for one in found:
        yield "| " + " | ".join(_cells(one, spread=True)) + " |"
    yield ""
    yield "## How it is measured"
    yield ""
    small, medium, large = (f"{count:,}" for count in plan.backlogs)
    yield from (
        f"- {plan.rounds} rounds after one that is not counted. In each, every road is taken once, one right after the"
        " other, each in a fresh",
        "  process; every second round goes in reverse. Single absolute figures of a shared machine say little, ratios"
        " within a round more.",
        "- **The server** runs on this machine, over a Unix socket, with an append-only file synced every second; RQ"
        " uses the same one.",
        "- **The sink** takes Segment's place: a process that answers 200, throws bodies away, and is not what limits.",
        f"- **pombo, enqueue**: `Producer.track` for each of {plan.enqueue_events:,} events, as fast as one thread can,"
        " with room for all of them, until Redis has accepted all.",
        f"- **pombo, deliver**: a worker (`--drain --no-jobs`, logging as by default) with a backlog of"
        f" {plan.drain_events:,} events in 8 partitions,",
        "  without rate limit. The rate counts from the first request's arrival to the last one's end; the CPU is the"
        " whole run's, start included.",
        f"- **Segment's SDK**: `track` for each of {plan.sdk_events:,} events with its consumer running and gzip on, a"
        " queue that holds all, then `flush`.",
        "  Its enqueue rate counts the calls alone, not the wait until anything is safe; its deliver rate runs until all"
        " is sent.",
        f"- **RQ**: one job an event, {plan.rq_jobs:,} of them, default serializer; run by `SimpleWorker`, which does not"
        " fork, each one POST over a",
        "  connection that stays open.",
        "- **Memory of Redis** is the change of `used_memory`, without buffers of clients and of the append-only file:"
        f" for a backlog of {large}",
        f"  events, for {plan.single_events:,} events each in a record batch of its own, and once the {large} are"
        " delivered and their ids remembered.",
        f"- **Memory of a worker** is its greatest resident set while it drains {small}, {medium} and {large} events.",
        "- CPU of pombo and RQ is without the server's, which has lines of its own; the SDK needs no server, and loses"
        " what it holds when its",
        "  process dies.",
    )
