"""`pombo send`: events from a file or a pipe, through the producer."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import INTERRUPTED, UNWELL
from pombo.ops.cli.options import Json, examples

if TYPE_CHECKING:
    from pombo.ops.cli.sender import Sender
    from pombo.shared.settings import Settings

EXAMPLES = examples(
    "pombo send events.ndjson --source bot",
    "zcat events.ndjson.gz | pombo send - --source bot --json",
    "jq -c '.event // empty' events.ndjson.rejects.ndjson | pombo send --source bot",
)
AWAY_S = 1.0
"""How long a Redis may take to accept an event that was away a moment ago, when there is a spool."""
SHOWN = 5
"""Rejects that are told one by one; all of them are in the file."""


def send(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|-", help="One event a line; - is standard input.", show_default=False),
    ] = "-",
    *,
    source: Annotated[str, typer.Option(metavar="NAME", help="The source they are for.", show_default=False)],
    rejects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rejects go, if any: unless set, FILE.rejects.ndjson or pombo-send.rejects.ndjson.",
            show_default=False,
        ),
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Hand on keys that Segment does not know, instead of rejecting.")
    ] = False,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, help="How long Redis may take to accept an event.")
    ] = 10.0,
    as_json: Json = False,
) -> int:
    """Send events from a file or a pipe.

    It holds NDJSON: one event in Segment's form a line. An event without messageId gets one. What is not
    accepted goes to the rejects file with line number and reason, and makes the exit code 1. With
    POMBO_SPOOL_DIR set, events wait there while Redis is away.
    """
    from pombo.ops.cli.rejects import Rejects
    from pombo.ops.cli.sender import Sender
    from pombo.shared.settings import read_settings

    settings = read_settings()
    with _opened(file) as stream:
        there = _is_there(source, settings)
        if settings.disabled:
            output.note("warning: POMBO_DISABLED is set: events are checked and discarded")
        path = rejects or Path("pombo-send.rejects.ndjson" if file == "-" else f"{file}.rejects.ndjson")
        sender = Sender(
            source, Rejects(path, source=None if file == "-" else Path(file)), settings, lenient=lenient,
            patience_s=patience if there else min(patience, AWAY_S),
        )  # fmt: skip
        interrupted = _send(sender, stream, _size(file), drain=there)
    _tell(sender, as_json=as_json)
    if interrupted:
        output.note(f"interrupted after line {sender.lines:,}; what follows it was not sent")
        return INTERRUPTED
    return UNWELL if sender.rejects.count else 0


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin.isatty():
            output.note("reading events from this terminal, one a line; Ctrl-D ends")
        yield sys.stdin.buffer
        return
    with Path(file).open("rb") as stream:
        yield stream


def _size(file: str) -> int | None:
    """Bytes to be read; None where nobody knows."""
    with suppress(OSError):
        return (Path(file).stat().st_size or None) if file != "-" else None
    return None


def _is_there(source: str, settings: "Settings") -> bool:
    """See that there is the source; False when Redis is away, and a spool takes the events."""
    from pombo.ops.cli.session import Session, run
    from pombo.ops.cli.trouble import RedisUnusableError

    async def exists(session: Session) -> None:
        await session.sources.get(source)

    try:
        run(exists)
    except RedisUnusableError as error:
        if settings.spool_dir is None or settings.disabled or error.exit_code != UNWELL:
            raise
        output.note(f"warning: {error}; until then events go to the spool in {settings.spool_dir}")
        return False
    return True


def _send(sender: "Sender", stream: BinaryIO, total: int | None, *, drain: bool) -> bool:
    """Send everything, with a progress bar on a terminal; return whether Ctrl-C ended it."""
    try:
        with sender, output.progress(wording.size) as bar:
            task = bar.add_task("sending", total=total)
            for end in sender.send(stream):
                told = f"{wording.plural(sender.accepted, 'event')}, {sender.rejects.count:,} rejected"
                bar.update(task, completed=end, description=told)
        if drain:
            sender.drain()
    except KeyboardInterrupt:
        return True
    return False


def _tell(sender: "Sender", *, as_json: bool) -> None:
    rejects, spooled = sender.rejects, min(sender.spooled, sender.held())
    path = str(rejects.path) if rejects.count else None
    for line in sender.complaints[:SHOWN]:
        output.note(line)
    if rejects.count > SHOWN:
        output.note(f"… and {rejects.count - SHOWN:,} more, all of them in {path}")
    if as_json:
        output.write_json(
            {
                "source": sender.source, "lines": sender.lines, "accepted": sender.accepted,
                "spooled": spooled, "rejected": rejects.count, "reasons": dict(rejects.reasons),
                "rejects": path,
            }
        )  # fmt: skip
        return
    rejected = f"; {rejects.count:,} rejected, see {path}" if path else ""
    output.say(f"{wording.plural(sender.accepted, 'event')} accepted{rejected}")
    if spooled:
        output.say(f"{spooled:,} of them spooled: a producer or `pombo send` with the same POMBO_SPOOL_DIR brings them")
