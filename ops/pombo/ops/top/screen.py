"""The screen: frames on a terminal until somebody quits, or one frame where there is none."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from redis.exceptions import RedisError
from rich.console import Console
from rich.text import Text

from pombo.ops.closeup import Closeup
from pombo.ops.overview import Overview
from pombo.ops.problems import Problem, Recent, away, problems
from pombo.ops.top.canvas import Canvas
from pombo.ops.top.frame import frame
from pombo.ops.top.keyboard import Keyboard
from pombo.ops.top.rates import Look, Row, rows
from pombo.ops.top.scene import Scene
from pombo.ops.top.view import Change, View, press
from pombo.shared.clock import Clock, SystemClock
from pombo.shared.sources import Source

TICK_S = 1.0
"""Between two frames while Redis is away: they say for how long."""
RECENT_S = 20.0
"""Between two readings of all sources' samples, which are thousands."""
ESCAPE_S = 0.1
"""After which an Escape is that key alone; the rest of a sequence comes sooner, also over ssh."""
CLOSE_S = 5.0
"""Within which what was pressed last must be done when somebody quits."""


@dataclass(frozen=True)
class Desk:
    """What the screen reads, and what it may do; all raise RedisError when Redis is away."""

    read: Callable[[], Awaitable[Overview]]
    recent: Callable[[Overview], Awaitable[Mapping[str, Recent]]]
    """What its samples say of the last minutes."""
    near: Callable[[Source], Awaitable[Closeup]]
    change: Callable[[Change], Awaitable[str]]
    """Does it, and says what became of it."""
    explain: Callable[[RedisError], str]
    """An error in words."""


async def once(desk: Desk, interval_s: float, width: int, clock: Clock | None = None) -> list[Text]:
    """One frame, with the rates of one interval."""
    clock = clock or SystemClock()
    before = Look(clock.monotonic(), await desk.read())
    await clock.sleep(interval_s)
    now = Look(clock.monotonic(), await desk.read())
    found = problems(now.overview, await desk.recent(now.overview), now.overview.now)
    return frame(Scene.of(before, now, found, clock.now().astimezone(), keys=False), width)


async def watch(console: Console, desk: Desk, interval_s: float, clock: Clock | None = None) -> None:
    """Draw frames until q or Ctrl-C; while Redis is away the last one stays, greyed, with what is wrong above it.

    Raises:
        RedisError: there was not even a first look.
    """
    watching = _Watch(console, desk, interval_s, clock or SystemClock())
    await watching.look()
    await watching.run()


