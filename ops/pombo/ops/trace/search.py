"""The search for one event: cheap looks first, long streams in small steps.

It changes nothing, but that the table of the dead letters is made anew where it falls short.

What moves while it is searched for moves one way: from the queue into flight, and from there to its end, or from
the dead letters to the end of the queue. So letters are read before the queue, and who was nowhere is looked for
once more where things end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from redis.asyncio import Redis

from pombo.ops.trace.places import Place
from pombo.shared import batches
from pombo.shared.audit import RECORD_VERSION
from pombo.shared.clock import iso, moment
from pombo.shared.deadletters import DeadLetter, Filter, pages
from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.shared.flow import redis_now
from pombo.shared.keys import Keys
from pombo.shared.sources import Source
from pombo.worker.idempotency import Table, members

STEP = 50
"""Entries read at a time: a third of a megabyte usually, which keeps Redis for less than a millisecond."""

Progress = Callable[[int], object]
"""Told how many more events were looked through."""


class Memory(NamedTuple):
    """The generation of remembered ids that an id is in; ms of Redis' clock."""

    since: int
    until: int


@dataclass(frozen=True, slots=True)
class Record:
    """A partition's in-flight record: a range of entries, and which of their events are finished."""

    first: str
    last: str
    done: str
    attempts: int
    sent_at: int
    unknown_since: int
    failing_since: int

    @classmethod
    def parse(cls, stored: dict[bytes, bytes]) -> "Record | None":
        """Read it; None when there is none, or one that this pombo does not know."""
        text = {name.decode(): value.decode("utf-8", "replace") for name, value in stored.items()}
        if text.get("v") != RECORD_VERSION:
            return None
        times = {name: int(text[name]) for name in ("attempts", "sent_at", "unknown_since", "failing_since")}
        return cls(text["first"], text["last"], text["done"], **times)


