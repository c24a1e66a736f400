"""The tap: what a worker tells of one source's events while somebody watches it."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import orjson

from pombo.shared import batches
from pombo.shared.tail import Fate, Seen
from pombo.worker.parts import Chunk, Entry, Part
from pombo.worker.sieve import Sieve
from pombo.worker.store import Letter

MOST: Final = 100
"""Fates told by a worker of a source at a time."""


class _Told(NamedTuple):
    message_id: bytes
    body: bytes
    fate: Fate
    at_ms: int
    partition: int
    note: bytes | str


class Tap:
    """Gather what is to be told until the next `take`: no more than `MOST` fates, whatever passes by.

    Nothing here waits, and nothing of it is done for a source that nobody watches. Bodies are only looked into when
    they are taken.
    """

    def __init__(self) -> None:
        self.until = 0.0
        """When the watch ends, on the worker's monotonic clock."""
        self._sieve = Sieve(MOST)
        self._told: list[_Told] = []
        self._left_out = 0
        self._read_to: dict[int, tuple[int, int]] = {}

    def accepted(self, partition: int, entries: Iterable[Entry]) -> None:
        """Tell of entries read ahead, each once, though what is forgotten is read again."""
        for entry in entries:
            milliseconds, _, sequence = entry.id.partition("-")
            order = int(milliseconds), int(sequence)
            if order > self._read_to.get(partition, (0, 0)):
                self._read_to[partition] = order
                self._add(entry.bodies, "accepted", entry.accepted_ms, partition)

    def deduplicated(self, part: Part, at_ms: int) -> None:
        """Tell of the events of a part just claimed that are not to be sent."""
        todo = set(part.todo)
        bodies = [body for index, body in enumerate(part.bodies) if index not in todo]
        self._add(bodies, "deduplicated", at_ms, part.partition)

    def delivered(self, chunk: Chunk, at_ms: int) -> None:
        """Tell of events that Segment took."""
        for part, indices in chunk.slices:
            self._add([part.bodies[index] for index in indices], "delivered", at_ms, part.partition)

    def dead(self, letters: Iterable[Letter], at_ms: int) -> None:
        """Tell of events that became dead letters."""
        for one in letters:
            self._add([one.part.bodies[one.index]], "dead", at_ms, one.part.partition, one.header)

    def buried(self, partition: int, payload: bytes, reason: str, at_ms: int) -> None:
        """Tell of a record batch that cannot be read."""
        self._put(_Told(b"", payload, "dead", at_ms, partition, reason))

    def take(self) -> list[Seen]:
        """What is to be told, in order; the first one says how many fates were left out."""
        told, self._told = self._told, []
        self._sieve.turn(len(told))
        left_out, self._left_out = (self._left_out, 0) if told else (0, self._left_out)
        return [_seen(one, 0 if number else left_out) for number, one in enumerate(told)]

    def _add(self, bodies: Sequence[bytes], fate: Fate, at_ms: int, partition: int, note: bytes = b"") -> None:
        for message_id, body in zip(batches.message_ids(bodies), bodies, strict=True):
            self._put(_Told(message_id, body, fate, at_ms, partition, note))

    def _put(self, told: _Told) -> None:
        if not self._sieve.passes(told.message_id):
            self._left_out += 1
            return
        self._told.append(told)
        while len(self._told) > MOST:
            if not self._sieve.narrow():
                self._told.pop()
                self._left_out += 1
                return
            kept = [one for one in self._told if self._sieve.passes(one.message_id)]
            self._left_out += len(self._told) - len(kept)
            self._told = kept


def _seen(told: _Told, left_out: int) -> Seen:
    note = told.note if isinstance(told.note, str) else _words(told.note)
    return Seen.of(told.body, told.fate, told.at_ms, told.partition, note=note, left_out=left_out)


def _words(header: bytes) -> str:
    """A letter's reason and Segment's answer."""
    if not header:
        return ""
    letter = orjson.loads(header)
    return " ".join(str(letter[name]) for name in ("reason", "status", "answer") if letter.get(name))
