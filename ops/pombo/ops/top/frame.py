"""The frame: one screen of figures, cut to the terminal's size; what is least needed goes first."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.text import Text

from pombo.ops.cli.failures import one_line
from pombo.ops.cli.output import STYLES
from pombo.ops.overview import WorkerView
from pombo.ops.top.columns import COLUMNS, WORKER_COLUMNS, Column, figure
from pombo.ops.top.rates import Look, Rates, Row, rows
from pombo.ops.wording import plural, size

GAP: Final = "  "
NAME_WIDTH: Final = 24
"""Columns that a name may take on a narrow terminal."""
NOTE_WIDTH: Final = 12
"""Columns from which a note is worth showing."""
_STALE = "bold red"


def frame(
    before: Look | None, now: Look, *, width: int, height: int | None = None, problem: str = "", keys: bool = False
) -> Text:
    """One screen.

    Args:
        before: an earlier look, for the rates.
        now: what is shown.
        width: columns.
        height: lines; None is no limit.
        problem: why there is nothing newer.
        keys: whether somebody can press any.
    """
    found, workers = rows(before, now), now.overview.workers
    head = [*_head(now, found)]
    tail = [Text("q quits", "dim")] if keys else []
    if problem:
        tail.insert(0, Text(one_line(problem), _STALE))
    room = None if height is None else max(0, height - len(head) - len(tail) - (1 if tail else 0))
    body = _body(found, workers, now.overview.now, width, room)
    lines = [*head, *body, *([Text()] if tail else []), *tail]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def _head(now: Look, found: Sequence[Row]) -> Iterator[Text]:
    overview, server = now.overview, now.overview.redis
    alive = sum(worker.alive(overview.now) for worker in overview.workers)
    limit = f" of {size(server.maxmemory)}" if server.maxmemory else ""
    parts = (
        datetime.now().astimezone().strftime("%H:%M:%S"),
        plural(len(found), "source"),
        plural(alive, "worker"),
        f"{server.product} {server.version}",
        f"{size(server.used_memory)}{limit}",
        plural(server.clients, "connection"),
    )
    yield Text("pombo top  ", "bold").append(" · ".join(parts), "not bold")
    yield Text(_totals(found))
    yield Text()


def _totals(found: Sequence[Row]) -> str:
    rates = sum((row.rates for row in found if row.rates), Rates())
    ledgers = [row.view.ledger for row in found]
    return (
        f"in {figure(rates.accepted)}/s · out {figure(rates.delivered)}/s · dup {figure(rates.deduplicated)}/s · "
        f"dead {figure(rates.dead)}/s · {sum(one.queued for one in ledgers):,} queued · "
        f"{sum(one.in_flight for one in ledgers):,} in flight · {sum(one.dead for one in ledgers):,} dead"
    )


def _body(
    found: Sequence[Row], workers: Sequence[WorkerView], now: int, width: int, room: int | None
) -> Iterator[Text]:
    """Sources, then workers, which get a quarter of the room and what sources leave."""
    fleet = [*_fleet(workers, now)]
    if room is not None:
        spare = room - (len(found) + 1)
        fleet = _cut(fleet, max(room // 4, spare - 1, 3), "worker")
    left = None if room is None else max(2, room - len(fleet) - 1)
    yield from _sources(found, width, left)
    yield Text()
    yield from fleet


def _sources(found: Sequence[Row], width: int, room: int | None) -> Iterator[Text]:
    if not found:
        yield Text("there are no sources; `pombo sources add NAME --write-key -` makes one", "dim")
        return
    shown = found if room is None or len(found) < room else found[: max(1, room - 2)]
    columns, widths = _fitting(shown, width)
    note = width - sum(widths) - len(GAP) * len(widths)
    yield _line([column.heading for column in columns], widths, columns, "dim")
    cut: list[Text] = []
    for row in shown:
        line = _line([column.cell(row) for column in columns], widths, columns, STYLES.get(row.view.state, ""))
        told = _note(row)
        if told and note >= NOTE_WIDTH:
            line.append(f"{GAP}{told}")
        if told and len(told) > note:
            cut.append(Text(f"{one_line(row.view.name)}: {told}", "dim"))
        yield line
    if len(shown) < len(found):
        yield _rest(found[len(shown) :])
    if room is not None:
        spare = room - 1 - len(shown) - (len(shown) < len(found))
        yield from [Text(), *cut][: max(0, spare)] if cut else ()


def _rest(others: Sequence[Row]) -> Text:
    states = sorted({row.view.state for row in others})
    rates = sum((row.rates for row in others if row.rates), Rates())
    queued = sum(row.view.ledger.queued for row in others)
    text = f"{len(others):,} more ({', '.join(states)}): {queued:,} queued, in {figure(rates.accepted)}/s"
    return Text(f"{text}, out {figure(rates.delivered)}/s", "dim")


def _fitting(shown: Sequence[Row], width: int) -> tuple[list[Column], list[int]]:
    """The columns that there is room for, and how wide each is."""
    columns = list(COLUMNS)
    widths = {c.heading: max(len(c.heading), *(len(c.cell(row)) for row in shown)) for c in columns}
    for weight in sorted({column.weight for column in columns if column.weight}, reverse=True):
        if _total(columns, widths) <= width:
            break
        widths["source"] = min(widths["source"], NAME_WIDTH)
        if _total(columns, widths) > width:
            columns = [column for column in columns if column.weight != weight]
    excess = _total(columns, widths) - width
    widths["source"] = max(len("source"), widths["source"] - max(0, excess))
    return columns, [widths[column.heading] for column in columns]


def _total(columns: Sequence[Column], widths: dict[str, int]) -> int:
    return sum(widths[column.heading] for column in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column], style: str) -> Text:
    parts = []
    for cell, width, column in zip(cells, widths, columns, strict=True):
        cut = cell if len(cell) <= width else f"{cell[: width - 1]}…"
        parts.append(f"{cut:<{width}}" if column.left else f"{cut:>{width}}")
    whole = style == "dim"
    line = Text(GAP.join(parts), "dim" if whole else "")
    if style and not whole:
        start = widths[0] + len(GAP)
        line.stylize(style, start, start + widths[1])
    return line


def _note(row: Row) -> str:
    flow = row.view.flow
    if flow.reason:
        return one_line(flow.reason)
    until = flow.held_until
    return f"until {until.astimezone():%H:%M:%S}" if until else ""


def _fleet(workers: Sequence[WorkerView], now: int) -> Iterator[Text]:
    if not workers:
        yield Text("no workers: nothing is sent; `pombo worker` starts one", _STALE)
        return
    ordered = sorted(workers, key=lambda worker: (worker.alive(now), worker.id))
    cells = [[column.cell(worker, now) for column in WORKER_COLUMNS] for worker in ordered]
    headings = [column.heading for column in WORKER_COLUMNS]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for number, line in enumerate([headings, *cells]):
        padded = [
            f"{cell:<{width}}" if column.left else f"{cell:>{width}}"
            for cell, width, column in zip(line, widths, WORKER_COLUMNS, strict=True)
        ]
        yield Text(GAP.join(padded), "dim" if not number else "" if ordered[number - 1].alive(now) else _STALE)


def _cut(lines: list[Text], room: int, noun: str) -> list[Text]:
    """As many lines as there is room for; the last one says how many are missing."""
    if len(lines) <= room:
        return lines
    missing = len(lines) - max(1, room - 1)
    return [*lines[: max(1, room - 1)], Text(f"{plural(missing, f'more {noun}')}", "dim")]
