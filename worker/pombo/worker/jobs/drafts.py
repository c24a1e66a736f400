"""A file that is written in steps, by one run of a job after the other, and gets its name when it is complete."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from secrets import token_hex

from pombo.worker.jobs.files import explained

LEFT_S = 8 * 24 * 3600
"""Seconds after which half a file that nobody has gone on with is deleted: RQ forgets a job a week after its end, and
one that is left of it in a queue begins anew."""
_COPIED = 1 << 20
"""Bytes copied at a time."""


class Draft:
    """What one run of a job has of a file, beside its name, for its owner alone.

    The run holds a lock on it while it lives. So the next one knows whether it may go on with the same file: where the
    run before lives, as a worker may that was believed dead, it takes a copy, and nothing that the other still writes
    gets into it. Neither ever takes the place of a file that is there.

    Args:
        path: what the file will be called.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f".{path.name}.{token_hex(4)}.part"
        """What it is called until then."""
        self._descriptor: int | None = None

    @property
    def beside(self) -> Path:
        """Where it is until then."""
        return self.path.with_name(self.name)

    def take_over(self, name: str, size: int) -> bool:
        """Go on with the first `size` bytes of what an earlier run wrote as `name`; False where they are not there.

        Raises:
            JobError: they cannot be copied.
        """
        if self._descriptor is not None:
            return name == self.name
        before = self.path.with_name(name)
        try:
            descriptor = os.open(before, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        if os.fstat(descriptor).st_size < size:
            os.close(descriptor)
            return False
        if _locked(descriptor):
            self.name, self._descriptor = name, descriptor
            return True
        try:
            self._copy(descriptor, size)
        finally:
            os.close(descriptor)
        return True

    def write(self, data: bytes, at: int) -> int:
        """Have it hold `data` from byte `at` on, and nothing behind, on the disk; return its size.

        Raises:
            JobError: it cannot be written.
        """
        with explained(self.beside):
            descriptor = self._opened()
            os.ftruncate(descriptor, at)
            rest, place = memoryview(data), at
            while rest:
                written = os.pwrite(descriptor, rest, place)
                rest, place = rest[written:], place + written
            os.fsync(descriptor)
        return at + len(data)

    def published(self, size: int) -> bool:
        """Whether there is nothing to take over because it got its name."""
        with suppress(OSError):
            return self.path.stat().st_size == size
        return False

    def publish(self, size: int) -> Path:
        """Give its first `size` bytes a name, for good; return it: its own, or one like it where that is taken.

        Call it again when it was cut off: it is known by what it holds.

        Raises:
            JobError: it is not there, or cannot be named.
        """
        if self._descriptor is None and self.published(size):
            return self.path
        with explained(self.path):
            self.write(b"", size)
            for path in _names(self.path):
                if _named(self.beside, path) or _same(self.beside, path):
                    break
            _sync_folder(path.parent)
            self.drop()
        return path

    def drop(self) -> None:
        """Delete what this run has of it."""
        if self._descriptor is not None:
            with suppress(OSError):
                self.beside.unlink()
        self.close()

    def close(self) -> None:
        """Let another run go on with it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.beside, flags, 0o600)
            _locked(self._descriptor)
        return self._descriptor

    def _copy(self, descriptor: int, size: int) -> None:
        with explained(self.beside):
            mine, place = self._opened(), 0
            while place < size:
                piece = os.pread(descriptor, min(_COPIED, size - place), place)
                place += os.pwrite(mine, piece, place)
            os.fsync(mine)


def sweep(folder: Path) -> None:
    """Delete halves of files that nobody goes on with: their jobs were cancelled while they waited, or lost."""
    with suppress(OSError):
        for path in folder.glob(".*.part"):
            if time.time() - path.lstat().st_mtime > LEFT_S:
                path.unlink()


def _locked(descriptor: int) -> bool:
    """Lock a file; False where somebody else has, or where nobody can tell."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _names(path: Path) -> Iterator[Path]:
    """A path, and then others like it."""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")


def _named(draft: Path, path: Path) -> bool:
    """Give a file one more name, unless that is taken."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:
        # Some file systems know no second name; the first one is taken away then, and there is nobody to race with.
        if path.exists():
            return False
        draft.rename(path)
    return True


def _same(one: Path, other: Path) -> bool:
    """Whether two files hold the same."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as mine, other.open("rb") as its:
        while piece := mine.read(_COPIED):
            if piece != its.read(_COPIED):
                return False
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
