"""The command line as tests use it: in this process, or as a real one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from ops.cli.commands import DEADLINE_S, WRITE_KEY, Answer, Cli
from pombo.ops.cli import main
from support.programs import SECRET, strip_environment


@pytest.fixture
def place(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder and an environment of the test's own, with an empty Redis."""
    strip_environment(monkeypatch)
    monkeypatch.setenv("POMBO_REDIS_URL", redis_url)
    monkeypatch.setenv("POMBO_SECRET_KEY", SECRET)
    monkeypatch.setenv("POMBO_METRICS_PORT", "0")
    monkeypatch.setenv("POMBO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pombo(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `pombo` in this process; `stdin` is its standard input, empty unless given."""

    def run(*argv: str | Path, stdin: str = "") -> Answer:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin.encode())))
        code = main([*map(str, argv)])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def program(place: Path) -> Cli:
    """Run `pombo` as a real process, with `env` on top of the environment."""

    def run(*argv: str | Path, stdin: str = "", **env: str) -> Answer:
        done = subprocess.run(
            [sys.executable, "-m", "pombo.ops.cli", *map(str, argv)],
            input=stdin,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def bot(pombo: Cli) -> str:
    """The name of a source that was added."""
    assert pombo("sources", "add", "bot", "--write-key", "-", stdin=WRITE_KEY).code == 0
    return "bot"


@pytest.fixture
def simulator(place: Path) -> Iterator[str]:
    """The URL of a real `pombo simulator`."""
    argv = [sys.executable, "-m", "pombo.ops.cli", "simulator", "--port", "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
