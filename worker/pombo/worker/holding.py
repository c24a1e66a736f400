"""What a worker holds of a partition: its lease, what is read ahead, what is in flight."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from pombo.shared.batches import MAX_EVENTS
from pombo.worker.packing import Waiting
from pombo.worker.parts import Entry, Part, Room


@dataclass(slots=True, eq=False)
class Holding:
    """A partition that this worker holds: its lease, the entries read ahead, and what is in flight."""

    partition: int
    lease: str
    ahead: deque[Entry] = field(default_factory=deque)
    hungry: bool = True
    fresh: bool = True
    part: Part | None = None
    delivery: asyncio.Task[None] | None = None
    leaving: bool = False
    claiming: bool = False
    blocked: str = ""
    resting: bool = False
    batch_events: float = MAX_EVENTS

    @property
    def behind(self) -> str:
        """The id after which to read on; empty: from the start, because nothing of it is in our hands."""
        if self.ahead:
            return self.ahead[-1].id
        return self.part.entries[-1].id if self.part and self.part.entries else ""

    @property
    def events_ahead(self) -> int:
        """Events read and not yet claimed."""
        return sum(len(entry.bodies) for entry in self.ahead)

    def waiting(self) -> Waiting:
        """What it could send now."""
        return Waiting(self.partition, [(len(entry.bodies), entry.raw) for entry in self.ahead])

    def take_in(self, entry: Entry, room: Room) -> None:
        """Hold one more entry."""
        self.ahead.append(entry)
        room.used += entry.raw

    def forget(self, room: Room) -> None:
        """Drop what was read ahead; the stream still has it."""
        room.used -= sum(entry.raw for entry in self.ahead)
        self.ahead.clear()
        self.hungry = True
