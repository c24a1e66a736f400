"""What tests of the command line share: how a command is called, and what it leaves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from redis import Redis

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


def bury(redis: Redis, source: str, message_id: str, reason: str = "rejected_by_segment", **event: Any) -> str:
    """Put a dead letter into Redis as a worker does; return its id."""
    of = Keys().of(source)
    body = {"messageId": message_id, "type": "track", "userId": "u1", "event": "Message Sent", **event}
    header = LetterHeader(reason, 0, "2026-01-01T00:00:00.000Z", 400, "no such event", 1)
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
