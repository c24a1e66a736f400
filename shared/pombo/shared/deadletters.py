"""Dead letters: events that will not be delivered as they are, with their reason and history.

A dead letter's life:

1. A worker's script appends it to the source's `dead` stream in the step in which the event leaves its
   in-flight record: `h` is a `LetterHeader`, `b` the serialised event as Segment would have got it. A record
   batch that cannot be read dies whole as `corrupt`: then `b` is the batch as it was, and `n` its events.
2. People and jobs read it as a `DeadLetter`, by pages, through a `Filter`.
3. It is redriven (byte for byte, to the end of its partition's stream) or discarded; the ledger moves along.

A letter whose header has an unknown version is left alone: it is counted as unreadable, never shown or moved.
"""

import base64
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NotRequired, Self, TypedDict, get_args

import orjson
from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.clock import iso, moment
from pombo.shared.errors import RedriveError, StoredVersionError, UnknownLetterError, UnknownSourceError
from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.shared.sources import Source

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
PAGE = 500
"""Letters read, or moved, in one step."""
MAX_RAW = 475_000
"""Bytes of events in one redriven record batch: no more than one request may carry."""

FULL = "its dead letters are at their limit"
"""How the reason of a park begins that letters are the cause of; `letterbound.lua` has the same words."""

_EVENT_START = b'{"messageId":"'


class Attempt(TypedDict):
    """One attempt to deliver, as kept in a letter's history."""

    at: str
    """ISO 8601."""
    status: int | None
    """HTTP status; None when there was no answer."""
    outcome: str
    duration_s: NotRequired[float]
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
        """The event, parsed; empty when the payload is none."""
        parsed = {} if self.header.reason == "corrupt" else _parsed(self.payload)
        return parsed if isinstance(parsed, dict) else {}

    @property
    def redrivable(self) -> bool:
        """Whether the payload is one serialised event that Segment may take, so that it can be sent again as it is."""
        sound = self.header.reason not in UNSOUND and self.payload.startswith(_EVENT_START)
        return sound and self.events == 1 and b"\n" not in self.payload

    def describe(self) -> dict[str, Any]:
        """The JSON of `dead list`."""
        return {
            "id": self.id,
            "source": self.source,
            "reason": self.header.reason,
            "message_id": _told(self.event.get("messageId")),
            "type": _told(self.event.get("type")),
            "event": _told(self.event.get("event")),
            "user": _told(self.event.get("userId") or self.event.get("anonymousId")),
            "accepted_at": self.header.accepted_at,
            "died_at": iso(self.died_at),
            "attempts": self.header.attempts,
            "status": self.header.status,
            "answer": self.header.answer,
            "events": self.events,
        }

    def show(self) -> dict[str, Any]:
        """The JSON of `dead show`: the payload as an object, else as text, else as text in Base64."""
        payload, encoding = self._readable()
        history = list(self.header.history)
        return {**self.describe(), "payload": payload, "payload_encoding": encoding, "history": history}

    def _readable(self) -> tuple[object, str]:
        if self.event:
            return self.event, "json"
        try:
            return self.payload.decode(), "text"
        except UnicodeDecodeError:
            return base64.b64encode(self.payload).decode(), "base64"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; what is None does not filter."""

    source: str | None = None
    reason: str | None = None
    event: str | None = None
    user: str | None = None
    """A userId or an anonymousId."""
    since: datetime | None = None
    """Died then or later."""
    message_id: str | None = None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        wanted = (
            (self.source, (letter.source,)),
            (self.reason, (letter.header.reason,)),
            (self.event, (_told(letter.event.get("event")),)),
            (self.user, (_told(letter.event.get("userId")), _told(letter.event.get("anonymousId")))),
            (self.message_id, (_told(letter.event.get("messageId")),)),
        )
        fits = all(value is None or value in found for value, found in wanted)
        return fits and (self.since is None or letter.died_at >= self.since)

    @property
    def start(self) -> str:
        """The stream id from which letters can match."""
        return "-" if self.since is None else f"{max(0, int(self.since.timestamp() * 1000))}-0"


ALL = Filter()


@dataclass(frozen=True, slots=True)
class Page:
    """What one step of reading found."""

    letters: tuple[DeadLetter, ...]
    """Those that match."""
    unreadable: tuple[str, ...]
    """Stream ids of letters of an unknown version."""
    next: str
    """Where the next step starts: what a job keeps as its checkpoint."""


async def pages(
    redis: Redis, keys: Keys, source: str, wanted: Filter = ALL, *, start: str = "-"
) -> AsyncIterator[Page]:
    """Read a source's dead letters, oldest first, a page for every `PAGE` letters stored.

    Letters that die meanwhile are read too; letters may be moved or discarded while this runs.
    """
    position = wanted.start if start == "-" else start
    while entries := await redis.xrange(keys.of(source).dead, position, "+", count=PAGE):
        page = _page(source, entries, wanted)
        yield page
        position = page.next


async def read(
    redis: Redis, keys: Keys, source: str, wanted: Filter = ALL, *, start: str = "-", count: int | None = None
) -> AsyncIterator[DeadLetter]:
    """Read a source's dead letters that match, oldest first, at most `count`."""
    left = count
    async for page in pages(redis, keys, source, wanted, start=start):
        for letter in page.letters[:left]:
            yield letter
        left = None if left is None else left - len(page.letters)
        if left is not None and left <= 0:
            return


async def find(redis: Redis, keys: Keys, letter_id: str) -> DeadLetter:
    """The dead letter of an id as `dead list` shows it.

    Raises:
        UnknownLetterError: there is none.
        StoredVersionError: it is stored in a form that this pombo does not know.
    """
    source, _, stream_id = letter_id.rpartition("/")
    milliseconds, _, sequence = stream_id.partition("-")
    if source and _is_number(milliseconds) and _is_number(sequence):
        found = await redis.xrange(keys.of(source).dead, stream_id, stream_id)
        if found:
            return _letter(source, found[0])
    raise UnknownLetterError(
        f"no dead letter has the id {letter_id!r}: redriven or discarded, perhaps; "
        "`pombo dead list` shows those that are there"
    )


