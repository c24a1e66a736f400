"""The program's entry: whatever happens inside ends as an exit code, and at most one line on stderr.

Nothing but the standard library is imported here, so that a bare install can say what it lacks.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from pombo.ops.cli.failures import CLOSED, INTERRUPTED, ReaderGoneError, describe


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `pombo`; by default those of this process.

    Returns:
        The exit code: 0 well, 1 what was asked about is not well, 2 wrong usage or configuration, 130 after
        Ctrl-C, 141 when whoever read our output went away.
    """
    _speak_any_terminal()
    try:
        from pombo.ops.cli.app import command

        code = command().main(list(sys.argv[1:] if argv is None else argv), "pombo", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (BrokenPipeError, ReaderGoneError):
        _hush()
        return CLOSED
    except Exception as error:
        return _report(error)
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    failure = describe(error)
    with suppress(OSError):
        sys.stdout.flush()
        if os.environ.get("POMBO_LOG_LEVEL", "").lower() == "debug":
            import traceback

            traceback.print_exception(error)
        sys.stderr.write(f"{failure.help or f'pombo: {failure.line}'}\n")
    return failure.exit_code


def _speak_any_terminal() -> None:
    """Replace what a terminal's encoding lacks, rather than fail at an event's name."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _hush() -> None:
    """Let the interpreter's last flush go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
