"""Editing a dead letter's event: in an editor or from a file, checked, shown as a difference, redriven."""

import difflib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pombo.ops.cli import inputs, output
from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError, one_line
from pombo.ops.cli.session import Session, run
from pombo.shared.deadletters import DeadLetter, edited, find, redrive_page
from pombo.shared.errors import InvalidEvent

EDITOR = "vi"
"""Where neither VISUAL nor EDITOR names one."""


def edit(letter_id: str, file: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Do `pombo dead edit`; return its exit code.

    Raises:
        CommandError: nobody can edit here, the file holds no event, or nothing was changed.
        InvalidEvent: the event of the file would be dropped by Segment.
    """
    letter = run(lambda session: find(session.redis, session.keys, letter_id))
    repaired = _by_hand(letter) if file is None else edited(letter, _event_of(_read(file)))
    if repaired.payload == letter.payload:
        raise CommandError("the event is as it was; nothing was done", UNWELL)
    lines = difference(letter, repaired)
    if not as_json:
        output.say(*map(_shown, lines))
        if letter.older:
            output.note(
                "it was accepted more than 24 h ago, when Segment stopped telling copies of it apart: should Segment "
                "have it already, it counts it twice"
            )
    if not dry_run:
        inputs.confirm("Redrive it like this?", yes=yes)
    moved = 0 if dry_run else run(lambda session: _redrive(session, repaired))
    if not dry_run and not moved:
        raise CommandError(f"dead letter {letter_id} is gone: somebody else has redriven or discarded it", UNWELL)
    if as_json:
        told = {"id": letter.id, "message_id": repaired.event["messageId"], "redriven": moved, "dry_run": dry_run}
        output.write_json({**told, "difference": lines, "payload": repaired.event})
    else:
        output.say("", "would be redriven" if dry_run else "redriven; `pombo trace` follows it by its messageId")
    return 0


def difference(before: DeadLetter, after: DeadLetter) -> list[str]:
    """What changed, as lines of a unified difference without its head."""
    old, new = _text(before).splitlines(), _text(after).splitlines()
    return [*difflib.unified_diff(old, new, lineterm="", n=2)][2:]


async def _redrive(session: Session, letter: DeadLetter) -> int:
    source = await session.sources.get(letter.source)
    return await redrive_page(session.redis, session.keys, source, [letter])


def _text(letter: DeadLetter) -> str:
    """The event as people edit it; of what is none, the text that it is."""
    if letter.event:
        return json.dumps(letter.event, indent=2, ensure_ascii=False) + "\n"
    return letter.payload.decode("utf-8", "replace")


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _event_of(text: bytes) -> Mapping[str, Any]:
    """The event in a text.

    Raises:
        CommandError: it is no JSON object.
    """
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CommandError(f"that is no JSON: {error.msg} in line {error.lineno}", MISUSE) from None
    if not isinstance(event, dict):
        raise CommandError("that is no JSON object, and so no event", MISUSE)
    return event


def _by_hand(letter: DeadLetter) -> DeadLetter:
    """The letter as somebody leaves it in an editor; what is wrong is told, and may be edited again.

    Raises:
        CommandError: there is no terminal, the editor failed, or whoever edits gave up.
    """
    if not sys.stdin.isatty():
        raise CommandError("an editor needs a terminal; give the event as FILE, or as - on standard input", MISUSE)
    with tempfile.TemporaryDirectory(prefix="pombo-edit-") as folder:
        path = Path(folder) / "event.json"
        path.touch(mode=0o600)
        path.write_text(_text(letter), "utf-8")
        while True:
            _run_editor(path)
            try:
                return edited(letter, _event_of(path.read_bytes()))
            except (InvalidEvent, CommandError) as error:
                output.note(str(error))
                inputs.confirm("Edit it again?", yes=False)


def _run_editor(path: Path) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or EDITOR)
    try:
        code = subprocess.call([*words, str(path)])  # noqa: S603 -- the user's own editor.
    except OSError as error:
        raise CommandError(
            f"{words[0]} cannot be run ({error.strerror}); EDITOR names another editor", MISUSE
        ) from None
    if code:
        raise CommandError(f"{words[0]} ended with {code}; nothing was done", UNWELL)


def _shown(line: str) -> str:
    """A line that cannot steer the terminal, with its indentation."""
    return line[: len(line) - len(line.lstrip(" +-"))] + one_line(line.lstrip(" +-"))
