"""What tests of the command line share: how a command is called, and what it leaves."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from redis import Redis

from pombo.shared.clock import iso
from pombo.shared.deadletters import LetterHeader
from pombo.shared.keys import Keys

WRITE_KEY = "k" * 32
DEADLINE_S = 60


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return orjson.loads(self.out)


Cli = Callable[..., Answer]
"""Runs `pombo` with these words and `stdin`."""


def events(*ids: str, **fields: Any) -> str:
    """NDJSON of one sound event for each messageId."""
    made = [{"type": "track", "userId": "u1", "event": "Message Sent", "messageId": one, **fields} for one in ids]
    return "".join(orjson.dumps(event).decode() + "\n" for event in made)


def bury(
    redis: Redis, source: str, message_id: str, reason: str = "rejected_by_segment", hours: float = 0, **event: Any
) -> str:
    """Put a dead letter into Redis as a worker of an older pombo did; return its id.

    `hours` says how long ago its event was accepted.
    """
    of = Keys().of(source)
    body = {"messageId": message_id, "type": "track", "userId": "u1", "event": "Message Sent", **event}
    header = LetterHeader(reason, 0, iso(datetime.now(UTC) - timedelta(hours=hours)), 400, "no such event", 1)
    payload = b"\xff garbage" if reason == "corrupt" else orjson.dumps(body)
    stream_id = redis.xadd(of.dead, {"h": header.dump(), "b": payload, "n": 1})
    for counter in ("accepted", "dead", f"dead:{reason}", f"died:{reason}"):
        redis.hincrby(of.ledger, counter, 1)
    redis.hincrby(of.ledger, "dead_bytes", len(header.dump()) + len(payload))
    assert isinstance(stream_id, bytes)
    return f"{source}/{stream_id.decode()}"


def said(answer: Answer) -> str:
    """The one line that a failed command says, without its beginning."""
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("pombo: ")
    return line.removeprefix("pombo: ")


def at_terminal(argv: Sequence[str], *, typed: str = "", environment: Mapping[str, str] = {}) -> Answer:
    """Run `pombo` as a real process at a terminal, where `typed` waits to be read; all that it shows is in `out`."""
    ours, its = pty.openpty()
    os.write(ours, typed.encode())
    command = [sys.executable, "-m", "pombo.ops.cli", *argv]
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env={**os.environ, **environment}) as process:
        os.close(its)
        shown = b""
        with suppress(OSError):  # A terminal that nobody holds any more ends with an error.
            while chunk := os.read(ours, 65536):
                shown += chunk
        os.close(ours)
        return Answer(process.wait(DEADLINE_S), shown.decode().replace("\r\n", "\n"), "")