@dataclass
class _Watch:
    """One operator at one terminal.

    1. `_look_on` reads the installation every interval, and the source that is looked at.
    2. Keys change the view; what they ask for is done by `_change`.
    3. Whatever happened sets `changed`, and `run` draws.
    """

    console: Console
    desk: Desk
    interval_s: float
    clock: Clock
    view: View = field(default_factory=View)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    due: asyncio.Event = field(default_factory=asyncio.Event)
    quits: bool = False
    recent: Mapping[str, Recent] = field(default_factory=dict)
    recent_at: float = float("-inf")
    before: Look | None = None
    now: Look | None = None
    rows: list[Row] = field(default_factory=list)
    found: list[Problem] = field(default_factory=list)
    closeup: Closeup | None = None
    trouble: str = ""
    changing: set[asyncio.Task[None]] = field(default_factory=set)

    async def look(self) -> None:
        """Read everything anew."""
        overview = await self.desk.read()
        self.before, self.now = self.now, Look(self.clock.monotonic(), overview)
        self.rows = [*rows(self.before, self.now)]
        if self.now.at - self.recent_at >= RECENT_S:
            self.recent, self.recent_at = await self.desk.recent(overview), self.now.at
        self.found = problems(overview, self.recent, overview.now)
        if self.trouble:
            self.trouble = ""
            self.view = replace(self.view, said="Redis is back")
        await self._look_closer(overview)

    async def run(self) -> None:
        """Draw until somebody quits."""
        canvas = Canvas(self.console)
        with self._signals(canvas), self._keys():
            canvas.enter()
            looking = asyncio.create_task(self._look_on())
            try:
                await self._draw_on(canvas, looking)
            finally:
                canvas.leave()
                looking.cancel()
                await asyncio.wait({looking, *self.changing}, timeout=CLOSE_S)

    async def _draw_on(self, canvas: Canvas, looking: asyncio.Task[None]) -> None:
        while not self.quits:
            try:
                canvas.draw(frame(self._scene(), self.console.width, self.console.height))
            except OSError:  # The terminal is gone, and the signal that says so is on its way.
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S if self.trouble else None):
                    await self.changed.wait()
            self.changed.clear()
            if looking.done():
                looking.result()

    def _scene(self) -> Scene:
        assert self.now is not None
        found, overview = self.found, self.now.overview
        if self.trouble:
            found = [away(self.trouble, self.clock.monotonic() - self.now.at)]
        return Scene(
            overview, self.rows, found, self.clock.now().astimezone(), self.view, self.closeup,
            stale=bool(self.trouble),
        )  # fmt: skip

    async def _look_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.interval_s):
                    await self.due.wait()
            self.due.clear()
            try:
                await self.look()
            except RedisError as error:
                self.trouble = self.desk.explain(error)
            self.changed.set()

    async def _look_closer(self, overview: Overview) -> None:
        view = overview.sources.get(self.view.selected or "")
        wanted = self.view.page == "source" and view is not None
        self.closeup = await self.desk.near(view.source) if wanted and view else None

    async def _change(self, change: Change) -> None:
        try:
            said = await self.desk.change(change)
        except RedisError as error:
            said = f"nothing changed: {self.desk.explain(error)}"
        self.view = replace(self.view, said=said)
        self.due.set()
        self.changed.set()

    def _press(self, key: str) -> None:
        page = self.view.page
        pressed = press(self.view, key, self.view.rows(self.rows))
        self.view, self.quits = pressed.view, self.quits or pressed.quits
        if self.view.page == "source" and page != "source":
            self.closeup = None
            self.due.set()
        if pressed.change is not None:
            task = asyncio.create_task(self._change(pressed.change))
            self.changing.add(task)
            task.add_done_callback(self.changing.discard)
        self.changed.set()

    def _quit(self) -> None:
        self.quits = True
        self.changed.set()

    @contextmanager
    def _signals(self, canvas: Canvas) -> Iterator[None]:
        """Quit at Ctrl-C, SIGTERM and a closed terminal, which must not stay on the other screen; draw a new size."""

        def anew() -> None:
            canvas.forget()
            self.changed.set()

        loop = asyncio.get_running_loop()
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in ends:
            loop.add_signal_handler(number, self._quit)
        loop.add_signal_handler(signal.SIGWINCH, anew)
        loop.add_signal_handler(signal.SIGCONT, anew)
        try:
            yield
        finally:
            for number in (*ends, signal.SIGWINCH, signal.SIGCONT):
                loop.remove_signal_handler(number)

    @contextmanager
    def _keys(self) -> Iterator[None]:
        """Take keys one by one and unseen, if standard input is a terminal."""
        if not sys.stdin.isatty():
            yield
            return
        import termios
        import tty

        loop, descriptor, keyboard = asyncio.get_running_loop(), sys.stdin.fileno(), Keyboard()
        before = termios.tcgetattr(descriptor)

        def pressed() -> None:
            data = os.read(descriptor, 1024)
            # A terminal that is gone reads as nothing.
            for key in keyboard.feed(data) if data else ["quit"]:
                self._press(key)
            if keyboard.waits:
                loop.call_later(ESCAPE_S, rest)

        def rest() -> None:
            for key in keyboard.rest():
                self._press(key)

        tty.setcbreak(descriptor)
        loop.add_reader(descriptor, pressed)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
