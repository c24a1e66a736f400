"""The ends and splits of a process, as producers must see them: interpreter exit, fork, multiprocessing.

The hooks are set when this module is imported, so that exit handlers which a bot sets later, and which may
still track events, run before ours. A kill, `os._exit` and SIGTERM's default run no handler: what was not
accepted by then is gone, and its receipt never said otherwise.
"""

import atexit
import os
import sys
import weakref
from typing import Protocol

from pombo.producer import spools
from pombo.producer.rejections import logger


class Living(Protocol):
    """A producer, as far as its process is concerned."""

    def at_exit(self) -> None:
        """The interpreter ends."""
        ...

    def after_fork(self) -> None:
        """This is a forked child; only the calling thread exists."""
        ...


_living: "weakref.WeakSet[Living]" = weakref.WeakSet()


def watch(producer: Living) -> None:
    """Tell a producer of exits and forks for as long as it lives."""
    _living.add(producer)


def watch_child(producer: Living) -> None:
    """In a child of multiprocessing, which runs no exit handlers, end with its finalizers."""
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if util is not None and process is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit_of, args=(weakref.ref(producer),), exitpriority=0)


def _at_exit_of(reference: "weakref.ref[Living]") -> None:
    producer = reference()
    if producer is not None:
        producer.at_exit()


def _at_exit() -> None:
    for producer in list(_living):
        try:
            producer.at_exit()
        except Exception:
            logger.exception("a producer could not be closed at exit")
    spools.at_exit()


def _after_fork() -> None:
    for producer in list(_living):
        producer.after_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
