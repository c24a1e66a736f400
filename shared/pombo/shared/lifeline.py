"""The pipe by which a child process notices that its parent is gone, even when that was killed with -9.

The parent keeps the write end and never writes; the child waits for the end of file, which the kernel sends
when the last write end closes. (`PR_SET_PDEATHSIG` would need code between fork and exec, which is unsafe in
a process with threads, and it follows the parent's thread.)
"""

import os
import signal
import stat
import threading
import time

PARENT_FD = "POMBO_PARENT_FD"
"""Environment variable that gives a child the number of the pipe's read end."""
GRACE_S = 27.0
"""Seconds a child gets to stop by itself: below the 30 s after which container platforms kill."""


def die_with_parent(*, grace_s: float = GRACE_S) -> bool:
    """Stop this process as by SIGTERM when its parent is gone; kill it if that takes over `grace_s` seconds.

    Returns:
        Whether the process has such a parent; one started by hand has none and is left alone.
    """
    fd = _read_end(os.environ.pop(PARENT_FD, ""))
    if fd is None:
        return False
    threading.Thread(target=_watch, args=(fd, grace_s), name="lifeline", daemon=True).start()
    return True


def _read_end(number: str) -> int | None:
    """The descriptor when it is a pipe: the variable may have come through a process that closed it."""
    try:
        fd = int(number)
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return None
        os.set_inheritable(fd, False)
    except (ValueError, OverflowError, OSError):
        return None
    return fd


def _watch(fd: int, grace_s: float) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os.kill(os.getpid(), signal.SIGKILL)
