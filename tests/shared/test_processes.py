import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pombo.shared.processes import ChildSpec, Supervisor, deaths_in_row, restart_delay
from support.programs import exists

DEADLINE_S = 20

SLEEPS = "import time; time.sleep(600)"
ENDS = "raise SystemExit(3)"
# Each program says that it is ready by writing its pid into the file named by its first argument.
GRACEFUL = """
import os, signal, sys, threading
from pathlib import Path
from pombo.shared.lifeline import die_with_parent
done = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: done.set())
die_with_parent()
Path(sys.argv[1]).write_text(str(os.getpid()))
done.wait()
Path(sys.argv[1] + ".stopped").touch()
"""
STUBBORN = """
import os, signal, subprocess, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
Path(sys.argv[1]).write_text(str(grandchild.pid))
time.sleep(600)
"""
OWNER = """
import asyncio, sys
from pombo.shared.processes import ChildSpec, Supervisor
async def main():
    async with Supervisor() as supervisor:
        await supervisor.start(ChildSpec(name="child", argv=[sys.executable, "-c", *sys.argv[1:]]))
        await asyncio.sleep(600)
asyncio.run(main())
"""


class LeapingClock:
    """Every look at the clock is `step_s` later, and no wait takes time."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.time = 0.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time, UTC)

    def monotonic(self) -> float:
        self.time += self.step_s
        return self.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    async with Supervisor(backoff=lambda deaths: 0) as supervisor:
        yield supervisor


def python(name: str, program: str, *args: object, grace_s: float = DEADLINE_S, restart: bool = True) -> ChildSpec:
    argv = [sys.executable, "-c", program, *map(str, args)]
    return ChildSpec(name=name, argv=argv, grace_s=grace_s, restart=restart)


async def until(condition: Callable[[], object]) -> None:
    """Poll: what happens in another process can only be looked for."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.01)


def written(path: Path) -> int:
    """The pid in the file, or 0 while there is none."""
    with suppress(OSError, ValueError):
        return int(path.read_text())
    return 0


def test_the_backoff_doubles_up_to_its_longest() -> None:
    """0.5 s after the first death, twice that after each further one, 10 s at most."""
    assert [0.5, 1, 2, 4, 8, 10, 10] == [restart_delay(deaths) for deaths in range(1, 8)]
    assert 10 == restart_delay(10**9)


@pytest.mark.parametrize(("before", "lived_s", "expected"), [(0, 1, 1), (4, 59.9, 5), (4, 60, 1)])
def test_a_minute_of_health_forgives_earlier_deaths(before: int, lived_s: float, expected: int) -> None:
    """Only deaths that follow each other closely lengthen the backoff."""
    assert expected == deaths_in_row(before, lived_s)


async def test_a_child_that_was_killed_is_started_again(supervisor: Supervisor) -> None:
    """A kill -9 of a child costs a restart, which is counted."""
    await supervisor.start(python("a", SLEEPS))
    await supervisor.start(python("b", SLEEPS))
    before = supervisor.pids

    supervisor.kill("a")

    await until(lambda: supervisor.pids.get("a", before["a"]) != before["a"])
    assert before["b"] == supervisor.pids["b"]
    assert {"a": 1, "b": 0} == supervisor.restarts


async def test_deaths_that_follow_each_other_are_counted_for_the_backoff() -> None:
    """A child that ends at once is started with ever longer waits."""
    asked: list[int] = []

    def backoff(deaths: int) -> float:
        asked.append(deaths)
        return 0

    async with Supervisor(backoff=backoff) as supervisor:
        await supervisor.start(python("a", ENDS))
        await until(lambda: len(asked) >= 3)

    assert [1, 2, 3] == asked[:3]


async def test_a_healthy_life_resets_the_backoff() -> None:
    """A child that dies once an hour waits as after a first death."""
    asked: list[int] = []

    def backoff(deaths: int) -> float:
        asked.append(deaths)
        return 3600

    async with Supervisor(backoff=backoff, clock=LeapingClock(3600)) as supervisor:
        await supervisor.start(python("a", ENDS))
        await until(lambda: len(asked) >= 3)

    assert [1, 1, 1] == asked[:3]


async def test_stopping_lets_every_child_end_by_itself(tmp_path: Path) -> None:
    """Children get SIGTERM and their grace, and are not started again."""
    supervisor = Supervisor()
    ready = [tmp_path / name for name in ("a", "b")]
    for path in ready:
        await supervisor.start(python(path.name, GRACEFUL, path))
    await until(lambda: all(map(written, ready)))

    await supervisor.stop()

    assert [True, True] == [path.with_suffix(".stopped").exists() for path in ready]
    assert {"a": 0, "b": 0} == await supervisor.wait()
    assert {} == supervisor.pids


async def test_a_child_that_outlasts_its_grace_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """After the grace nothing of the child's session is left."""
    supervisor = Supervisor()
    await supervisor.start(python("a", STUBBORN, tmp_path / "grandchild", grace_s=0.05))
    await until(lambda: written(tmp_path / "grandchild"))

    await supervisor.stop()

    assert {"a": -signal.SIGKILL} == await supervisor.wait()
    await until(lambda: not exists(written(tmp_path / "grandchild")))


