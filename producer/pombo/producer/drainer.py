"""The thread that drains a spool, for as long as it holds something."""

import threading
from collections.abc import Callable
from typing import Any

from pombo.producer.drain import Drain
from pombo.producer.links import Link
from pombo.producer.rejections import logger
from pombo.producer.spool import Spool
from pombo.producer.steps import WEATHER, Ask, Disk, Sleep, Step, advance
from pombo.shared.clock import Clock
from pombo.shared.errors import SpoolError
from pombo.shared.keys import Keys

STUMBLE_PAUSE_S = 1.0


class Drainer:
    """Start the thread when the spool gets events, or has some from before; it ends when the spool is empty.

    All processes that share a spool have one; a lock lets one of them work at a time.
    """

    def __init__(self, spool: Spool, url: Callable[[], str], keys: Keys, clock: Clock) -> None:
        self._spool = spool
        self.url = url
        self._keys = keys
        self._clock = clock
        self.renew()

    def renew(self) -> None:
        """Begin anew in a forked child, where the thread does not exist."""
        self.lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._stop = threading.Event()
        self._drain = self._core()

    def _core(self) -> Drain:
        """One for all of the thread's lives: each core has a session of its own, which Redis remembers for days."""
        return Drain(self._spool, keys=self._keys, clock=self._clock)

    def wake(self) -> None:
        """Make sure that somebody looks into the spool from now on."""
        with self.lock:
            self._wanted = True
            if (self._thread is not None and self._thread.is_alive()) or self._stop.is_set():
                return
            thread = threading.Thread(target=self._work, args=(self._stop,), name="pombo-spool", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # The interpreter ends, or the system has no thread left: the next event tries.
                self._thread = None

    def stop(self) -> None:
        """Have the thread end after what it is doing, and start no other; what is left stays on the disk."""
        self._stop.set()

    def _work(self, stop: threading.Event) -> None:
        while self._is_wanted(stop):
            link = Link(self._where)
            try:
                self._drive(link, stop)
            except Exception:
                logger.exception(
                    "the drainer of the spool %s stumbled over a bug in pombo; please report it", self._spool.path
                )
                self._wanted = True
                self._drain = self._core()
                stop.wait(STUMBLE_PAUSE_S)
            finally:
                link.close()
                self._spool.unlock()

    def _where(self) -> str:
        return self.url()  # At each connection anew: the newest producer's.

    def _is_wanted(self, stop: threading.Event) -> bool:
        """Whether somebody put events in since the thread last looked; if not, it ends."""
        with self.lock:
            wanted, self._wanted = self._wanted and not stop.is_set(), False
            if not wanted:
                self._thread = None
            return wanted

    def _drive(self, link: Link, stop: threading.Event) -> None:
        flow = self._drain.run()
        step = advance(flow)
        while step is not None and not stop.is_set():
            step = advance(flow, *_done(step, link, stop))
        flow.close()
        if step is None:
            self._spool.emptied()


def _done(step: Step, link: Link, stop: threading.Event) -> tuple[Any, Exception | None]:
    """Carry out one step; return the reply and what went wrong."""
    try:
        match step:
            case Sleep():
                stop.wait(step.seconds)
                return None, None
            case Disk():
                return step.call(), None
            case Ask():
                return link.ask(step), None
    except (*WEATHER, SpoolError) as error:
        return None, error
