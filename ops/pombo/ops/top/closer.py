"""The page of one source: its last minutes, what died and what Segment answered, and its partitions."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from pombo.ops.cli.failures import one_line
from pombo.ops.closeup import Closeup, PartitionView
from pombo.ops.overview import Overview
from pombo.ops.top.charts import charts
from pombo.ops.top.columns import state
from pombo.ops.top.rates import Row
from pombo.ops.top.scene import Scene
from pombo.ops.wording import age, plural

ANSWERS: Final = 5
"""Answers that are shown."""


def source_page(scene: Scene, row: Row, width: int) -> Iterator[Text]:
    """All lines of the page."""
    yield _facts(row)
    yield Text()
    yield from charts(scene.closeup.history if scene.closeup else None, row, width)
    yield Text()
    yield from _letters(row, scene.closeup, scene.overview.now)
    yield Text()
    yield from _partitions(scene.closeup, scene.overview)


def _facts(row: Row) -> Text:
    view, flow = row.view, row.view.flow
    limit = f"limit {view.rate_limit:,.0f}/s" if view.rate_limit else "no limit"
    success = "never delivered" if flow.last_success is None else f"last success {_ago(flow.now, flow.last_success)}"
    parts = [state(row), view.source.url.removesuffix("/v1/batch"), limit, success]
    return Text(" · ".join(map(one_line, parts)))


def _letters(row: Row, closeup: Closeup | None, now: int) -> Iterator[Text]:
    ledger = row.view.ledger
    counts = sorted(((count, reason) for reason, count in ledger.dead_by_reason.items() if count), reverse=True)
    told = ", ".join(f"{count:,} {reason}" for count, reason in counts)
    yield Text(f"{plural(ledger.dead, 'dead letter')}{f': {told}' if told else ''}", "bold" if ledger.dead else "dim")
    for letter in (closeup.letters if closeup else ())[:ANSWERS]:
        header = letter.header
        when = _ago(now, round(letter.died_at.timestamp() * 1000))
        status = "no answer" if header.status is None else str(header.status)
        name = letter.event.get("event") or letter.event.get("type") or "?"
        words = f"  {when:>10}  {status}  {header.reason}  {name}"
        yield Text(one_line_kept(words)).append(f"  {one_line(header.answer or '')}", "dim")


def _partitions(closeup: Closeup | None, overview: Overview) -> Iterator[Text]:
    if closeup is None:
        yield Text("reading its partitions …", "dim")
        return
    live = {worker.id for worker in overview.workers if worker.alive(overview.now)}
    ordered = closeup.worst(live)
    cells = [("partition", "entries", "oldest", "flying", "sent", "owner"), *(_cells(p, overview.now) for p in ordered)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        padded = [f"{cell:>{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
        line = Text("  ".join([*padded, row[-1]]), "dim" if not number else "")
        if number and _alone(ordered[number - 1], live):
            line.append("  nobody who lives holds it", "bold red")
        yield line


def _cells(one: PartitionView, now: int) -> tuple[str, ...]:
    waits = "-" if one.at is None else age(max(0.0, (now - one.at) / 1000))
    sent = f"{one.attempts:,}×" if one.in_flight else "-"
    return str(one.number), f"{one.entries:,}", waits, f"{one.in_flight:,}", sent, one_line(one.owner) or "-"


def _alone(one: PartitionView, live: Sequence[str] | set[str]) -> bool:
    return one.at is not None and one.owner not in live


def _ago(now: int, at: int) -> str:
    return f"{age(max(0.0, (now - at) / 1000))} ago"


def one_line_kept(text: str) -> str:
    """Like `one_line`, with its spaces as they are."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
