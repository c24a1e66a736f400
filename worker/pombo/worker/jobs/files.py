"""The folder of exported dead letters, and how a file in it is read."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO, NamedTuple, Self

import orjson

from pombo.shared.errors import JobError

LONGEST_LINE = 64 << 20
"""Bytes of a line that is read: a record batch of 16 MB that cannot be read, as text or in Base64, has fewer."""
MOST_BYTES = 8 << 20
"""Of lines read at once, the last one apart."""
_SKIPPED = 1 << 20
"""Bytes of a longer line that are read at a time, to find its end."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class Line(NamedTuple):
    """One line of an exported file."""

    text: bytes
    """Without its line break; of one that is too long its first byte alone, which is no JSON object."""
    end: int
    """The byte behind it."""


def new_name(source: str, now: datetime) -> str:
    """A name that no file has: the source, the time in UTC, and something random."""
    return f"{source}-{now:%Y%m%dT%H%M%SZ}-{token_hex(3)}.ndjson"


def made_folder(folder: Path) -> Path:
    """The folder, made for its owner alone where it is not there.

    Raises:
        JobError: it cannot be made.
    """
    with explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Reading:
    """A file of the folder, opened for reading."""

    file: BinaryIO
    size: int

    @classmethod
    @contextmanager
    def of(cls, folder: Path, name: str) -> Iterator[Self]:
        """Open a file by its name alone: neither a path nor a link leads out of the folder.

        Raises:
            JobError: no file of that name is there, or it cannot be read.
        """
        if not _NAME.fullmatch(name):
            raise JobError(f"{name!r} is no name of a file in the folder of exports; give the name alone")
        path = folder / name
        # Without O_NONBLOCK, a pipe put there would be waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with explained(path):
            descriptor = os.open(path, flags)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise JobError(f"{path} is no file")
        with open(descriptor, "rb") as file:
            yield cls(file, found.st_size)

    def lines(self, at: int, count: int) -> list[Line]:
        """At most `count` lines from byte `at` on; fewer where they are long."""
        self.file.seek(at)
        found: list[Line] = []
        size = 0
        while len(found) < count and size < MOST_BYTES and (text := self.file.readline(LONGEST_LINE)):
            if len(text) == LONGEST_LINE and not text.endswith(b"\n"):
                text = text[:1]
                while (rest := self.file.readline(_SKIPPED)) and not rest.endswith(b"\n"):
                    pass
            size += len(text)
            found.append(Line(text.rstrip(b"\r\n"), self.file.tell()))
        return found


def stream_id_of(line: bytes) -> str:
    """The stream id of the dead letter in a line that an export wrote."""
    return str(orjson.loads(line)["id"]).rpartition("/")[2]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into what is told of the job.

    Raises:
        JobError: within, something went wrong with the file.
    """
    try:
        yield
    except OSError as error:
        raise JobError(f"{path}: {error.strerror or error}; see POMBO_EXPORT_DIR") from None
