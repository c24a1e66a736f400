"""Deeds: each command that changes something leaves a line in the trail, beside what the console's users did.

One place for all: when such a command has come back, its name, the source, letter or job that it was called for, and
its options are noted with the system's user and host. An option is told only if `_TOLD` names it: keys, userIds,
messageIds and events are not. A refusal and a dry run leave no line; a trail that cannot be written stops nobody.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Final

CHANGES: Final = frozenset({
    "sources.add", "sources.set", "sources.pause", "sources.resume", "sources.rotate-key", "sources.test",
    "sources.remove", "dead.redrive", "dead.discard", "dead.edit", "dead.export", "dead.import", "jobs.cancel",
    "jobs.retention", "audit",
})  # fmt: skip
"""Commands that change something, or take people's data away."""
READS: Final = frozenset({
    "up", "demo", "worker", "gateway", "simulator", "console", "sources.list", "sources.show", "send", "blip.check",
    "quickbot.check", "quickbot.credentials", "status", "top", "doctor", "trace", "dead.list", "dead.show",
    "dead.groups", "jobs.list", "jobs.show", "secret", "config",
})  # fmt: skip
"""All the others: they look, run, or bring events in."""
_ONLY_IF: Final = {"audit": "acknowledge"}
"""Options without which a command changes nothing."""
_UNLESS: Final = ("dry_run",)
_SUBJECT: Final = ("name", "letter_id", "job_id", "source")
"""What a command is called for, by its parameter: the first that is given."""
_TOLD: Final = frozenset({
    "region", "partitions", "rate", "burst", "rate_group", "max_age", "window", "backlog_bytes", "dead_bytes",
    "ids_limit", "retention", "redrive_after_outage", "blip", "message_bodies", "identity", "perspective", "tickets",
    "intake", "force", "discard", "source", "reason", "event", "since", "until", "of_group", "limit", "older",
    "acknowledge",
})  # fmt: skip
_NOTHING: Final[tuple[object, ...]] = (None, "", [], ())
_GIVEN: Final = frozenset({"user", "message_id", "write_key", "endpoint", "intake_header", "bot", "file"})
"""Options of which is told that they were given, and no more."""


def with_deeds(tree: Any) -> Any:
    """Have every changing command of the tree leave its line in the trail."""
    for name, command in leaves(tree):
        if name in CHANGES:
            command.callback = _noted(name, command.callback)
    return tree


def leaves(tree: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of a tree, each with its name: `sources.pause`."""
    for word, command in getattr(tree, "commands", {}).items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{above}{word}.")
        else:
            yield above + word, command


def deed(name: str, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The subject and the detail of a command called so; None when it changes nothing."""
    if any(given.get(option) for option in _UNLESS) or (name in _ONLY_IF and not given.get(_ONLY_IF[name])):
        return None
    subject = next((str(given[one]) for one in _SUBJECT if given.get(one)), "")
    said = {option: value for option, value in given.items() if value not in _NOTHING and value is not False}
    detail = {option: value for option, value in said.items() if option in _TOLD and str(value) != subject}
    return subject, detail | {option: "given" for option in said if option in _GIVEN}


def _noted(name: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def command(**given: Any) -> Any:
        code: Any = "interrupted"
        try:
            code = callback(**given)
        except KeyboardInterrupt:
            _note(name, given, code)
            raise
        _note(name, given, code)
        return code

    return command


def _note(name: str, given: Mapping[str, Any], code: Any) -> None:
    found = deed(name, given)
    if found is None:
        return
    from pombo.ops.cli.session import Session, run
    from pombo.shared.trail import note

    subject, detail = found
    told = detail | ({"exit": code} if code else {})

    async def work(session: Session) -> None:
        await note(
            session.redis, session.keys, who=whoami(), role="shell", what=name, subject=subject, detail=told
        )  # fmt: skip

    run(work)


def whoami() -> str:
    """The system's user and this host, as `user@host`."""
    import getpass
    import os
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
