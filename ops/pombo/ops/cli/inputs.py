"""What users give: keys, answers to questions, and which dead letters they mean."""

import sys
from typing import TYPE_CHECKING

from pombo.ops.amounts import parse_since
from pombo.ops.cli.failures import MISUSE, UNWELL, CommandError
from pombo.shared.errors import ConfigurationError

if TYPE_CHECKING:
    from pombo.shared.deadletters import Filter


def read_key(given: str) -> str:
    """A write key as given; `-` reads one line from standard input, unseen on a terminal.

    Raises:
        ConfigurationError: standard input had none.
    """
    return read_line(given, "write key")


def read_line(given: str, what: str) -> str:
    """A secret text as given; `-` reads one line from standard input, unseen on a terminal.

    Raises:
        ConfigurationError: standard input had none; the message calls it `what`.
    """
    if given != "-":
        return given
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass(f"{what.capitalize()}: ")
    line = sys.stdin.readline()
    if not line:
        raise ConfigurationError(f"no {what} came from standard input; give it as one line there")
    return line.rstrip("\r\n")


def confirm(question: str, *, yes: bool) -> None:
    """Ask on stderr before what cannot be undone, unless `yes`.

    Raises:
        CommandError: the answer was no (exit code 1), or nobody can answer (exit code 2).
    """
    if yes:
        return
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not sys.stdin.isatty():  # A terminal has shown the line break of the answer.
        sys.stderr.write("\n")
    if not answer:
        raise CommandError("nobody answers on standard input; pass --yes to go ahead unasked", MISUSE)
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was changed", UNWELL)


def letter_filter(
    *,
    source: str | None,
    reason: str | None,
    event: str | None,
    user: str | None,
    message_id: str | None,
    since: str | None,
    until: str | None,
    group: str | None,
) -> "Filter":
    """Which dead letters are meant.

    Raises:
        ConfigurationError: the reason or a moment is none.
    """
    from pombo.shared.deadletters import REASONS, Filter

    if reason is not None and reason not in REASONS:
        raise ConfigurationError(f"--reason {reason!r} is none; known: {', '.join(REASONS)}")
    return Filter(
        source=source, reason=reason, event=event, user=user, message_id=message_id, group=group,
        since=None if since is None else parse_since(since),
        until=None if until is None else parse_since(until, option="--until"),
    )  # fmt: skip
