"""Tables of sources and of workers, as lines that are no wider than the terminal."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from pombo.ops.cli.failures import one_line
from pombo.ops.cli.output import STYLES
from pombo.ops.overview import WorkerView
from pombo.ops.problems import plain
from pombo.ops.top.columns import WORKER_COLUMNS, Column, figure
from pombo.ops.top.rates import Rates, Row
from pombo.ops.wording import plural

GAP: Final = "  "
NAME_WIDTH: Final = 24
"""Columns that a name may take on a narrow terminal."""
NOTE_WIDTH: Final = 12
"""Columns from which a note is worth showing."""
MARK: Final = "> "
"""Before the source that is selected, so that it shows without colours too."""
ALARM: Final = "bold red"


def source_lines(
    shown: Sequence[Row], columns: Sequence[Column], width: int, *, selected: str | None = None, sort: str = ""
) -> list[Text]:
    """A heading and a line a source, with why it does not send behind it, where there is room.

    Args:
        shown: the sources, in their order; at least one.
        columns: those that there may be.
        width: columns of the terminal.
        selected: the source to be marked; None where none can be.
        sort: heading of the column by which they are ordered.
    """
    mark = "" if selected is None else MARK
    fitting, widths = _fitting(shown, columns, width - len(mark))
    note = width - len(mark) - sum(widths) - len(GAP) * len(widths)
    head = _line([column.heading for column in fitting], widths, fitting)
    head.stylize("dim")
    for column in fitting:
        if column.heading == sort:
            head.highlight_words([column.heading], "bold underline not dim")
    lines = [_marked(head, " " * len(mark))]
    for row in shown:
        line = _line([column.cell(row) for column in fitting], widths, fitting)
        start = widths[0] + len(GAP)
        line.stylize(STYLES.get("broken" if row.blocked else row.view.state, ""), start, start + widths[1])
        told = _note(row)
        if told and note >= NOTE_WIDTH:
            line.append(f"{GAP}{told}", "dim")
        chosen = selected is not None and row.view.name == selected
        line = _marked(line, MARK if chosen else " " * len(mark))
        if chosen:
            line.stylize("bold")
        lines.append(line)
    return lines


def rest(others: Sequence[Row]) -> Text:
    """One line for all sources that are not shown."""
    states = sorted({row.view.state for row in others})
    rates = sum((row.rates for row in others if row.rates), Rates())
    queued, dead = (sum(getattr(row.view.ledger, name) for row in others) for name in ("queued", "dead"))
    text = f"{len(others):,} more ({', '.join(states)}): {queued:,} queued, {dead:,} dead"
    if any(row.rates for row in others):
        text += f", in {figure(rates.accepted)}/s, out {figure(rates.delivered)}/s"
    return Text(text, "dim")


def worker_lines(workers: Sequence[WorkerView], now: int, room: int | None = None) -> list[Text]:
    """A heading and a line a worker, the silent ones first; the last line says how many are missing."""
    if not workers:
        return [Text("no workers: nothing is sent; `pombo worker` starts one", ALARM)]
    ordered = sorted(workers, key=lambda worker: (worker.alive(now), worker.id))
    cells = [[column.cell(worker, now) for column in WORKER_COLUMNS] for worker in ordered]
    headings = [column.heading for column in WORKER_COLUMNS]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    lines = []
    for number, line in enumerate([headings, *cells]):
        padded = [
            f"{cell:<{width}}" if column.left else f"{cell:>{width}}"
            for cell, width, column in zip(line, widths, WORKER_COLUMNS, strict=True)
        ]
        style = "dim" if not number else "" if ordered[number - 1].alive(now) else ALARM
        lines.append(Text(GAP.join(padded).rstrip(), style))
    return cut(lines, room, "worker")


def cut(lines: list[Text], room: int | None, noun: str) -> list[Text]:
    """As many lines as there is room for; the last one says how many are missing."""
    if room is None or len(lines) <= room:
        return lines
    missing = len(lines) - max(1, room - 1)
    return [*lines[: max(1, room - 1)], Text(plural(missing, f"more {noun}"), "dim")]


def _fitting(shown: Sequence[Row], columns: Sequence[Column], width: int) -> tuple[list[Column], list[int]]:
    """The columns that there is room for, and how wide each is."""
    fitting = list(columns)
    widths = {c.heading: max(len(c.heading), *(len(c.cell(row)) for row in shown)) for c in fitting}
    for weight in sorted({column.weight for column in fitting if column.weight}, reverse=True):
        if _total(fitting, widths) <= width:
            break
        widths["source"] = min(widths["source"], NAME_WIDTH)
        if _total(fitting, widths) > width:
            fitting = [column for column in fitting if column.weight != weight]
    excess = _total(fitting, widths) - width
    widths["source"] = max(len("source"), widths["source"] - max(0, excess))
    return fitting, [widths[column.heading] for column in fitting]


def _total(columns: Sequence[Column], widths: dict[str, int]) -> int:
    return sum(widths[column.heading] for column in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> Text:
    parts = []
    for cell, width, column in zip(cells, widths, columns, strict=True):
        parts.append(f"{_short(cell, width):<{width}}" if column.left else f"{_short(cell, width):>{width}}")
    return Text(GAP.join(parts))


def _short(cell: str, width: int) -> str:
    """Cut in the middle: names often differ at their end."""
    if len(cell) <= width:
        return cell
    end = (width - 1) // 2
    return f"{cell[: width - 1 - end]}…{cell[len(cell) - end :]}"


def _marked(line: Text, mark: str) -> Text:
    return Text(mark).append_text(line) if mark else line


def _note(row: Row) -> str:
    flow = row.view.flow
    if flow.reason:
        return one_line(plain(flow.reason))
    until = flow.held_until
    return f"until {until.astimezone():%H:%M:%S}" if until else ""
