import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

from ops.cli.commands import DEADLINE_S, Cli, bury, events, said
from pombo.ops.top.canvas import AT_ONCE, LEAVE
from pombo.shared.keys import Keys
from support.servers import Server, unix
from support.vt import Screen
from support.waiting import until


class Terminal:
    """`pombo top` on a terminal of its own, whose screen can be read."""

    def __init__(self, *words: str, lines: int = 24, columns: int = 80, term: str = "xterm") -> None:
        self.master, slave = pty.openpty()
        self.resize(lines, columns)
        os.set_blocking(self.master, False)
        self.attributes = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pombo.ops.cli", "top", *words],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "TERM": term},
        )  # fmt: skip
        self._slave = slave
        self._decoder = getincrementaldecoder("utf-8")()
        self._unread = ""
        self.heard = ""
        """All that was written."""

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size, of which nobody is told."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen = Screen(lines, columns)

    def shows(self, *words: str) -> list[str]:
        """Wait until all of these are on the screen; its lines."""
        return self._until(lambda: self._has(words), f"{words!r}")

    def hides(self, words: str) -> list[str]:
        """Wait until this is not on the screen; its lines."""
        return self._until(lambda: not self._has((words,)), f"screen without {words!r}")

    def _until(self, condition: Callable[[], bool], what: str) -> list[str]:
        try:
            until(condition, what)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.screen.text])) from None
        return self.screen.text

    def _has(self, words: Sequence[str]) -> bool:
        text = "\n".join(self.read())
        return all(word in text for word in words)

    def read(self) -> list[str]:
        """What is on the screen now."""
        with suppress(OSError):
            read = self._decoder.decode(os.read(self.master, 1 << 16))
            self._unread += read
            self.heard += read
        # Frames are written whole, but may be read in parts.
        whole = self._unread.rfind(AT_ONCE[1]) + len(AT_ONCE[1])
        if LEAVE in self._unread:
            whole = len(self._unread)
        if whole >= len(AT_ONCE[1]):
            self.screen.feed(self._unread[:whole])
            self._unread = self._unread[whole:]
        return self.screen.text

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def ends(self) -> int:
        """Wait for its end, which leaves the terminal as it was; the exit code."""
        until(lambda: self.read() and not self.screen.alternate, "the usual screen")
        code = self.process.wait(DEADLINE_S)
        assert self.attributes == termios.tcgetattr(self._slave)
        return code

    def close(self) -> None:
        """End it all."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal(place: Path, bot: str) -> Iterator[Terminal]:
    """`pombo top` that looks every tenth of a second, on its alternate screen."""
    running = Terminal("--interval", "0.1")
    try:
        running.shows("pombo top", "q quit")
        assert running.screen.alternate
        yield running
    finally:
        running.close()


def test_one_frame_where_there_is_no_terminal(pombo: Cli, bot: str) -> None:
    """In a pipe it prints one frame and ends."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    answer = pombo("top", "--interval", "0.1")
    assert (0, "") == (answer.code, answer.err)
    assert "\x1b" not in answer.out
    assert "The installation needs you" in answer.out
    assert [["bot", "active", "0", "0", "0", "0", "2"]] == [
        line.split()[:7] for line in answer.out.splitlines() if line.startswith("bot")
    ]
    assert "no workers: nothing is sent" in answer.out


def test_an_installation_without_sources(pombo: Cli, place: Path) -> None:
    """Without sources it says how to make one."""
    assert "`pombo sources add NAME --write-key -` makes one" in pombo("top", "--once", "--interval", "0.1").out


