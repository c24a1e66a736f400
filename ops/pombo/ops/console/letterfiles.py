"""Letter files: exported dead letters in this machine's folder of exports."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

from pombo.shared.deadletters import read_line
from pombo.shared.errors import JobError, RestoreError
from pombo.worker.jobs.drafts import Draft
from pombo.worker.jobs.files import Reading, made_folder, new_name

MOST_UPLOADED: Final = 500_000_000
"""Bytes of a file that a browser may bring; larger ones are copied into the folder."""
LISTED: Final = 200
"""Files shown, the newest first."""
CHECKED: Final = 20
"""Lines of an upload that are looked at before it becomes a job."""
_STEP: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}\.ndjson")


@dataclass(frozen=True, slots=True)
class LetterFile:
    """One file of the folder."""

    name: str
    size: int
    at: datetime
    """When it was written."""


def listed(folder: Path) -> list[LetterFile]:
    """The folder's files, the newest first; what cannot be one is passed over."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            told = entry.stat(follow_symlinks=False)
            if _NAME.fullmatch(entry.name) and stat.S_ISREG(told.st_mode):
                found.append(LetterFile(entry.name, told.st_size, datetime.fromtimestamp(told.st_mtime, UTC)))
    return sorted(found, key=lambda file: (file.at, file.name), reverse=True)[:LISTED]


def check_name(name: str) -> str:
    """The name, if it may be one of a file here.

    Raises:
        JobError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise JobError(f"{name[:80]!r} is no name of an export; give that of an .ndjson file, without a folder")
    return name


def contents(folder: Path, name: str) -> tuple[int, Iterator[bytes]]:
    """A file's size, and its bytes in steps; it is opened at once, and followed by no link.

    Raises:
        JobError: no such file is there.
    """
    opening = Reading.of(folder, check_name(name))
    reading = opening.__enter__()

    def steps() -> Iterator[bytes]:
        try:
            left = reading.size
            while left and (step := reading.file.read(min(_STEP, left))):
                left -= len(step)
                yield step
        finally:
            opening.__exit__(None, None, None)

    return reading.size, steps()


def keep(folder: Path, source: str, upload: BinaryIO, now: datetime) -> str:
    """Store an upload in the folder, for its owner alone; its name there.

    Raises:
        JobError: it cannot be written, or its first lines are none of an export.
    """
    check_lines(upload)
    draft = Draft(made_folder(folder) / new_name(f"{source}-upload", now))
    size = 0
    try:
        while step := upload.read(_STEP):
            size = draft.write(step, size)
        return draft.publish(size).name
    finally:
        draft.drop()


def check_lines(upload: BinaryIO) -> None:
    """See whether a file begins like an export.

    Raises:
        JobError: none of its first lines is a dead letter.
    """
    upload.seek(0)
    first = ""
    lines = (line for line in iter(lambda: upload.readline(_STEP), b"") if line.strip())
    for line in islice(lines, CHECKED):
        try:
            read_line(line)
        except RestoreError as error:
            first = first or str(error)
        else:
            upload.seek(0)
            return
    raise JobError(f"this is no export of dead letters: {first or 'it is empty'}")
