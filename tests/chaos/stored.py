"""What Redis holds of a source, read key by key at one moment, past all processes of the world."""

from collections.abc import Iterable
from typing import Any

from chaos.virtualserver import VirtualServer
from pombo.shared import batches
from pombo.shared.deadletters import LetterHeader, row_of
from pombo.shared.deadletters.kind import Kind
from pombo.shared.deadletters.rows import SIZE, Rows
from pombo.shared.errors import CorruptBatchError
from pombo.shared.keys import Keys
from pombo.shared.sources import Source


class Stored:
    """Read one source's keys; every id is a messageId."""

    def __init__(self, server: VirtualServer, source: Source) -> None:
        self._raw = server.raw
        self._partitions = source.partitions
        self._of = Keys().of(source.name)

    def leases(self) -> list[bytes]:
        """Each partition's lease, `worker:token`, or nothing."""
        return [lease or b"" for lease in self._raw("MGET", *map(self._of.lease, range(self._partitions)))]

    def lease_keys(self) -> list[str]:
        """Where they are."""
        return [self._of.lease(partition) for partition in range(self._partitions)]

    def unfinished(self) -> set[str]:
        """The ids of all events that are queued or in flight."""
        found: set[str] = set()
        for partition in range(self._partitions):
            done = self._done(partition)
            found |= {one for index, one in enumerate(self._ids(partition)) if done[index : index + 1] != b"1"}
        return found

    def in_flight(self, partitions: Iterable[int]) -> set[str]:
        """The ids of the events of these partitions that are claimed and not finished."""
        found: set[str] = set()
        for partition in partitions:
            pairs = zip(self._ids(partition), self._done(partition), strict=False)
            found |= {one for one, done in pairs if done != ord("1")}
        return found

    def _done(self, partition: int) -> bytes:
        done = self._raw("HGET", self._of.record(partition), "done")
        return bytes(done or b"")

    def _ids(self, partition: int) -> list[str]:
        ids: list[str] = []
        for _, fields in self._raw("XRANGE", self._of.stream(partition), "-", "+"):
            entry = _pairs(fields)
            try:
                bodies = batches.decode(entry[b"b"], int(entry[b"n"]), int(entry[b"r"]))
            except CorruptBatchError:
                continue
            ids += [batches.message_id(body).decode() for body in bodies]
        return ids

    def dead(self) -> dict[str, str]:
        """The dead letters of single events: id and reason."""
        letters = [letter for letter in self._letters() if b"n" not in letter]
        return {batches.message_id(one[b"b"]).decode(): LetterHeader.load(one[b"h"]).reason for one in letters}

    def unreadable(self) -> int:
        """Events in the dead letters of batches that nobody could read."""
        return sum(int(letter.get(b"n", b"0")) for letter in self._letters())

    def _letters(self) -> list[dict[bytes, bytes]]:
        return [_pairs(fields) for _, fields in self._raw("XRANGE", self._of.dead, "-", "+")]

    def letters(self) -> list[tuple[str, str]]:
        """Stream id and fingerprint of each dead letter, as the letters tell it."""
        found = []
        for stream_id, fields in self._raw("XRANGE", self._of.dead, "-", "+"):
            one = _pairs(fields)
            row = row_of(one[b"h"], one[b"b"], int(one.get(b"n", b"1")))
            found.append((stream_id.decode(), row.kind.fingerprint))
        return found

    def table(self) -> list[tuple[str, str]]:
        """The same as their table tells it."""
        raw: bytes = self._raw("GET", self._of.dead_table) or b""
        groups = _pairs(self._raw("HGETALL", self._of.dead_groups))
        live = Rows(Rows(raw[SIZE:]).live())
        names = [Kind.parse(groups[b"d:%d" % number]).fingerprint for number in live.groups]
        return [(live.id(place), name) for place, name in enumerate(names)]

    def flow(self, field: str) -> bytes | None:
        """One field of the source's flow, such as `paused`."""
        value: bytes | None = self._raw("HGET", self._of.flow, field)
        return value

    def count(self, field: str) -> int:
        """One of the ledger's counters."""
        return int(self._raw("HGET", self._of.ledger, field) or 0)

    def incarnation(self) -> str:
        """Which incarnation of the source the ledger is of, or nothing."""
        return (self._raw("HGET", self._of.ledger, "incarnation") or b"").decode()


def _pairs(fields: list[Any]) -> dict[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))
