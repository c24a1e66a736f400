"""Interrupts: Ctrl-C where nothing is lost by it.

Python raises KeyboardInterrupt between any two steps: between handing an event on and counting it, too.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Until the context ends, Ctrl-C raises KeyboardInterrupt only where it is `admitted`; elsewhere it waits for that.

    Outside the main thread, which alone gets signals, and where Ctrl-C is ignored, or somebody else's, nothing changes.
    """

    def __init__(self) -> None:
        self.came = False
        self.admitted = Admitted(self)
        """A context for what may take long."""
        self._ours = False

    def __enter__(self) -> Self:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        self._ours = usual and threading.current_thread() is threading.main_thread()
        if self._ours:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if kind is None:
            self.let_in()

    def let_in(self) -> None:
        """Raise what waits."""
        if self.came:
            self.came = False
            raise KeyboardInterrupt

    def _hear(self, _: int, __: FrameType | None) -> None:
        self.came = True
        if self.admitted.open:
            self.let_in()


class Admitted:
    """Where Ctrl-C is let in."""

    def __init__(self, interrupts: Interrupts) -> None:
        self.open = False
        self._interrupts = interrupts

    def __enter__(self) -> None:
        self.open = True
        if self._interrupts.came:
            self.open = False
            self._interrupts.let_in()

    def __exit__(self, *error: object) -> None:
        self.open = False
