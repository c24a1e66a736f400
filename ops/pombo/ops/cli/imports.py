"""Putting dead letters back that a file holds: checked as a whole before, and safe to run again."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from tempfile import TemporaryFile
from typing import BinaryIO

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL
from pombo.ops.cli.session import Session, run
from pombo.shared.deadletters import Numbered, Restored, digest_of, import_name, read_line, restore, restore_steps
from pombo.shared.errors import RestoreError

COMPLAINTS = 10
"""Lines of no use that are told by their numbers."""
CHUNK = 1 << 20
TIMEOUT_S = 60.0
"""How long one answer of Redis may take."""


@dataclass
class Survey:
    """What a file holds."""

    content: str = ""
    """Hash of its bytes."""
    letters: Counter[str] = field(default_factory=Counter)
    """By the source that they are put back into."""
    bad: list[str] = field(default_factory=list)
    """What is wrong with lines that hold no letter."""


@dataclass(frozen=True)
class _Into:
    """Where letters go, and who puts them there."""

    source: str | None
    """All of them; None when each goes into the one that it is of."""
    token: str
    """Names this command."""
    again: bool


def import_from(name: str, source: str | None, *, again: bool, dry_run: bool, as_json: bool) -> int:
    """Do `pombo dead import`; return its exit code.

    Args:
        name: of the file; `-` is standard input.
        source: into which all letters are put; None is the one that each is of.
        again: whether letters are put back, too, that were put back from this file before.
        dry_run: whether only to say what would be done.
        as_json: whether to print JSON.
    """
    with _opened(name) as file:
        survey = _look_through(file, source)
        for complaint in survey.bad[:COMPLAINTS]:
            output.note(complaint)
        if len(survey.bad) > COMPLAINTS:
            output.note(f"… and {len(survey.bad) - COMPLAINTS:,} lines more")
        into = _Into(source, token_hex(8), again=again)
        restored = run(lambda session: _restore(session, file, survey, into, dry_run=dry_run), timeout_s=TIMEOUT_S)
    if as_json:
        output.write_json(
            {
                "letters": survey.letters.total(), "restored": sum(one.put for one in restored.values()),
                "present": sum(one.present for one in restored.values()),
                "before": sum(one.before for one in restored.values()),
                "bad": len(survey.bad), "sources": dict(survey.letters), "dry_run": dry_run,
            }
        )  # fmt: skip
    else:
        _tell(survey, restored, dry_run=dry_run)
    return UNWELL if survey.bad or not survey.letters else 0


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    """The file, which is read more than once: standard input is kept in a file of no name."""
    if name != "-":
        with open(name, "rb") as file:
            yield file
        return
    with TemporaryFile() as kept:
        while chunk := sys.stdin.buffer.read(CHUNK):
            kept.write(chunk)
        yield kept


def _look_through(file: BinaryIO, source: str | None) -> Survey:
    survey = Survey(content=digest_of(file))
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            survey.letters[source or read_line(line).source] += 1
        except RestoreError as error:
            survey.bad.append(f"line {number}: {error}")
    return survey


def _letters(file: BinaryIO, of: str | None) -> Iterator[Numbered]:
    """The letters of a file that are of one source, or all."""
    file.seek(0)
    for number, line in enumerate(file, 1):
        try:
            letter = read_line(line)
        except RestoreError:
            continue
        if of is None or letter.source == of:
            yield Numbered(number, letter)


async def _restore(
    session: Session, file: BinaryIO, survey: Survey, into: _Into, *, dry_run: bool
) -> dict[str, Restored]:
    sources = [await session.sources.get(name) for name in survey.letters]
    restored: dict[str, Restored] = {}
    with output.progress(lambda done: f"{done:,.0f}") as bar:
        for source in () if dry_run else sources:
            task = bar.add_task(f"importing into {source.name}", total=survey.letters[source.name])
            restored[source.name] = Restored()
            name = import_name(survey.content, source, again=into.token if into.again else "")
            for step in restore_steps(_letters(file, None if into.source else source.name)):
                restored[source.name] += await restore(
                    session.redis, session.keys, source, step, name=name, by=into.token
                )
                bar.advance(task, len(step))
    return restored


def _tell(survey: Survey, restored: dict[str, Restored], *, dry_run: bool) -> None:
    if not survey.letters:
        output.say("no dead letter in there")
    for name, number in survey.letters.items():
        if dry_run:
            told = wording.plural(number, "dead letter")
            output.say(f"would put {told} back into {name}, without those that are there or were put back before")
            continue
        found = restored[name]
        there = f"; {found.present:,} were there already" if found.present else ""
        output.say(f"{wording.plural(found.put, 'dead letter')} put back into {name}{there}")
        if found.before:
            output.say(
                f"{found.before:,} had been put back from this file before, and were not put back again; "
                "--again does, also with those that have been redriven or discarded since"
            )
    if survey.bad:
        output.say(f"{wording.plural(len(survey.bad), 'line')} without a dead letter, passed over")
