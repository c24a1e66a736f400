"""One dead letter: its header as stored, and what can be said of it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NotRequired, Self, TypedDict, get_args

import orjson

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters.kind import Kind, kind_of
from pombo.shared.errors import StoredVersionError

Reason = Literal[
    "rejected_by_segment",
    "too_large",
    "poison",
    "expired",
    "outcome_unknown",
    "invalid",
    "corrupt",
    "unknown_item",
    "policy",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

UNSOUND = frozenset({"invalid", "unknown_item"})
"""What died of these was never an event that Segment would keep: it answers 200 and drops it."""
MAX_ANSWER = 2048
"""Characters of Segment's answer that are kept."""
MAX_HISTORY = 20
"""Last attempts that are kept."""
WINDOW = timedelta(hours=24)
"""For which Segment itself drops a second copy of a messageId, and no longer."""

_DEEP = 200
"""Fewer levels than orjson writes, which are 254."""
_DIGITS = 20
"""Of the largest number in a stream id."""
_EVENT_START = b'{"messageId":"'


class Attempt(TypedDict):
    """One attempt to deliver, as kept in a letter's history."""

    at: str
    """ISO 8601."""
    status: int | None
    """HTTP status; None when there was no answer."""
    outcome: str
    duration_s: NotRequired[float]
    unknown: NotRequired[bool]
    """Where there was no answer, whether Segment may have got the events all the same."""
    note: NotRequired[str]