async def discard(redis: Redis, keys: Keys, source: str, letters: Sequence[DeadLetter]) -> int:
    """Delete letters of one source for good; return the events discarded, without those already gone."""
    of, discarded = keys.of(source), 0
    for chunk in _chunks([letter.stream_id for letter in letters], PAGE):
        args = [keys.wake, source, *chunk]
        discarded += await script("dead_discard").acall(redis, [of.ledger, of.dead, of.flow], args)
    return discarded


def full_reason(source: Source) -> str:
    """Why a source is parked whose dead letters are at their limit, and what ends that."""
    return (
        f"{FULL} of {source.dead_bytes} bytes; redrive, or export and discard them "
        f"(`pombo dead list --source {source.name}`), or `pombo sources set {source.name} --dead-bytes N`"
    )


async def redrive_page(redis: Redis, keys: Keys, source: Source, letters: Sequence[DeadLetter]) -> int:
    """Put a page of letters at the end of their partitions' streams; return the events moved.

    Their bytes stay as they are, messageId and timestamp too. Letters that are gone already are passed over,
    so that a repeat moves nothing twice.

    Raises:
        RedriveError: one holds no event to send; nothing was moved.
        UnknownSourceError: the source was removed; nothing was moved.
    """
    for letter in letters:
        _check_redrivable(source, letter)
    moved, todo = 0, _pack({letter.stream_id: letter for letter in letters}.values())
    while todo:
        again: list[list[DeadLetter]] = []
        for batch, gone in zip(todo, await _redrive(redis, keys, source, todo), strict=True):
            moved += 0 if gone else len(batch)
            rest = [letter for letter in batch if letter.stream_id not in gone]
            again += [rest] if gone and rest else []
        todo = again
    return moved


async def _redrive(redis: Redis, keys: Keys, source: Source, todo: Sequence[Sequence[DeadLetter]]) -> list[set[str]]:
    """Move batches that are whole; return for each the ids that are gone."""
    of = keys.of(source.name)
    partitions = sorted({batch[0].header.partition for batch in todo})
    args: list[str | bytes | int] = [source.incarnation, keys.wake, source.name]
    for batch in todo:
        partition = batch[0].header.partition
        record = batches.encode([letter.payload for letter in batch])
        ids = ",".join(letter.stream_id for letter in batch)
        stream = 4 + partitions.index(partition)
        args += [stream, ids, record.events, record.raw, record.payload, f"{source.name}/{partition}"]
    streams = [of.stream(partition) for partition in partitions]
    reply = await script("dead_redrive").acall(redis, [of.ledger, of.dead, of.flow, *streams], args)
    if reply[0] != b"ok":
        raise UnknownSourceError(f"source {source.name!r} was removed or made anew; nothing was redriven")
    active = [f"{source.name}/{partition}" for partition in partitions]
    await script("announce").acall(redis, [keys.active], active)
    return [{gone_id.decode() for gone_id in gone} for gone in reply[1:]]


def _check_redrivable(source: Source, letter: DeadLetter) -> None:
    if letter.source != source.name or not letter.redrivable:
        raise RedriveError(
            f"dead letter {letter.id} ({letter.header.reason}) holds no event that could be sent; "
            "export it to look into it, or discard it"
        )
    if not 0 <= letter.header.partition < source.partitions:
        raise RedriveError(
            f"dead letter {letter.id} belongs to partition {letter.header.partition}, "
            f"but source {source.name!r} has {source.partitions}; export it and send it anew"
        )


def _pack(letters: Iterable[DeadLetter]) -> list[list[DeadLetter]]:
    """Group letters into record batches: of one partition, in their order, within both limits."""
    partitions: defaultdict[int, list[DeadLetter]] = defaultdict(list)
    for letter in letters:
        partitions[letter.header.partition].append(letter)
    return [batch for group in partitions.values() for batch in _cut(group)]


def _cut(group: Sequence[DeadLetter]) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    raw = 0
    for letter in group:
        size = len(letter.payload) + len(batches.SEPARATOR)
        if batch and (len(batch) == batches.MAX_EVENTS or raw + size > MAX_RAW):
            yield batch
            batch, raw = [], 0
        batch.append(letter)
        raw += size
    yield batch


def _parsed(payload: bytes) -> Any:
    """Read a payload; NaN and infinity, which a client may have sent, become texts. None for what is no JSON."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    try:
        parsed = json.loads(payload, parse_constant=str)
        orjson.dumps(parsed)  # What cannot be shown as JSON is shown as text.
    except (ValueError, TypeError, RecursionError):
        return None
    return parsed


def _told(value: object) -> str | None:
    """A field as text: what is invalid may be of any type."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def _page(source: str, entries: Sequence[Any], wanted: Filter) -> Page:
    letters, unreadable = [], []
    for entry in entries:
        try:
            letters.append(_letter(source, entry))
        except StoredVersionError:
            unreadable.append(entry[0].decode())
    last = entries[-1][0].decode()
    return Page(tuple(filter(wanted.matches, letters)), tuple(unreadable), f"({last}")


def _letter(source: str, entry: Any) -> DeadLetter:
    entry_id, fields = entry
    header = LetterHeader.load(fields.get(b"h", b""))
    return DeadLetter(source, entry_id.decode(), header, fields.get(b"b", b""), int(fields.get(b"n", 1)))


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[at : at + size] for at in range(0, len(ids), size))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) < 1 << 64