class Search:
    """Look for one messageId in one source."""

    def __init__(
        self, redis: Redis, keys: Keys, source: Source, message_id: str, progress: Progress = lambda _: None
    ) -> None:
        self._redis = redis
        self._of = keys.of(source.name)
        self._keys = keys
        self._source = source
        self._id = message_id
        self._stored_id = orjson.dumps(message_id)[1:-1]
        self._progress = progress

    async def run(self) -> list[Place]:
        """Every place where it is; none when this source knows nothing of it."""
        begun = await redis_now(self._redis)
        counts: Sequence[Any] = await self._redis.hmget(self._of.ledger, ["dead", "queued"])
        dead, queued = (int(count or 0) for count in counts)
        found = await self.in_flight()
        if dead:
            found += [letter async for letter in self.dead()]
        if dead or queued:
            found += [place async for place in self.queued() if await self._still_there(place)]
        memory = await self.memory()
        if not any(place.state in {"in_flight", "dead"} for place in found):
            found += await self.in_flight() or [letter async for letter in self.dead(f"{begun}-0")]
        if memory and not any(place.state in {"in_flight", "dead"} for place in found):
            found.append(self._delivered(memory))
        return [self._told(place, found, memory) for place in found]

    async def memory(self) -> Memory | None:
        """Where its id is remembered; it is from its claim on, unless it died."""
        stored: Sequence[Any] = await self._redis.hmget(self._of.ids, ["version", "table"])
        table = Table.load(stored[0], stored[1])
        (member,), (spread,) = members([self._stored_id])
        window = int(self._source.window_s * 1000)
        for generation in table.generations:
            bucket = self._of.bucket(generation.number, spread % generation.buckets)
            if await self._redis.sismember(bucket, str(member)):
                return Memory(generation.born, (generation.ended or generation.born + window) + window)
        return None

    async def in_flight(self, partition: int | None = None) -> list[Place]:
        """Where it is in an in-flight record: of one partition, or of all."""
        numbers = range(self._source.partitions) if partition is None else [partition]
        async with self._redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hgetall(self._of.record(number))
                pipe.get(self._of.lease(number))
            replies = await pipe.execute()
        found = []
        for number, stored, lease in zip(numbers, replies[::2], replies[1::2], strict=True):
            record = Record.parse(stored)
            place = await self._in_record(number, record, lease) if record else None
            found += [place] if place else []
        return found

    async def _in_record(self, number: int, record: Record, lease: bytes | None) -> Place | None:
        position = 0
        async for entry, bodies in self._entries(number, record.first, record.last):
            index = self._index(bodies)
            if index is not None:
                unfinished = record.done[position + index : position + index + 1] == "0"
                return self._sent(number, entry, record, lease) if unfinished else None
            position += len(bodies)
        return None

    def _sent(self, number: int, entry: str, record: Record, lease: bytes | None) -> Place:
        worker = (lease or b"").partition(b":")[0].decode()
        note = "its outcome is not known yet" if record.unknown_since else None
        return Place(
            source=self._source.name, state="in_flight", note=note, partition=number, entry=entry,
            accepted_at=_accepted(entry), worker=worker or None, attempts=record.attempts,
            sent_at=_instant(record.sent_at), unknown_since=_instant(record.unknown_since),
            failing_since=_instant(record.failing_since),
        )  # fmt: skip

    async def dead(self, start: str = "-") -> AsyncIterator[Place]:
        """Its dead letters, from the stream id `start` on."""
        wanted = Filter(message_id=self._id)
        async for page in pages(self._redis, self._keys, self._source.name, wanted, start=start):
            for letter in page.letters:
                yield _letter(letter)

    async def queued(self) -> AsyncIterator[Place]:
        """Where it is in the streams, behind what is in flight."""
        for number in range(self._source.partitions):
            last = await self._redis.hget(self._of.record(number), "last")
            ahead = 0
            start = f"({last.decode()}" if isinstance(last, bytes) else "-"
            async for entry, bodies in self._entries(number, start, "+"):
                index = self._index(bodies)
                if index is not None:
                    yield Place(
                        source=self._source.name, state="queued", partition=number, entry=entry, ahead=ahead + index,
                        accepted_at=_accepted(entry),
                    )  # fmt: skip
                ahead += len(bodies)
                self._progress(len(bodies))

    async def _still_there(self, place: Place) -> bool:
        """Whether no worker claimed it since it was seen in the queue; that is the usual end of a search."""
        assert place.partition is not None
        last = await self._redis.hget(self._of.record(place.partition), "last")
        claimed = isinstance(last, bytes) and _order(place.entry or "") <= _order(last.decode())
        stream = self._of.stream(place.partition)
        return not claimed and bool(await self._redis.xrange(stream, place.entry or "-", place.entry or "-"))

    async def _entries(self, number: int, start: str, stop: str) -> AsyncIterator[tuple[str, Sequence[bytes]]]:
        """The entries of a range with their events, in steps; of one that cannot be read, no event is seen."""
        stream, position = self._of.stream(number), start
        redis: Any = self._redis
        while rows := await redis.xrange(stream, position, stop, count=STEP):
            for entry, bodies in _decoded(rows):
                yield entry, bodies
            position = f"({rows[-1][0].decode()}"
            await asyncio.sleep(0)

    def _index(self, bodies: Sequence[bytes]) -> int | None:
        for index, body in enumerate(bodies):
            if body and batches.message_id(body) == self._stored_id:
                return index
        return None

    def _delivered(self, memory: Memory) -> Place:
        return Place(
            source=self._source.name, state="delivered",
            note="its id is remembered, and it is neither queued nor in flight nor dead: Segment accepted it",
            remembered_since=_instant(memory.since), remembered_until=_instant(memory.until),
        )  # fmt: skip

    def _told(self, place: Place, found: Sequence[Place], memory: Memory | None) -> Place:
        """Say of a queued one what the memory means for it."""
        if place.state != "queued" or memory is None or place.note:
            return place
        first = next((p.state.replace("_", " ") for p in found if p.state in {"in_flight", "delivered"}), "claimed")
        return replace(place, note=f"another copy: the first one is {first}, so this one will not be sent")


def _decoded(rows: Sequence[Any]) -> Iterator[tuple[str, Sequence[bytes]]]:
    for entry, fields in rows:
        events, raw = _number(fields.get(b"n")), _number(fields.get(b"r"))
        try:
            yield entry.decode(), batches.decode(fields.get(b"b", b""), events, raw)
        except (CorruptBatchError, StoredVersionError):
            yield entry.decode(), [b""] * events


def _order(entry: str) -> tuple[int, int]:
    milliseconds, _, sequence = entry.partition("-")
    return int(milliseconds), int(sequence)


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) <= 9 else 0


def _letter(letter: DeadLetter) -> Place:
    header = letter.header
    return Place(
        source=letter.source, state="dead", partition=header.partition, accepted_at=header.accepted_at,
        attempts=header.attempts, letter=letter.id, reason=header.reason, status=header.status,
        answer=header.answer, died_at=iso(letter.died_at), note=f"`pombo dead show {letter.id}` has its history",
    )  # fmt: skip


def _accepted(entry: str) -> str:
    return iso(moment(int(entry.partition("-")[0])))


def _instant(milliseconds: int) -> str | None:
    return iso(moment(milliseconds)) if milliseconds else None
