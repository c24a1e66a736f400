"""The audit: what each source holds, recounted from the stored data and held against its ledger.

The ledger alone could only agree with itself. So one script a source counts the events in its streams,
in-flight records and dead letters, and reads the ledger at the same moment: a difference is a bug, or data
that Redis lost. What Redis lost of both alike, witnesses have noted (`losses.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from redis.asyncio import Redis

from pombo.shared.batches import READABLE
from pombo.shared.deadletters.table import State
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.losses import Losses, read_fleet_losses
from pombo.shared.registry import Snapshot
from pombo.shared.scripts import paired, script
from pombo.shared.sources import Source

RECORD_VERSION = "1"
PAGE = 100
"""Entries that the script holds in memory at a time; measured, pages of 500 take twice the time."""


@dataclass(frozen=True, slots=True)
class SourceAudit:
    """One source's ledger and what is wrong with it."""

    ledger: Ledger
    differences: tuple[str, ...] = ()
    """Numbers that do not agree, or could not be compared: the source is not balanced."""
    remarks: tuple[str, ...] = ()
    """What needs somebody's attention, though every event is accounted for."""
    losses: Losses = field(default_factory=Losses)
    """What Redis is known to have lost, and nobody has acknowledged."""

    @property
    def lost(self) -> tuple[str, ...]:
        """The same as sentences: the source is not balanced."""
        return tuple(self.losses.sentences(self.ledger))

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything found, as sentences."""
        return self.differences + self.lost + self.remarks

    @property
    def balanced(self) -> bool:
        """Whether every accepted event is accounted for."""
        return not self.differences and not self.lost

    def describe(self) -> dict[str, Any]:
        """The source's part of the report as JSON."""
        return {**self.ledger.describe(), "balanced": self.balanced, "problems": list(self.problems)}


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All sources' audits by name, and what Redis lost beside them."""

    sources: dict[str, SourceAudit]
    losses: Losses = field(default_factory=Losses)
    """What is no source's: Redis was emptied, or came back in an older state."""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with no single source, as sentences."""
        return tuple(self.losses.fleet_sentences())

    @property
    def balanced(self) -> bool:
        """Whether all sources are, and nothing was lost beside them."""
        return not self.problems and all(source.balanced for source in self.sources.values())

    def describe(self) -> dict[str, Any]:
        """The report as JSON: `{"sources": {NAME: {…}}, "problems": [str], "balanced": bool}`."""
        sources = {name: audit.describe() for name, audit in self.sources.items()}
        return {"sources": sources, "problems": list(self.problems), "balanced": self.balanced}


async def audit(redis: Redis, keys: Keys, snapshot: Snapshot) -> AuditReport:
    """Audit every source of the registry, one after the other; those that cannot be read are not balanced."""
    sources = {name: await audit_source(redis, keys, source) for name, source in snapshot.sources.items()}
    unreadable = {name: _unreadable() for name in snapshot.unreadable}
    return AuditReport(dict(sorted({**sources, **unreadable}.items())), await read_fleet_losses(redis, keys))


async def audit_source(redis: Redis, keys: Keys, source: Source) -> SourceAudit:
    """Recount one source and compare."""
    of = keys.of(source.name)
    streams = [key for p in range(source.partitions) for key in (of.stream(p), of.record(p))]
    touched = [of.ledger, of.dead, of.losses, of.dead_table, of.dead_groups, *streams]
    reply = await script("recount").acall(redis, touched, [READABLE[0], READABLE[-1], RECORD_VERSION, PAGE])
    return judge(source, Recount.parse(reply))


def _unreadable() -> SourceAudit:
    return SourceAudit(
        Ledger(),
        ("the source is stored in a form that this pombo cannot read: left alone; upgrade pombo here",),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """An in-flight record as recounted; `readable` is False for a version that is unknown here."""

    version: str
    readable: bool
    unfinished: int = 0
    events: int = 0
    left: int = 0
    events_of_entries: int = 0
    first_there: bool = True

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> Self | None:
        """Read the script's record; None when the partition has none."""
        if not reply:
            return None
        version = reply[0].decode("utf-8", "replace")
        if len(reply) == 1:
            return cls(version, readable=False)
        unfinished, events, left, events_of_entries, first = reply[1:]
        return cls(version, True, unfinished, events, left, events_of_entries, bool(first))


@dataclass(frozen=True, slots=True)
class Partition:
    """What one partition holds."""

    number: int
    queued: int
    bytes: int
    unknown: int
    """Entries whose record batch has an unknown version."""
    malformed: int
    """Entries that are no record batches."""
    record: Record | None

    @classmethod
    def parse(cls, number: int, row: Sequence[Any]) -> Self:
        """Read the script's row of one partition."""
        queued, size, unknown, malformed, record = row
        return cls(number, queued, size, unknown, malformed, Record.parse(record))


