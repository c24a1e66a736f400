"""The tail: events of a source and their fates, told while, and only while, somebody watches.

1. Whoever watches asks again and again (`watch`); the request has an end, and workers learn of it by their beats.
2. Workers tell what passes them (`tell`): a capped stream that ends five minutes after the last event told.
3. `follow` reads on from where it was; `queued` shows what waits while a source sends nothing.

Payloads are people's data: they are in the tail only while somebody watches, cut to `MAX_PAYLOAD`, and gone five
minutes later. A worker that is asked for more than it can tell leaves events out, and says how many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Self, cast, get_args

import orjson
from redis.asyncio import Redis

from pombo.shared import batches
from pombo.shared.clock import iso, moment
from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.shared.keys import Keys
from pombo.shared.scripts import Argument, script
from pombo.shared.sources import Source

Fate = Literal["accepted", "delivered", "deduplicated", "dead"]
FATES: Final[tuple[Fate, ...]] = get_args(Fate)
MAX_PAYLOAD: Final = 4096
"""Bytes of an event that are told."""
MAX_NOTE: Final = 300
"""Characters of a note."""
KEPT: Final = 1000
"""Entries of a tail: with payloads of 1 kB a megabyte, 5 MB at most."""
LIFETIME_S: Final = 300
BEGINNING: Final = "0-0"
"""The cursor before everything."""
_VERSION = 1

_Rows = list[tuple[bytes, dict[bytes, bytes]]]


@dataclass(frozen=True, slots=True)
class Seen:
    """One event and what became of it."""

    at: datetime
    """When: accepted by Redis, or settled."""
    fate: Fate
    message_id: str
    type: str | None = None
    event: str | None = None
    """The name of a track event, page or screen."""
    user: str | None = None
    """Its userId, or else its anonymousId."""
    partition: int = 0
    payload: bytes = b""
    """As Segment gets it, but not more than `MAX_PAYLOAD` bytes."""
    size: int = 0
    """Bytes of the whole event."""
    note: str = ""
    """Of a dead one: the reason, and Segment's answer."""
    left_out: int = 0
    """Further fates that this worker left out just before, because they were too many to tell."""

    @classmethod
    def of(cls, body: bytes, fate: Fate, at_ms: int, partition: int, *, note: str = "", left_out: int = 0) -> Self:
        """Describe a serialised event; `at_ms` is of Redis' clock. One that is no JSON is told without its words."""
        try:
            told = orjson.loads(body)
        except ValueError:
            told = {}
        words = told if isinstance(told, dict) else {}
        return cls(
            moment(at_ms), fate, _text(words, "messageId") or "", _text(words, "type"),
            _text(words, "event") or _text(words, "name"), _text(words, "userId") or _text(words, "anonymousId"),
            partition, body[:MAX_PAYLOAD], len(body), note[:MAX_NOTE], left_out,
        )  # fmt: skip

    @classmethod
    def parse(cls, fields: Mapping[bytes, bytes]) -> Self | None:
        """Read an entry of the stream; None for that of another version."""
        try:
            told: dict[str, Any] = orjson.loads(fields[b"h"])
            if told.pop("v") != _VERSION or told["fate"] not in FATES:
                return None
            return cls(**{**told, "at": moment(told["at"]), "payload": fields.get(b"b", b"")})
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def header(self) -> bytes:
        """What `parse` reads beside the payload."""
        told = {name: value for name in self.__slots__ if (value := getattr(self, name))}
        told.pop("payload", None)
        at = round(self.at.timestamp() * 1000)
        return orjson.dumps({"v": _VERSION, **told, "message_id": self.message_id, "at": at})

    def describe(self) -> dict[str, Any]:
        """The event as JSON, without its payload."""
        told = {name: getattr(self, name) for name in self.__slots__ if name != "payload"}
        return {**told, "at": iso(self.at), "cut": self.size > len(self.payload)}


async def watch(redis: Redis, keys: Keys, source: str, seconds: int) -> int:
    """Ask the fleet to tell a source's events for so many seconds from now; raises what the client raises.

    Whoever watches asks again before that. Of 16 sources at most: those whose watch ends last.

    Returns:
        Until when, in seconds of Redis' clock.
    """
    return int(await script("watch").acall(redis, [keys.watched], [source, max(1, int(seconds))]))


async def follow(redis: Redis, keys: Keys, source: str, after: str, count: int) -> tuple[list[Seen], str]:
    """Read what was told behind a cursor, oldest first; raises what the client raises.

    Args:
        redis: a client.
        keys: the key catalogue.
        source: its name.
        after: the cursor of the call before; "" begins with the latest `count`.
        count: entries at most.

    Returns:
        What was told, and the cursor for the next call.
    """
    tail = keys.of(source).tail
    if after:
        rows = cast("_Rows", await redis.xrange(tail, f"({after}", "+", count=count))
    else:
        rows = cast("_Rows", await redis.xrevrange(tail, "+", "-", count=count))[::-1]
    found = [seen for _, fields in rows if (seen := Seen.parse(fields)) is not None]
    return found, rows[-1][0].decode() if rows else after or BEGINNING


async def queued(redis: Redis, keys: Keys, source: Source, count: int) -> list[Seen]:
    """Read the newest events that wait in a source's streams or are in flight, newest first, as accepted.

    They are there to see also while the source is held, parked or paused. Record batches that cannot be read are
    passed over. It reads no more than `count` record batches of each partition; raises what the client raises.
    """
    of = keys.of(source.name)
    async with redis.pipeline(transaction=False) as pipe:
        for partition in range(source.partitions):
            pipe.xrevrange(of.stream(partition), "+", "-", count=max(1, -(-count // source.partitions)))
        streams = await pipe.execute()
    entries = [(entry_id.decode(), fields, p) for p, rows in enumerate(streams) for entry_id, fields in rows]
    entries.sort(key=lambda entry: _order(entry[0]), reverse=True)
    found: list[Seen] = []
    for entry_id, fields, partition in entries:
        at, _ = _order(entry_id)
        found += [Seen.of(body, "accepted", at, partition) for body in reversed(_bodies(fields))]
        if len(found) >= count:
            break
    return found[:count]


async def tell(redis: Redis, keys: Keys, source: Source, seen: Sequence[Seen]) -> int:
    """Append to a source's tail, and return how many were told: none when the source is gone.

    Raises what the client raises; a full Redis refuses it.
    """
    of = keys.of(source.name)
    args: list[Argument] = [source.incarnation, KEPT, LIFETIME_S]
    for one in seen:
        args += [one.header(), one.payload]
    return int(await script("tail").acall(redis, [of.tail, of.ledger], args))


def _bodies(fields: Mapping[bytes, bytes]) -> list[bytes]:
    try:
        return batches.decode(fields[b"b"], int(fields[b"n"]), int(fields[b"r"]))
    except (CorruptBatchError, StoredVersionError, KeyError, ValueError):
        return []


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence)


def _text(words: Mapping[str, Any], name: str) -> str | None:
    value = words.get(name)
    return value[:256] if isinstance(value, str) else None