@dataclass(frozen=True, slots=True)
class LetterHeader:
    """Why and how an event died; stored as JSON with `"v": 1`."""

    reason: str
    """One of `REASONS`."""
    partition: int
    accepted_at: str | None = None
    """ISO 8601; of the record batch."""
    status: int | None = None
    """HTTP status of the last answer."""
    answer: str | None = None
    """Start of the last answer's body."""
    attempts: int = 0
    history: Sequence[Attempt] = ()

    def dump(self) -> bytes:
        """The JSON stored in field `h`, with the answer cut to its start and the history to its end."""
        answer = None if self.answer is None else self.answer[:MAX_ANSWER].encode("utf-8", "replace").decode()
        return orjson.dumps(
            {
                "v": 1,
                "reason": self.reason,
                "status": self.status,
                "answer": answer,
                "attempts": self.attempts,
                "partition": self.partition,
                "accepted_at": self.accepted_at,
                "history": self.history[-MAX_HISTORY:],
            }
        )

    @classmethod
    def load(cls, stored: bytes) -> Self:
        """Read what `dump` wrote.

        Raises:
            StoredVersionError: another version of pombo wrote it; it is left as it is.
        """
        try:
            header = orjson.loads(stored)
            if header.pop("v") != 1:
                raise ValueError
            return cls(**{name: header[name] for name in cls.__slots__})
        except (ValueError, KeyError, AttributeError, TypeError):
            raise StoredVersionError(
                "a dead letter is stored in a form that this pombo cannot read; upgrade pombo here, it is left alone"
            ) from None


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter as read from Redis."""

    source: str
    stream_id: str
    """Milliseconds and sequence, `ms-seq`: unique within the source."""
    header: LetterHeader
    payload: bytes = field(repr=False)
    events: int = 1
    """Other than 1 only for `corrupt` record batches."""
    repaired: bool = False
    """Whether the payload is another than the stored one: an event that was checked like a producer's."""

    @property
    def id(self) -> str:
        """`source/ms-seq`: what people give to name it."""
        return f"{self.source}/{self.stream_id}"

    @property
    def died_at(self) -> datetime:
        """When it became a dead letter, by Redis' clock."""
        return moment(int(self.stream_id.partition("-")[0]))

    @cached_property
    def event(self) -> dict[str, Any]:
        """The event, parsed; empty when the payload is none, or one that cannot be shown as JSON."""
        parsed = {} if self.header.reason == "corrupt" else _parsed(self.payload)
        return parsed if isinstance(parsed, dict) else {}

    @property
    def redrivable(self) -> bool:
        """Whether the payload is one serialised event that Segment may take, so that it can be sent again as it is."""
        sound = self.repaired or self.header.reason not in UNSOUND
        sound = sound and self.payload.startswith(_EVENT_START)
        return sound and self.events == 1 and b"\n" not in self.payload

    @cached_property
    def kind(self) -> Kind:
        """What it has in common with letters like it: they are a group."""
        header, event = self.header, self.event
        return kind_of(
            header.reason, header.status, type_=told(event.get("type")), event=told(event.get("event")),
            answer=header.answer, stuck=not self.redrivable,
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """The name of its group: equal for letters that died alike."""
        return self.kind.fingerprint

    @property
    def accepted(self) -> datetime | None:
        """When it was accepted; None where nobody knows."""
        try:
            at = datetime.fromisoformat(self.header.accepted_at or "")
        except ValueError:
            return None
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def older_than_window(self, now: datetime) -> bool:
        """Whether it was accepted more than `WINDOW` ago: should Segment have it already, it would take it again."""
        return self.accepted is not None and int(self.accepted.timestamp()) < int((now - WINDOW).timestamp())

    @property
    def older(self) -> bool:
        """The same at this moment, by the clock of this machine."""
        return self.older_than_window(datetime.now(UTC))

    def describe(self) -> dict[str, Any]:
        """The JSON of `dead list`."""
        return {
            "id": self.id,
            "source": self.source,
            "reason": self.header.reason,
            "message_id": told(self.event.get("messageId")),
            "type": told(self.event.get("type")),
            "event": told(self.event.get("event")),
            "user": told(self.event.get("userId") or self.event.get("anonymousId")),
            "accepted_at": self.header.accepted_at,
            "died_at": iso(self.died_at),
            "attempts": self.header.attempts,
            "status": self.header.status,
            "answer": self.header.answer,
            "events": self.events,
            "group": self.fingerprint,
        }

    def show(self) -> dict[str, Any]:
        """The JSON of `dead show`, and a line of an export, of which the letter can be made again.

        The payload is there as an object, else as text, also when it is nested too deep to be written as JSON anew,
        else as text in Base64. An object that would not be written as the very same bytes again has them beside it, as
        `payload_raw`.
        """
        written = _written(self.event) if self.event else None
        payload, encoding = (self.event, "json") if written else self._as_text()
        shown = {
            **self.describe(), "partition": self.header.partition, "payload": payload, "payload_encoding": encoding,
            "history": list(self.header.history),
        }  # fmt: skip
        if written not in (None, self.payload):
            shown["payload_raw"] = self.payload.decode()
        return shown

    def _as_text(self) -> tuple[object, str]:
        try:
            return self.payload.decode(), "text"
        except UnicodeDecodeError:
            return base64.b64encode(self.payload).decode(), "base64"


def _written(event: Any) -> bytes | None:
    """The event as JSON; None for one that, as a part of something else, would be nested too deep for it."""
    try:
        return orjson.dumps([[[event]]])[3:-3]
    except orjson.JSONEncodeError:
        return None


def told(value: object) -> str | None:
    """A field as text: what is invalid may be of any type."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def letter_of(source: str, entry: Any) -> DeadLetter:
    """The letter of a stream entry.

    Raises:
        StoredVersionError: another version of pombo wrote it.
    """
    entry_id, fields = entry
    header = LetterHeader.load(fields.get(b"h", b""))
    return DeadLetter(source, entry_id.decode(), header, fields.get(b"b", b""), int(fields.get(b"n", 1)))


def is_id(stream_id: str) -> bool:
    """Whether it reads like `ms-seq`."""
    return all(
        text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) < 1 << 64
        for text in _halves(stream_id)
    )


def order(stream_id: str) -> tuple[int, int]:
    """A stream id as what sorts like it; behind `(`, which leaves it out, too."""
    milliseconds, sequence = _halves(stream_id.removeprefix("("))
    return int(milliseconds), int(sequence or 0)


def _halves(stream_id: str) -> tuple[str, str]:
    milliseconds, _, sequence = stream_id.partition("-")
    return milliseconds, sequence


def _parsed(payload: bytes) -> Any:
    """Read a payload; NaN and infinity, which a client may have sent, become texts. None for what is no JSON."""
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    else:
        return parsed if _shallow(payload) or _writable(parsed) else None
    try:
        parsed = json.loads(payload.decode(), parse_constant=str)
        orjson.dumps(parsed)  # What cannot be shown as JSON is shown as text.
    except (ValueError, TypeError, RecursionError):
        return None
    return parsed


def _shallow(payload: bytes) -> bool:
    """Whether it has so few brackets that it cannot be nested too deeply to be written again."""
    return payload.count(b"{") + payload.count(b"[") < _DEEP


def _writable(parsed: object) -> bool:
    """Whether it can be shown as JSON: orjson reads what is nested more deeply than it writes."""
    try:
        orjson.dumps(parsed)
    except TypeError:
        return False
    return True
