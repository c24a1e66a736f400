"""`pombo console` as a real process: where it listens, what it refuses, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from ops.console.rig import HTML, OPERATOR, log_in
from support.programs import SECRET, Program, program, stripped_environment
from support.servers import free_port
from support.waiting import until

Start = Callable[..., AbstractContextManager[Program]]


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Start:
    """Start a console; words and environment are given."""

    def run(*words: str, **env: str) -> AbstractContextManager[Program]:
        usual = {"POMBO_REDIS_URL": redis_url, "POMBO_SECRET_KEY": SECRET, "POMBO_LOG_FORMAT": "json"}
        return program("console", *words, folder=tmp_path / "console", **usual | env)

    return run


def address(running: Program) -> str:
    """The URL that it greets with."""
    until(lambda: "\n" in running.out or not running.lives, "greeting of the console")
    found = re.search(r"http://\S+", running.out)
    assert found, running.err
    return found[0]


def test_it_says_where_it_is(start: Start) -> None:
    """The greeting has the URL and who may come in; SIGTERM ends it well, streams or not."""
    with start("--port", "0") as running, httpx.Client(headers=HTML) as client:
        url = address(running)
        assert "open to whoever is on this machine" in running.out
        assert 200 == client.get(url).status_code
        with client.stream("GET", f"{url}/live") as stream:
            next(stream.iter_lines())
            begun = time.monotonic()
            running.send(signal.SIGTERM)
            assert 0 == running.ends()
        assert time.monotonic() - begun < 10
    assert "Traceback" not in running.err


def test_with_tokens_it_wants_a_login(start: Start) -> None:
    """It may then listen everywhere; the token is in no log and no process list."""
    with start("--host", "0.0.0.0", "--port", "0", POMBO_CONSOLE_TOKEN=OPERATOR) as running:
        url = address(running).replace("0.0.0.0", "127.0.0.1")
        assert "log in with the token of operators" in running.out
        with httpx.Client(base_url=url, headers=HTML) as client:
            assert 303 == client.get("/").status_code
            assert 303 == log_in(client, OPERATOR).status_code
            assert 200 == client.get("/").status_code
        assert OPERATOR not in running.out + running.err
        assert OPERATOR not in Path(f"/proc/{running.pid}/cmdline").read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_without_a_token_it_stays_on_this_machine(start: Start, host: str) -> None:
    """Beyond loopback it refuses, and says which variable opens it."""
    with start("--host", host) as running:
        assert 2 == running.ends()
        (line,) = running.err.splitlines()
    assert line.startswith(
        f"pombo: the console listens beyond this machine ({host}) only with a token; set POMBO_CONSOLE_TOKEN"
    )


def test_a_port_in_use_is_one_line(start: Start) -> None:
    """With what to do."""
    with start("--port", "0") as first:
        port = address(first).rpartition(":")[2]
        with start("--port", port) as second:
            assert 2 == second.ends()
    assert f"the console cannot listen on 127.0.0.1:{port}" in second.err


def test_it_starts_before_its_redis(start: Start) -> None:
    """A console is where one looks when something is wrong: it comes up all the same."""
    with start("--port", "0", POMBO_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as running:
        assert "Redis is away" in httpx.get(address(running), headers=HTML).text


@pytest.mark.parametrize("missing", ["jinja2", "starlette", "uvicorn"])
def test_without_its_extra_it_says_what_to_install(missing: str, tmp_path: Path) -> None:
    """An install without the extra has no console, and one line that says so."""
    code = f"""
        import sys
        sys.modules[{missing!r}] = None
        from pombo.ops.cli import main
        sys.exit(main(["console"]))
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=stripped_environment() | {"POMBO_HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (2, f"pombo: {missing} is not installed; `pip install 'pombo[all]'` brings it\n") == (
        ended.returncode, ended.stderr
    )  # fmt: skip


def test_the_wheel_has_what_the_console_shows(tmp_path: Path) -> None:
    """Templates, styles, scripts and licences are files of the package, which hatch takes along with the code."""
    root = Path(__file__).parents[3]
    listed = subprocess.run(
        ["git", "ls-files", "ops/pombo/ops/console"], cwd=root, capture_output=True, text=True, check=True
    )
    kinds = {os.path.splitext(name)[1] for name in listed.stdout.split()}
    assert {".py", ".html", ".css", ".js", ".svg", ".LICENSE"} <= kinds