@dataclass(frozen=True, slots=True)
class Recount:
    """What a source holds, and its ledger at the same moment."""

    ledger: Ledger
    dead: int
    dead_bytes: int
    partitions: tuple[Partition, ...]
    losses: Losses = field(default_factory=Losses)
    table: State = field(default_factory=State)
    """How the table of the dead letters stands."""

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> Self:
        """Read the reply of `recount.lua`."""
        fields, dead, dead_bytes, losses, table, *rows = reply
        ledger = Ledger.parse(paired(fields))
        partitions = (Partition.parse(p, row) for p, row in enumerate(rows))
        return cls(ledger, dead, dead_bytes, tuple(partitions), Losses.parse(losses), State.parse(table))

    @property
    def readable(self) -> bool:
        """Whether every in-flight record could be read, so that queued and in flight can be told apart."""
        return all(p.record is None or p.record.readable for p in self.partitions)


def judge(source: Source, recount: Recount) -> SourceAudit:
    """Compare a recount with its ledger: pure, nothing is read."""
    differences = (
        *_incarnation(source, recount.ledger),
        *recount.ledger.problems,
        *_differences(recount),
        *(sentence for p in recount.partitions for sentence in _record(p)),
    )
    return SourceAudit(recount.ledger, differences, tuple(_remarks(recount)), recount.losses)


def _incarnation(source: Source, ledger: Ledger) -> Iterator[str]:
    if ledger.incarnation is None:
        yield ("the ledger is gone, Redis lost it: producers are refused; remove the source and add it again")
    elif ledger.incarnation != source.incarnation:
        yield (
            f"the ledger belongs to incarnation {ledger.incarnation}, the registry has {source.incarnation}: "
            "Redis lost part of the data; remove the source and add it again"
        )


def _differences(recount: Recount) -> Iterator[str]:
    ledger, partitions = recount.ledger, recount.partitions
    if recount.readable:
        queued = sum(p.queued for p in partitions)
        in_flight = sum(p.record.unfinished for p in partitions if p.record)
        if queued != ledger.queued:
            yield f"ledger says {ledger.queued} queued, the streams hold {queued}"
        if in_flight != ledger.in_flight:
            yield f"ledger says {ledger.in_flight} in flight, the in-flight records hold {in_flight}"
    stored = sum(p.bytes for p in partitions)
    if stored != ledger.queued_bytes:
        yield f"ledger says {ledger.queued_bytes} queued bytes, the streams hold {stored}"
    if recount.dead != ledger.dead:
        yield f"ledger says {ledger.dead} dead, the dead letters hold {recount.dead}"
    if recount.dead_bytes != ledger.dead_bytes:
        yield f"ledger says {ledger.dead_bytes} dead bytes, the dead letters hold {recount.dead_bytes}"


def _record(partition: Partition) -> Iterator[str]:
    record, where = partition.record, f"partition {partition.number}"
    if record is None:
        return
    if not record.readable:
        yield (
            f"{where} has an in-flight record of version {record.version!r}, whose events cannot be counted: "
            "left alone; upgrade the workers"
        )
    elif not record.first_there:
        yield f"{where} has an in-flight record whose first entry is gone: Redis lost it"
    elif record.events != record.events_of_entries:
        yield (
            f"{where} has an in-flight record of {record.events} events, its entries hold {record.events_of_entries}"
        )
    if record.readable and record.left != record.unfinished:
        yield (
            f"{where} has an in-flight record that says {record.left} events left, its bitmap shows {record.unfinished}"
        )


def _remarks(recount: Recount) -> Iterator[str]:
    unknown = sum(p.unknown for p in recount.partitions)
    if unknown:
        batches = "1 record batch has" if unknown == 1 else f"{unknown} record batches have"
        yield f"{batches} an unknown version: left alone; upgrade the workers"
    malformed = sum(p.malformed for p in recount.partitions)
    if malformed:
        entries = (
            "1 stream entry is no record batch"
            if malformed == 1
            else f"{malformed} stream entries are no record batches"
        )
        yield f"{entries}: something else wrote into the streams"
    table = recount.table
    if not table.known:
        yield f"the table of the dead letters has version {table.version!r}: left alone; upgrade pombo here"
    elif table.version and not table.complete:
        yield (
            f"the table of the dead letters tells of {table.stored - table.gone}, and there are {table.letters}: "
            "it is made anew when somebody lists them by a filter, and no letter is touched by that"
        )