def test_redis_is_away_from_the_start(pombo: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a first look there is nothing to show: one line."""
    monkeypatch.setenv("POMBO_REDIS_URL", "redis://127.0.0.1:1")
    answer = pombo("top", "--once")
    assert answer.code == 1
    assert "no Redis answers" in said(answer)


@pytest.mark.parametrize("how", ["q", signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_quits_and_leaves_the_terminal_as_it_was(terminal: Terminal, how: str | signal.Signals) -> None:
    """q, Ctrl-C, SIGTERM and SIGHUP end it with 0, on the usual screen, with the terminal's modes put back."""
    if isinstance(how, str):
        terminal.press(how.encode())
    else:
        terminal.process.send_signal(how)
    assert terminal.ends() == 0


def test_it_goes_on_looking_and_follows_the_size(terminal: Terminal, pombo: Cli) -> None:
    """What changes appears by itself, and a new size is drawn at once."""
    terminal.shows("1 source ·")
    pombo("sources", "add", "other", "--write-key", "k" * 32)
    assert "limit/s" not in "".join(terminal.shows("2 sources"))
    terminal.resize(40, 120)
    terminal.process.send_signal(signal.SIGWINCH)
    lines = terminal.shows("limit/s", "q quit")
    assert lines[-1].endswith("q quit")
    terminal.resize(10, 60)
    terminal.process.send_signal(signal.SIGWINCH)
    assert "↑↓ select   ⏎ look closer   p pause   s sort   / filter   ?…" == terminal.shows("pombo top", "select")[-1]


def test_redis_goes_away_meanwhile(terminal: Terminal, sync_redis: Redis) -> None:
    """What Redis refuses is the verdict above the last frame, and when it is well again the frames go on."""
    sync_redis.config_set("requirepass", "secret")
    try:
        sync_redis.client_kill_filter(_type="normal", skipme=True)
        lines = terminal.shows("Redis is away", "refuses the login", "last heard")
        assert any(line.startswith("> bot") for line in lines)
    finally:
        sync_redis.config_set("requirepass", "")
    terminal.shows("Redis is back")
    terminal.hides("Redis is away")
    terminal.press(b"j")
    terminal.shows("q quit")


def test_a_parked_source_is_repaired_from_here(terminal: Terminal, bot: str, sync_redis: Redis, pombo: Cli) -> None:
    """The verdict says what to type; p asks, resumes, and the source sends again; so does a pause."""
    flow = Keys().of(bot).flow
    sync_redis.hset(flow, "parked", "Segment answered 401: the write key is refused; `pombo sources rotate-key`")
    terminal.shows("✗ bot — parked", "pombo sources rotate-key bot --write-key -")
    terminal.press(b"p")
    terminal.shows("resume bot?  y: yes, any other key: no")
    terminal.press(b"n")
    terminal.shows("nothing changed")
    terminal.press(b"py")
    terminal.shows("source bot sends again")
    terminal.hides("✗ bot — parked")
    assert sync_redis.hget(flow, "parked") is None
    terminal.press(b"py")
    terminal.shows("source bot is paused", "paused")
    assert "paused" == pombo("status", "--json").json["sources"][bot]["state"]


def test_a_source_from_near_and_back(terminal: Terminal, bot: str, sync_redis: Redis, pombo: Cli) -> None:
    """Enter shows its partitions, courses and dead letters, live; Escape goes back, also from the help."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    bury(sync_redis, bot, "m3", "poison")
    terminal.press(b"\r")
    lines = terminal.shows("› bot", "2 events, ", "1 dead letter: 1 poison", "Message Sent  no such event", "owner")
    assert ["waiting"] == [line.split()[0] for line in lines if "2 events, " in line]
    bury(sync_redis, bot, "m4", "poison")
    terminal.shows("2 dead letters: 2 poison")
    terminal.press(b"\x1b")
    terminal.shows("q quit", "> bot")
    terminal.press(b"?")
    terminal.shows("› help", "quit")
    terminal.press(b"q")
    terminal.shows("q quit", "> bot")


def test_sources_are_selected_ordered_and_filtered(terminal: Terminal, pombo: Cli) -> None:
    """Arrows move the mark, s orders, and what is typed behind / leaves only what has it."""
    for name in ("alpha", "zulu"):
        pombo("sources", "add", name, "--write-key", "k" * 32)
    terminal.shows("3 sources", "> alpha")
    terminal.press(b"\x1b[B")
    terminal.shows("> bot")
    terminal.press(b"s\x1bOA\x1b[A")
    terminal.shows("sort: source", "> alpha")
    terminal.press(b"/zu\r")
    lines = terminal.shows("filter: zu", "> zulu")
    assert not any("alpha" in line for line in lines)
    terminal.press(b"\x1b")
    terminal.shows("> alpha", "bot", "zulu")


def test_a_thousand_sources(place: Path, sync_redis: Redis, bot: str, pombo: Cli) -> None:
    """The worst are on the first screen, and End goes to the last one."""
    stored = sync_redis.hget(Keys().sources, bot)
    assert isinstance(stored, bytes)
    for number in range(999):
        name = f"source-{number:03}"
        sync_redis.hset(Keys().sources, name, stored.replace(b'"name":"bot"', f'"name":"{name}"'.encode()))
    sync_redis.hset(Keys().of("source-777").flow, "parked", "answer 404")
    running = Terminal("--interval", "0.2")
    try:
        lines = running.shows("1,000 sources", "more (active)", "✗ source-777 — parked")
        assert lines[0].startswith("pombo top")
        assert [True] == [line.split()[2] == "parked" for line in lines if line.startswith("> source-777")]
        running.press(b"\x1b[F")
        running.shows("> source-998")
        running.press(b"q")
        assert running.ends() == 0
    finally:
        running.close()


def test_a_pause_from_here_is_in_the_trail(terminal: Terminal, sync_redis: Redis) -> None:
    """Who paused what can be read afterwards, as of the command that does the same."""
    terminal.press(b"py")
    terminal.shows("source bot is paused")
    ((_, deed),) = cast("list[Any]", sync_redis.xrevrange(Keys().trail, count=1))
    assert (b"sources.pause", b"bot", b"shell") == (deed[b"what"], deed[b"subject"], deed[b"role"])


@pytest.fixture
def alone(place: Path, pombo: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the test's own with one source, to be frozen, killed and restarted."""
    with unix() as shape:
        monkeypatch.setenv("POMBO_REDIS_URL", shape.url)
        assert pombo("sources", "add", "bot", "--write-key", "k" * 32).code == 0
        yield shape.victim()


def test_redis_dies_and_comes_back(alone: Server) -> None:
    """While it is away its frame stays and keys work; a restart brings the frames back, without anybody's help."""
    running = Terminal("--interval", "0.2")
    try:
        running.shows("> bot", "q quit")
        alone.kill()
        lines = running.shows("✗ Redis is away: last heard", "no Redis answers", "> bot")
        assert not any("no worker lives" in line for line in lines)
        running.press(b"?")
        running.shows("› help", "Redis is away")
        running.press(b"q")
        alone.restart()
        running.shows("Redis is back")
        running.hides("Redis is away")
        running.press(b"q")
        assert running.ends() == 0
    finally:
        running.close()


def test_a_redis_that_hangs_holds_up_no_key(alone: Server) -> None:
    """Keys are obeyed while an answer is waited for, and q does not wait for it."""
    running = Terminal("--interval", "0.1")
    try:
        running.shows("> bot", "q quit")
        alone.freeze()
        running.press(b"?")
        running.shows("› help")
        running.press(b"qs")
        running.shows("sort: source")
        running.press(b"q")
        assert running.ends() == 0
    finally:
        alone.thaw()
        running.close()


def test_no_color_and_a_terminal_that_can_do_nothing(place: Path, bot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves the words and marks, which say all that colours do; a dumb terminal gets one frame."""
    monkeypatch.setenv("NO_COLOR", "1")
    running = Terminal("--interval", "0.1")
    try:
        running.shows("> bot", "! no worker lives", "active")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", running.heard)
        running.press(b"q")
        assert running.ends() == 0
    finally:
        running.close()
    plain = Terminal("--interval", "0.1", term="dumb")
    try:
        assert plain.process.wait(DEADLINE_S) == 0
    finally:
        plain.close()
