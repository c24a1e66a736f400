"""The lock that lets one process at a time drain a spool; the kernel takes it back from a dead one."""

import os
import sys
from contextlib import suppress
from pathlib import Path


class SpoolLock:
    """An exclusive lock on a file of its own. It saves work: two who drain at once would do no harm."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock if nobody has it; tell whether it is ours.

        Raises:
            OSError: the file cannot be opened.
        """
        if self._descriptor is not None:
            if self._is_in_place(self._descriptor):
                return True
            self.release()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def _is_in_place(self, descriptor: int) -> bool:
        """Whether our file is still the one that others look at; a folder may be removed and made anew."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back, if it is ours. In a forked child this leaves the parent's alone."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # A file system without locks; see the class.
        return True
