"""Ctrl-C where nothing is lost by it."""

import signal
import threading

import pytest

from pombo.ops.cli.interrupts import Interrupts


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_it_waits_until_it_is_admitted() -> None:
    """What comes in between is raised where it is let in next, and then no more."""
    with Interrupts() as interrupts:
        ctrl_c()
        with pytest.raises(KeyboardInterrupt), interrupts.admitted:
            raise AssertionError("admitted first")
        with interrupts.admitted:
            pass


def test_it_is_raised_where_it_is_admitted() -> None:
    """What takes long is interrupted at once."""
    with Interrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.admitted:
        ctrl_c()


def test_none_is_lost_at_the_end() -> None:
    """What waits is raised by the end, unless that has an error of its own; then all is as before."""
    with pytest.raises(KeyboardInterrupt), Interrupts():
        ctrl_c()

    def fail() -> None:
        ctrl_c()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Interrupts():
        fail()
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_others_are_left_alone() -> None:
    """In another thread, and where Ctrl-C is handled otherwise, it stays as it is."""
    seen: list[object] = []

    def look() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        look()
    finally:
        signal.signal(signal.SIGINT, before)
    assert [signal.default_int_handler, signal.SIG_IGN] == seen
