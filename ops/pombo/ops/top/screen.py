"""The screen: frames on a terminal until somebody quits, or one frame where there is none."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import RedisError
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pombo.ops.overview import Overview
from pombo.ops.top.frame import frame
from pombo.ops.top.rates import Look

Reader = Callable[[], Awaitable[Overview]]
QUITS = "qQ\x03\x1b"


async def once(read: Reader, interval_s: float, width: int) -> Text:
    """One frame, with the rates of one interval."""
    before = await _look(read)
    await asyncio.sleep(interval_s)
    return frame(before, await _look(read), width=width)


async def watch(console: Console, read: Reader, interval_s: float, explain: Callable[[RedisError], str]) -> None:
    """Draw frames until q or Ctrl-C; while Redis is away the last one stays, with what is wrong below it.

    Raises:
        RedisError: there was not even a first look.
    """
    quit_, redraw = asyncio.Event(), asyncio.Event()
    before, now, problem = None, await _look(read), ""
    with _signals(quit_, redraw), _keys(quit_, redraw), Live(console=console, screen=True, auto_refresh=False) as live:
        due = now.at + interval_s
        while not quit_.is_set():
            size = console.size
            shown = frame(before, now, width=size.width, height=size.height, problem=problem, keys=True)
            live.update(shown, refresh=True)
            if await _pause(redraw, due - asyncio.get_running_loop().time()):
                continue
            try:
                before, now, problem = now, await _look(read), ""
            except RedisError as error:
                problem = explain(error)
            due = asyncio.get_running_loop().time() + interval_s


async def _look(read: Reader) -> Look:
    overview = await read()
    return Look(asyncio.get_running_loop().time(), overview)


async def _pause(redraw: asyncio.Event, seconds: float) -> bool:
    """Wait; whether the screen is to be drawn before the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, seconds)):
            await redraw.wait()
    asked = redraw.is_set()
    redraw.clear()
    return asked


@contextmanager
def _signals(quit_: asyncio.Event, redraw: asyncio.Event) -> Iterator[None]:
    """Quit at Ctrl-C, SIGTERM and a closed terminal, which must not stay on the other screen; redraw at a new size."""
    loop = asyncio.get_running_loop()
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in ends:
        loop.add_signal_handler(number, _both(quit_, redraw))
    loop.add_signal_handler(signal.SIGWINCH, redraw.set)
    try:
        yield
    finally:
        for number in (*ends, signal.SIGWINCH):
            loop.remove_signal_handler(number)


@contextmanager
def _keys(quit_: asyncio.Event, redraw: asyncio.Event) -> Iterator[None]:
    """Take keys one by one and unseen, if standard input is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> None:
        if any(key in QUITS for key in _read_keys(descriptor)):
            _both(quit_, redraw)()

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, pressed)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read_keys(descriptor: int) -> str:
    import os

    keys = os.read(descriptor, 1024)
    # An escape sequence, as of an arrow, begins like Escape itself; a terminal that is gone reads as nothing.
    return "" if keys.startswith(b"\x1b") and len(keys) > 1 else keys.decode("utf-8", "replace") or "q"


def _both(quit_: asyncio.Event, redraw: asyncio.Event) -> Callable[[], None]:
    def end() -> None:
        quit_.set()
        redraw.set()

    return end
