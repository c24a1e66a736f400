"""The spools of this process: one per folder and namespace, shared by its producers."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pombo.producer.rejections import logger
from pombo.shared.clock import Clock
from pombo.shared.connection import redact

if TYPE_CHECKING:  # SQLite is loaded only where there is a spool.
    from pombo.producer.drainer import Drainer
    from pombo.producer.spool import Spool
    from pombo.shared.settings import Settings


EXIT_S = 1.0


class SpoolKeeper:
    """One spool and its drainer."""

    def __init__(self, spool: "Spool", drainer: "Drainer") -> None:
        self.spool = spool
        self.drainer = drainer
        spool.on_put = drainer.wake

    def start(self) -> None:
        """Have drained what another process left, if there is anything."""
        if self.spool.exists():
            self.drainer.wake()


_lock = threading.RLock()
_keepers: dict[Path, SpoolKeeper] = {}


def keeper_of(settings: "Settings", url: Callable[[], str], clock: Clock) -> SpoolKeeper | None:
    """The spool that the settings name, if they do.

    A folder belongs to one Redis: what it holds goes to where the newest producer's events go.
    """
    if settings.spool_dir is None or settings.disabled:
        return None
    from pombo.producer.drainer import Drainer
    from pombo.producer.spool import Spool, spool_path

    path = spool_path(settings.spool_dir, settings.namespace)
    with _lock:
        keeper = _keepers.get(path)
        if keeper is None:
            spool = Spool(path)
            spool.check()
            keeper = _keepers[path] = SpoolKeeper(spool, Drainer(spool, url, settings.keys, clock))
        elif redact(keeper.drainer.url()) != redact(url()):
            logger.warning(
                "the spool %s is used for Redis at %s and at %s; it drains to the latter: give each its own folder",
                path, redact(keeper.drainer.url()), redact(url()),
            )  # fmt: skip
        keeper.drainer.url = url
    return keeper


def totals() -> tuple[int, int]:
    """Events and bytes in the folders of this process's spools, whoever put them there."""
    found = [keeper.spool.totals() for keeper in list(_keepers.values())]
    return sum(events for events, _ in found), sum(size for _, size in found)


def age_s() -> float:
    """Seconds that the oldest event in these folders has waited; 0 without one."""
    return max((keeper.spool.age_s() for keeper in list(_keepers.values())), default=0.0)


def at_exit() -> None:
    """Leave the spools in order: no drainer begins anything, no connection stays open."""
    for keeper in list(_keepers.values()):
        keeper.drainer.stop()
        keeper.spool.rest(wait_s=EXIT_S)


_held: list[SpoolKeeper] = []


def _before_fork() -> None:
    _lock.acquire()
    _held[:] = _keepers.values()
    for keeper in _held:
        keeper.drainer.lock.acquire()
        keeper.spool.before_fork()


def _after_fork_in_parent() -> None:
    for keeper in _held:
        keeper.spool.after_fork_in_parent()
        keeper.drainer.lock.release()
    _held.clear()
    _lock.release()


def _after_fork_in_child() -> None:
    for keeper in _held:
        keeper.spool.after_fork_in_child()
        keeper.drainer.renew()
    _held.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
