import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from redis import Redis

from ops.cli.commands import DEADLINE_S, Cli, events, said
from pombo.ops.cli.failures import describe, one_line
from pombo.shared.errors import ConfigurationError, SourceNotEmptyError
from pombo.shared.keys import Keys
from support.waiting import until


def test_version(pombo: Cli) -> None:
    """`--version` names the program and its version."""
    assert (0, f"pombo {version('pombo')}\n", "") == pombo("--version")


def test_help_names_every_command_in_the_order_people_meet_them(pombo: Cli) -> None:
    """`--help` lists the commands from running to setting up, and ends with examples."""
    answer = pombo("--help")
    lines = answer.out.partition("Commands:")[2].partition("Examples:")[0].splitlines()
    expected = ["up", "demo", "worker", "gateway", "console", "simulator", "sources", "send", "blip", "quickbot"]
    expected += ["status", "top", "audit", "doctor", "trace", "dead", "jobs", "secret", "config"]
    assert expected == [line.split()[0] for line in lines if line.strip()]
    assert "    pombo status\n" in answer.out


@pytest.mark.parametrize("words", [[], ["sources"], ["blip"], ["dead"], ["jobs"]])
def test_a_group_without_a_command_shows_its_help(pombo: Cli, words: list[str]) -> None:
    """A group alone is wrong usage, and answered by its help."""
    answer = pombo(*words)
    assert answer.code == 2
    assert "Commands:" in answer.out + answer.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["frob"], "No such command 'frob'"),
        (["sources", "lst"], "Did you mean 'list', 'set'?"),
        (["status", "--jsn"], "--jsn"),
        (["sources", "add", "bot"], "Missing option '--write-key'"),
        (["worker", "--processes", "0"], "--processes"),
    ],
)
def test_wrong_usage_is_one_line(pombo: Cli, words: list[str], expected: str) -> None:
    """A word that is wrong is named in one line that says where the usage is, with exit code 2."""
    answer = pombo(*words)
    assert answer.code == 2
    assert expected in said(answer)
    assert "--help` shows the usage" in said(answer)


def test_help_imports_nothing_heavy(program: Cli) -> None:
    """The tree of commands comes without clients, models and tables, so that `--help` is quick."""
    heavy = ("redis", "pydantic", "rich", "rq", "httpx", "cryptography", "structlog", "prometheus_client")
    code = f"import sys, pombo.ops.cli.app as a; a.command(); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_bare_install_is_told_what_to_add(place: Path) -> None:
    """Without typer the program says which extra brings it."""
    code = "import sys; sys.modules['typer'] = None; from pombo.ops.cli import main; sys.exit(main(['status']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (2, "pombo: typer is not installed; `pip install 'pombo[all]'` brings it\n") == (
        done.returncode, done.stderr,
    )  # fmt: skip


def test_a_reader_that_went_away_is_no_error(place: Path, bot: str) -> None:
    """Output into a closed pipe ends the program quietly, with the code of SIGPIPE."""
    for words in (["sources", "list"], ["secret"], ["config", "--json"]):
        read, write = os.pipe()
        os.close(read)
        argv = [sys.executable, "-m", "pombo.ops.cli", *words]
        done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)
        os.close(write)
        assert (141, b"") == (done.returncode, done.stderr)


def test_ctrl_c_ends_a_command_with_130(place: Path, bot: str, sync_redis: Redis) -> None:
    """Ctrl-C while `send` reads: what was read is accepted, the summary says where it stopped, no traceback."""
    argv = [sys.executable, "-m", "pombo.ops.cli", "send", "-", "--source", bot]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sending:
        assert sending.stdin is not None
        sending.stdin.write(events("m1", "m2"))
        sending.stdin.flush()
        until(lambda: sync_redis.hget(Keys().of(bot).ledger, "accepted") == b"2", "two accepted events")
        sending.send_signal(signal.SIGINT)
        out, err = sending.communicate(timeout=DEADLINE_S)
    assert (130, "2 events accepted\n") == (sending.returncode, out)
    assert err == "interrupted after line 2; what follows it was not sent\n"


def test_what_cannot_be_explained_is_still_one_line() -> None:
    """An exception that nobody foresaw is named without its traceback."""
    failure = describe(RuntimeError("two\nlines"))
    assert failure.exit_code == 1
    assert "RuntimeError: two lines" in failure.line


def test_exit_codes_tell_misuse_from_trouble() -> None:
    """A wrong setting is misuse, a source that holds events is not."""
    errors = (
        ConfigurationError("x"),
        SourceNotEmptyError("x"),
        FileNotFoundError(2, "No", "f"),
        OSError(28, "Full"),
    )
    assert [2, 1, 2, 1] == [describe(error).exit_code for error in errors]


def test_other_peoples_text_cannot_steer_the_terminal() -> None:
    """Control characters are replaced, line breaks become spaces."""
    assert "a b \ufffd[31mred" == one_line("a\n b\t\x1b[31mred")


def test_debugging_shows_the_traceback(program: Cli) -> None:
    """POMBO_LOG_LEVEL=debug adds the traceback to the line."""
    answer = program("sources", "show", "nobody", POMBO_LOG_LEVEL="debug")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.splitlines()[-1].startswith("pombo: no source is called 'nobody'")
