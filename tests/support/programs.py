"""`pombo` as a real process of a test's own: started, watched, stopped, and gone at the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.waiting import DEADLINE_S, until

SECRET = "pbs_a-secret-for-tests-and-nothing-else"


def stripped_environment() -> dict[str, str]:
    """The environment of this process without any `POMBO_*`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("POMBO_")}


def strip_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every `POMBO_*` out of the environment of this process, for the time of a test."""
    for name in os.environ.keys() - stripped_environment().keys():
        monkeypatch.delenv(name)


class Program:
    """A running `pombo`; stdout and stderr go to files."""

    def __init__(self, words: tuple[str, ...], folder: Path, env: dict[str, str]) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pombo.ops.cli", *words],
                env={**stripped_environment(), **env},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def out(self) -> str:
        """What it wrote to stdout so far."""
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        """What it wrote to stderr so far."""
        return self._err.read_text("utf-8")

    @property
    def lives(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def says(self, words: str) -> None:
        """Wait until stderr has these words."""
        until(lambda: words in self.err or not self.lives, f"{words!r} on stderr")
        assert words in self.err, f"it ended with {self.process.returncode}:\n{self.err}"

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(DEADLINE_S)


@contextmanager
def program(*words: str, folder: Path, **env: str) -> Iterator[Program]:
    """Run `pombo` with these words in `folder`, made when missing; of `POMBO_*` it sees only `env`."""
    folder.mkdir(exist_ok=True)
    running = Program(words, folder, env)
    try:
        yield running
    finally:
        with suppress(subprocess.TimeoutExpired):
            running.process.terminate()
            running.process.wait(10)
        running.process.kill()
        running.process.wait()


def exists(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def processes_with(text: str) -> dict[int, str]:
    """Command lines, by pid, of the living processes that have `text` in theirs or in their environment."""
    found = {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if text.encode() in command + (folder / "environ").read_bytes() and command:
                found[int(folder.name)] = command.decode().replace("\0", " ")
    return found


def end_all(text: str) -> None:
    """Kill what a failed test may have left."""
    for pid in processes_with(text):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
