"""Rows: what a source's table keeps of each dead letter, 32 bytes, and how rows are looked through.

| bytes | what |
|---|---|
| 0-7 | milliseconds of its stream id |
| 8-11 | sequence of its stream id |
| 12-15 | number of its group; `GONE` once the letter has left |
| 16-19, 20-23, 24-27 | hashes of userId, anonymousId and messageId; 0: it has none |
| 28-31 | when it was accepted, seconds since 1970; `UNKNOWN` where nobody knows |

All are unsigned little-endian integers of 32 bits, the first one of 64. `lettertable.lua` writes the first four, the
others are the `marks` that the caller gives it.
"""

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2s

from pombo.shared.deadletters.kind import UNREADABLE, Kind
from pombo.shared.deadletters.letter import DeadLetter, LetterHeader, told
from pombo.shared.errors import StoredVersionError
from pombo.shared.scripts import Argument

SIZE = 32
"""Bytes of a row, and of the table's name before the first."""
GONE = 0xFFFFFFFF
UNKNOWN = 0xFFFFFFFF

_ID, _MARKS = struct.Struct("<QII"), struct.Struct("<IIII")
_GROUP, _USER, _ANONYMOUS, _MESSAGE, _ACCEPTED = 3, 4, 5, 6, 7
_CELLS = SIZE // 4
_MOST = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one letter beside its id."""

    marks: bytes
    kind: Kind

    @property
    def arguments(self) -> list[Argument]:
        """As the scripts that write letters take it."""
        return [self.marks, self.kind.fingerprint, self.kind.dump()]

    def packed(self, stream_id: str, group: int) -> bytes:
        """The row of the letter of that id, in the group of that number."""
        milliseconds, _, sequence = stream_id.partition("-")
        return _ID.pack(int(milliseconds), min(int(sequence), _MOST), group) + self.marks


def row_of(header: bytes, payload: bytes, events: int = 1) -> Row:
    """The row of a letter as it is stored: header, payload and how many events it stands for."""
    try:
        letter = DeadLetter("", "0-0", LetterHeader.load(header), payload, events)
    except StoredVersionError:
        return Row(_MARKS.pack(0, 0, 0, UNKNOWN), UNREADABLE)
    event, accepted = letter.event, letter.accepted
    seconds = UNKNOWN if accepted is None else max(0, min(int(accepted.timestamp()), UNKNOWN - 1))
    hashes = (hash_of(told(event.get(name))) for name in ("userId", "anonymousId", "messageId"))
    return Row(_MARKS.pack(*hashes, seconds), letter.kind)


def hash_of(text: str | None) -> int:
    """32 bits of a hash, never 0; 0 for nothing."""
    if text is None:
        return 0
    digest = blake2s(text.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "little") or 1


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row must be like; None does not matter."""

    groups: frozenset[int] | None = None
    user: int | None = None
    """Hash of a userId or an anonymousId."""
    message: int | None = None
    always: int | None = None
    """Number of the group whose letters are always wanted, as nobody can say what they are."""

    @property
    def nothing(self) -> bool:
        """Whether no row can be like that."""
        return self.groups is not None and not self.groups and self.always is None


class Rows:
    """A run of rows, and those in it that are wanted; all by columns, at the speed of C."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._cells = array("I")
        self._cells.frombytes(raw)
        if sys.byteorder == "big":
            self._cells.byteswap()

    def __len__(self) -> int:
        return len(self._cells) // _CELLS

    @property
    def groups(self) -> "array[int]":
        """Numbers of the rows' groups."""
        return self._cells[_GROUP::_CELLS]

    @property
    def accepted(self) -> "array[int]":
        """When their letters were accepted, in seconds since 1970."""
        return self._cells[_ACCEPTED::_CELLS]

    def id(self, place: int) -> str:
        """The stream id of the letter at a place."""
        low, high, sequence = self._cells[place * _CELLS : place * _CELLS + 3]
        return f"{high << 32 | low}-{sequence}"

    def live(self) -> bytes:
        """The rows whose letters are there."""
        groups = self.groups
        if GONE not in groups:
            return self._raw
        live = (place for place, group in enumerate(groups) if group != GONE)
        return b"".join(self._raw[place * SIZE : (place + 1) * SIZE] for place in live)

    def wanted(self, wanted: Wanted) -> list[int]:
        """Places of the rows that are wanted, ascending."""
        if wanted.nothing:
            return []
        places = self._by_hash(wanted)
        if places is None:
            return self._by_group(wanted)
        allowed, cells = wanted.groups, self._cells
        return [
            place
            for place in places
            if (group := cells[place * _CELLS + _GROUP]) != GONE
            and (allowed is None or group in allowed or group == wanted.always)
        ]

    def _by_hash(self, wanted: Wanted) -> list[int] | None:
        found: set[int] | None = None
        if wanted.message is not None:
            found = set(self._find(_MESSAGE, wanted.message))
        if wanted.user is not None:
            users = {*self._find(_USER, wanted.user), *self._find(_ANONYMOUS, wanted.user)}
            found = users if found is None else found & users
        if found is None:
            return None
        if wanted.always is not None:
            found.update(self._find(_GROUP, wanted.always))
        return sorted(found)

    def _by_group(self, wanted: Wanted) -> list[int]:
        if wanted.groups is None:
            return [place for place, group in enumerate(self.groups) if group != GONE]
        allowed = wanted.groups if wanted.always is None else wanted.groups | {wanted.always}
        if len(allowed) == 1:
            return [*self._find(_GROUP, next(iter(allowed)))]
        return [place for place, group in enumerate(self.groups) if group in allowed]

    def _find(self, column: int, value: int) -> Iterator[int]:
        """Places whose cell has that value, by a search for its bytes."""
        cells = self._cells[column::_CELLS].tobytes()
        needle = value.to_bytes(4, sys.byteorder)
        at = cells.find(needle)
        while at >= 0:
            if at % 4 == 0:
                yield at // 4
            at = cells.find(needle, at + (4 - at % 4))