async def test_what_a_dead_child_started_dies_before_the_next(tmp_path: Path, supervisor: Supervisor) -> None:
    """Two generations of a child's own children never run side by side."""
    await supervisor.start(python("a", STUBBORN, tmp_path / "grandchild", grace_s=0.05))
    await until(lambda: written(tmp_path / "grandchild"))
    first = written(tmp_path / "grandchild")

    supervisor.kill("a")

    await until(lambda: not exists(first))


async def test_stopping_does_not_wait_for_a_backoff() -> None:
    """A child that waits to be started again is not started any more."""
    waiting = asyncio.Event()

    def backoff(_deaths: int) -> float:
        waiting.set()
        return 3600

    supervisor = Supervisor(backoff=backoff)
    await supervisor.start(python("a", ENDS))
    await waiting.wait()

    async with asyncio.timeout(DEADLINE_S):
        await supervisor.stop()

    assert {"a": 0} == supervisor.restarts
    assert {"a": 3} == await supervisor.wait()


async def test_a_child_that_may_end_is_not_started_again(supervisor: Supervisor) -> None:
    """`worker --drain` ends for good, and its exit code says how."""
    await supervisor.start(python("a", ENDS, restart=False))

    assert {"a": 3} == await supervisor.wait()
    assert {"a": 0} == supervisor.restarts


async def test_a_program_that_cannot_be_run_is_an_error(supervisor: Supervisor) -> None:
    """A mistake at the first start reaches the caller, not a loop."""
    with pytest.raises(FileNotFoundError):
        await supervisor.start(ChildSpec(name="a", argv=["/no/such/program"]))

    assert {} == supervisor.restarts


async def test_wrong_usage_is_final(supervisor: Supervisor) -> None:
    """A child that ends with exit code 2 is not started again, and `wait` returns once all ended like that."""
    for name in ("a", "b"):
        await supervisor.start(python(name, "raise SystemExit(2)"))

    async with asyncio.timeout(DEADLINE_S):
        codes = await supervisor.wait()

    assert ({"a": 2, "b": 2}, {"a": 0, "b": 0}) == (codes, supervisor.restarts)


async def test_a_program_that_goes_missing_is_tried_again(tmp_path: Path, supervisor: Supervisor) -> None:
    """An upgrade that replaces the program under a running child only delays its next start."""
    program = tmp_path / "program"
    program.symlink_to("/bin/cat")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    await supervisor.start(ChildSpec(name="a", argv=[str(program), str(fifo)]))
    program.unlink()

    supervisor.kill("a")
    await until(lambda: not supervisor.pids)
    program.symlink_to("/bin/cat")

    await until(lambda: supervisor.pids)


async def test_a_name_is_taken_once(supervisor: Supervisor) -> None:
    """Two children of one name could not be told apart."""
    await supervisor.start(python("a", SLEEPS))

    with pytest.raises(ValueError, match="'a'"):
        await supervisor.start(python("a", SLEEPS))


async def test_nothing_starts_after_the_stop() -> None:
    """A child started after the stop would be nobody's."""
    supervisor = Supervisor()
    await supervisor.stop()

    with pytest.raises(RuntimeError, match="stopping"):
        await supervisor.start(python("a", SLEEPS))


async def test_stopping_twice_is_harmless() -> None:
    """A second signal may ask for the same again."""
    supervisor = Supervisor()
    await supervisor.start(python("a", SLEEPS))

    await asyncio.gather(supervisor.stop(), supervisor.stop())
    await supervisor.stop()

    assert {"a": -signal.SIGTERM} == await supervisor.wait()


async def test_a_child_leads_a_session_of_its_own(supervisor: Supervisor) -> None:
    """Ctrl-C on the terminal reaches the supervisor alone."""
    await supervisor.start(python("a", SLEEPS))

    assert supervisor.pids["a"] == os.getsid(supervisor.pids["a"])


async def test_a_child_gets_its_variables_on_top_of_ours(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is inherited; what the specification names is replaced."""
    monkeypatch.setenv("OURS", "1")
    monkeypatch.setenv("REPLACED", "1")
    program = 'import os, sys; open(sys.argv[1], "w").write(os.environ["OURS"] + os.environ["REPLACED"])'
    argv = [sys.executable, "-c", program, str(tmp_path / "seen")]

    await supervisor.start(ChildSpec(name="a", argv=argv, env={"REPLACED": "2"}, restart=False))
    await supervisor.wait()

    assert "12" == (tmp_path / "seen").read_text()


async def test_a_signal_for_an_ended_child_is_ignored(supervisor: Supervisor) -> None:
    """Whoever sends it cannot know; an unknown name is a mistake all the same."""
    await supervisor.start(python("a", ENDS, restart=False))
    await supervisor.wait()

    supervisor.kill("a")

    with pytest.raises(KeyError):
        supervisor.kill("b")


def test_children_stop_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    """A kill -9 of the supervisor leaves no child behind, and each still ends gracefully."""
    ready, stopped = tmp_path / "ready", tmp_path / "ready.stopped"
    deadline = time.monotonic() + DEADLINE_S
    with subprocess.Popen([sys.executable, "-c", OWNER, GRACEFUL, str(ready)]) as owner:
        try:
            while not written(ready) and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            owner.kill()

    while not stopped.exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert stopped.exists()
