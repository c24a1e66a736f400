import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from ops.cli.commands import DEADLINE_S, Cli, events, said
from support.waiting import until

ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """`pombo top` on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(24, 80)
        os.set_blocking(self.master, False)
        self.attributes = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pombo.ops.cli", "top", *words],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        self._slave = slave
        self.seen = b""

    def resize(self, lines: int, columns: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def shows(self, words: bytes) -> None:
        """Wait until these words are written; what came before is forgotten."""

        def look() -> bool:
            with suppress(OSError):
                self.seen += os.read(self.master, 1 << 16)
            return words in self.seen

        until(look, f"{words!r} on the screen")
        self.seen = self.seen.partition(words)[2]

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self.master, keys)

    def ends(self) -> int:
        """Wait for its end, which leaves the terminal as it was; the exit code."""
        self.shows(BACK)
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
        running.shows(ALTERNATE)
        running.shows(b"pombo top")
        yield running
    finally:
        running.close()


def test_one_frame_where_there_is_no_terminal(pombo: Cli, bot: str) -> None:
    """In a pipe it prints one frame and ends."""
    pombo("send", "--source", bot, stdin=events("m1", "m2"))
    answer = pombo("top", "--interval", "0.1")
    assert (0, "") == (answer.code, answer.err)
    assert "\x1b" not in answer.out
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


def test_it_goes_on_looking_and_follows_the_size(terminal: Terminal, sync_redis: Redis, pombo: Cli) -> None:
    """What changes appears by itself, a new size is drawn at once, and an arrow key ends nothing."""
    terminal.shows(b"1 source ")
    pombo("sources", "add", "other", "--write-key", "k" * 32)
    terminal.shows(b"2 sources")
    assert b"limit/s" not in terminal.seen
    terminal.resize(30, 150)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.shows(b"limit/s")
    terminal.press(b"\x1b[A")
    pombo("sources", "add", "third", "--write-key", "k" * 32)
    terminal.shows(b"3 sources")
    terminal.press(b"q")
    assert terminal.ends() == 0


def test_redis_goes_away_meanwhile(terminal: Terminal, sync_redis: Redis) -> None:
    """What Redis refuses is told below the last frame, and when it is well again the frames go on."""
    sync_redis.config_set("requirepass", "secret")
    try:
        sync_redis.client_kill_filter(_type="normal", skipme=True)
        terminal.shows(b"refuses the login")
    finally:
        sync_redis.config_set("requirepass", "")
    terminal.shows(b"q quits")
    terminal.press(b"q")
    assert terminal.ends() == 0
