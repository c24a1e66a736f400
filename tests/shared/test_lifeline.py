import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pombo.shared.lifeline import PARENT_FD, die_with_parent

DEADLINE_S = 20

STOPS_GRACEFULLY = """
import signal, sys, threading
from pombo.shared.lifeline import die_with_parent
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
print(die_with_parent(grace_s=60), flush=True)
done.wait()
sys.exit(7)
"""
IGNORES_SIGTERM = """
import signal, time
from pombo.shared.lifeline import die_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(die_with_parent(grace_s=0.05), flush=True)
time.sleep(60)
"""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    ends = list(os.pipe())
    yield ends
    for fd in ends:
        with suppress(OSError):
            os.close(fd)


@pytest.fixture
def start(pipe: list[int]) -> Iterator[Start]:
    """Start a Python program that holds the read end, and return when it has written its first line."""
    children = []

    def run(program: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, PARENT_FD: str(pipe[0])},
            pass_fds=(pipe[0],),
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        assert child.stdout is not None
        assert "True\n" == child.stdout.readline()
        return child

    yield run
    for child in children:
        child.kill()
        with child:
            pass


def test_a_child_stops_gracefully_when_its_parent_is_gone(pipe: list[int], start: Start) -> None:
    """The end of the pipe reaches the child as SIGTERM, which it handles as it likes."""
    child = start(STOPS_GRACEFULLY)
    assert None is child.poll()

    os.close(pipe.pop())

    assert 7 == child.wait(DEADLINE_S)


def test_a_child_that_does_not_stop_is_killed(pipe: list[int], start: Start) -> None:
    """A child that ignores SIGTERM does not outlive its parent by more than its grace."""
    child = start(IGNORES_SIGTERM)

    os.close(pipe.pop())

    assert -signal.SIGKILL == child.wait(DEADLINE_S)


def test_a_process_started_by_hand_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable there is no parent to watch."""
    monkeypatch.delenv(PARENT_FD, raising=False)

    assert False is die_with_parent()


@pytest.mark.parametrize("number", ["", "three", "-1", "99999", "9" * 30])
def test_a_number_that_is_no_open_pipe_is_ignored(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """The variable may have come through a process that closed the pipe."""
    monkeypatch.setenv(PARENT_FD, number)

    assert False is die_with_parent()


def test_a_descriptor_of_something_else_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A number that by now means another file is not read from."""
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setenv(PARENT_FD, str(file.fileno()))

        assert False is die_with_parent()


def test_the_number_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grandchild must not take the number for one of its own."""
    monkeypatch.setenv(PARENT_FD, "99999")

    die_with_parent()

    assert None is os.environ.get(PARENT_FD)
