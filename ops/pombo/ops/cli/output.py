"""What commands print: tables and sentences for people, one JSON document for programs, all on stdout."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pombo.ops.cli.failures import ReaderGoneError, one_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress

WIDE = 100_000
"""Columns where nobody's terminal is written to: no line is wrapped or cut."""
STYLES = {
    "active": "green",
    "held": "yellow",
    "paused": "yellow",
    "broken": "bold red",
    "parked": "bold red",
    "balanced": "green",
    "finished": "green",
    "failed": "bold red",
    "silent": "bold red",
}
"""Words that have a colour of their own in a table."""


def write(text: str) -> None:
    """Write to stdout.

    Raises:
        ReaderGoneError: nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise ReaderGoneError from None


def say(*lines: str) -> None:
    """Write lines to stdout."""
    write("".join(f"{line}\n" for line in lines))


def note(line: str) -> None:
    """Write a line to stderr: what is worth knowing beside the answer."""
    sys.stderr.write(f"{one_line(line)}\n")
    sys.stderr.flush()


def write_json(document: object) -> None:
    """Write one JSON document, for people to read too."""
    write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


async def write_json_list(items: AsyncIterator[object]) -> int:
    """Write one JSON array without holding its items; return how many there were."""
    count = 0
    write("[")
    async for item in items:
        write((",\n  " if count else "\n  ") + json.dumps(item, ensure_ascii=False))
        count += 1
    write("\n]\n" if count else "]\n")
    return count


def console(*, err: bool = False) -> "Console":
    """A console for stdout or stderr that colours nothing by itself and obeys NO_COLOR."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False)


def show(renderable: "RenderableType") -> None:
    """Write something of rich's to stdout."""
    screen = console()
    with screen.capture() as capture:
        screen.print(renderable)
    write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, keep: Sequence[str] = ()) -> None:
    """Write a table.

    Args:
        columns: their headings; one that starts with `>` is of numbers.
        rows: a value a column; None is shown as a dash.
        keep: headings of columns that are never cut, as people copy from them; the others give way.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        heading = column.removeprefix(">")
        table.add_column(
            heading,
            justify="left" if column == heading else "right",
            no_wrap=heading in keep,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(cell, row))
    show(table)


def show_fields(fields: Mapping[str, object]) -> None:
    """Write names and values below each other."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        shown = str(cell(value)) if value is not None else "-"
        write(f"{name:{width}}  {shown}\n")


def cell(value: object) -> Any:
    """A value as a cell of a table: other people's text cannot steer the terminal."""
    from rich.text import Text

    if value is None or value == "":
        return Text("-", "dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    text = f"{value:,}" if isinstance(value, int) else one_line(str(value))
    return Text(text, STYLES.get(text, ""), overflow="ellipsis", no_wrap=True)


def local(moment: datetime | str | None) -> str | None:
    """A moment for people: in the zone of this machine, to the second; text that is no moment stays."""
    if isinstance(moment, str):
        try:
            return local(datetime.fromisoformat(moment))
        except ValueError:
            return moment
    return None if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def brief(moment: datetime | str | None) -> str | None:
    """Like `local` where there is little room: month, day, hour and minute."""
    full = local(moment)
    return full and full[5:16]


def on_terminal() -> bool:
    """Whether somebody watches: progress is drawn on stderr alone, and only on a terminal."""
    return sys.stderr.isatty()


def progress(unit: Callable[[float], str]) -> "Progress":
    """A progress bar on stderr, gone when it is done, nothing without a terminal; `unit` shows its counts."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(TextColumn):
        """What is done, in the bar's unit."""

        def render(self, task: Any) -> Text:
            return Text(unit(task.completed))

    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), Count(""), TimeRemainingColumn(),
        console=console(err=True), transient=True, disable=not on_terminal(),
    )  # fmt: skip
