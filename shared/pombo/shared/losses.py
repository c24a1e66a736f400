"""What Redis itself lost of what it had acknowledged, as those noticed who knew better.

Ledgers and streams move together, so after a failover to a replica that was behind, or a restart without the last
writes, they agree with each other, and events are gone. Three kinds of witnesses remember what was:

* a producer knows how many of its session's events Redis accepted; `append.lua` compares, and counts exactly
* a worker that watches a source knows its counters, which never fall (`fall.lua`): "at least", yet always there
* a worker knows its own beat, and the fleet's epoch (`beat.lua`): that tells even when everything is gone

| kind | stream of | fields |
|---|---|---|
| `append` | the source | session, forgotten |
| `fall` | the source | worker, and each counter that fell, with by how much |
| `emptied` | the fleet | worker |
| `older` | the fleet | worker |
| `gone` | the fleet | note, worker, source, queued, in_flight, ago_ms |
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from redis.asyncio import Redis

from pombo.shared.clock import moment
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.scripts import paired, script

WHY = "a failover, a flush, or a restart that lost its last writes"


@dataclass(frozen=True, slots=True)
class Loss:
    """One note of a witness."""

    id: str
    kind: str
    told: Mapping[str, str]

    @classmethod
    def parse(cls, entry: Sequence[Any]) -> Self:
        """Read a stream entry; that of a newer pombo has a kind that nobody here knows, and is kept."""
        entry_id, found = entry
        fields = {name.decode(): value.decode() for name, value in paired(found).items()}
        return cls(entry_id.decode(), fields.pop("kind", ""), fields)

    @property
    def at(self) -> int:
        """When it was noted, in ms of Redis' clock."""
        return int(self.id.partition("-")[0])

    def number(self, name: str) -> int:
        """A count that it tells; 0 when it does not."""
        return int(self.told.get(name, 0))


@dataclass(frozen=True, slots=True)
class Losses:
    """All notes of a source, or of the fleet, that nobody has acknowledged."""

    notes: Sequence[Loss] = ()

    @classmethod
    def parse(cls, reply: Sequence[Any]) -> Self:
        """Read the entries of a stream."""
        return cls(tuple(Loss.parse(entry) for entry in reply))

    @property
    def newest(self) -> str:
        """Id of the newest note; empty when there is none."""
        return self.notes[-1].id if self.notes else ""

    def of(self, kind: str) -> list[Loss]:
        """The notes of one kind, oldest first."""
        return [note for note in self.notes if note.kind == kind]

    def sentences(self, ledger: Ledger) -> Iterator[str]:
        """What a source lost; its ledger counts also what the notes no longer hold."""
        appends, falls = self.of("append"), self.of("fall")
        if appends or ledger.forgotten:
            count = max(ledger.forgotten, sum(note.number("forgotten") for note in appends))
            producers = len({note.told.get("session") for note in appends})
            yield (
                f"Redis forgot {count:,} accepted events of {_plural(producers, 'producer')} {span(appends)} ({WHY}): "
                "those not delivered before are lost"
            )
        if falls or ledger.fallen:
            names = dict.fromkeys(name for note in falls for name in note.told if name != "worker")
            told = " and ".join(f"{sum(note.number(name) for note in falls):,} {name}" for name in names)
            told = told or f"{ledger.fallen:,}"
            yield f"Redis went back by at least {told} events {span(falls)}, as workers saw ({WHY})"
        yield from self._unknown({"append", "fall"})

    def fleet_sentences(self) -> Iterator[str]:
        """What was lost beside what sources tell themselves."""
        for kind, words in (("emptied", "was emptied"), ("older", "came back in an older state")):
            notes = self.of(kind)
            if notes:
                workers = len({note.told.get("worker") for note in notes})
                yield f"Redis {words} {span(notes)}, as {_plural(workers, 'worker')} saw ({WHY})"
        # Several workers may have seen one source; whoever saw it last knows best.
        gone = {note.told["source"]: note for note in sorted(self.of("gone"), key=_seen_at)}
        for source, note in sorted(gone.items()):
            yield (
                f"Redis lost source {source!r} with all it held: {note.number('queued'):,} events queued and "
                f"{note.number('in_flight'):,} in flight, {note.number('ago_ms') / 1000:.1f} s before that was noticed "
                f"{span([note])}"
            )
        yield from self._unknown({"emptied", "older", "gone"})

    def _unknown(self, known: set[str]) -> Iterator[str]:
        others = [note for note in self.notes if note.kind not in known]
        if others:
            yield f"{_plural(len(others), 'loss')} noted by a newer pombo {span(others)}; upgrade pombo here to read it"


def span(notes: Sequence[Loss]) -> str:
    """When the notes were made, in UTC; nothing for no notes."""
    if not notes:
        return "earlier"
    first, last = (moment(note.at).strftime("%Y-%m-%d %H:%M:%S") for note in (notes[0], notes[-1]))
    if first == last:
        return f"at {first} UTC"
    return f"between {first} and {last.removeprefix(first[:11])} UTC"


def _seen_at(note: Loss) -> int:
    return note.at - note.number("ago_ms")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


async def read_fleet_losses(redis: Redis, keys: Keys) -> Losses:
    """Read what workers saw Redis lose."""
    return Losses.parse(await redis.xrange(keys.losses) or ())


async def acknowledge(redis: Redis, keys: Keys, source: str | None, losses: Losses) -> bool:
    """Clear losses that were read, of a source or (None) of the fleet; False: there are newer ones, and none is."""
    of = None if source is None else keys.of(source)
    cleared = [keys.losses] if of is None else [of.losses, of.ledger]
    return bool(await script("acknowledge").acall(redis, cleared, [losses.newest]))
