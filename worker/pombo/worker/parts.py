"""What a worker holds of a partition: entries read, records in flight, and the chunks that make requests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pombo.shared.deadletters import Attempt
from pombo.worker.packing import MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS
from pombo.worker.patience import Failures


@dataclass(frozen=True, slots=True)
class Entry:
    """One stream entry, decoded: its id and the serialised events in it."""

    id: str
    payload_bytes: int
    raw: int
    bodies: list[bytes]

    @property
    def accepted_ms(self) -> int:
        """When Redis took it, in ms of its clock."""
        return int(self.id.partition("-")[0])


@dataclass(slots=True)
class Room:
    """How many bytes of events a worker holds in memory, and may: the one bound on all its lanes together.

    When it is full, lanes read only for partitions of which they hold nothing, and only a few entries.
    """

    limit: int = 64 << 20
    used: int = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be read ahead."""
        return self.used >= self.limit


def after(entry_id: str) -> str:
    """The stream id right behind `entry_id`."""
    milliseconds, _, sequence = entry_id.partition("-")
    return f"{milliseconds}-{int(sequence) + 1}"


@dataclass(slots=True, eq=False)
class Part:
    """One partition's record in flight, as its worker sees it.

    `todo` holds the indices of unfinished events. Times are ms of Redis' clock, 0 for none: `unknown_since` is the
    first send whose outcome is unknown, `failing_since` when the present run of failures began. `behind` is how many
    entries its stream had behind it when it was finished; None: not known.
    """

    partition: int
    lease: str
    record: str
    entries: Sequence[Entry]
    bodies: list[bytes] = field(default_factory=list)
    todo: list[int] = field(default_factory=list)
    attempts: int = 1
    unknown_since: int = 0
    failing_since: int = 0
    behind: int | None = None

    def __post_init__(self) -> None:
        if not self.bodies:
            self.bodies = [*chain.from_iterable(entry.bodies for entry in self.entries)]

    def mark(self, done: str) -> None:
        """Take over the record's bitmap: one character an event, 1 = finished."""
        # Nearly always nothing of it is: then no event is looked at by itself, here as further on.
        self.todo = [index for index, state in enumerate(done) if state == "0"] if "1" in done else [*range(len(done))]

    @property
    def whole(self) -> bool:
        """Whether all of it is unfinished."""
        return len(self.todo) == len(self.bodies)

    def accepted_ms(self, index: int) -> int:
        """When the event at `index` was accepted, in ms of Redis' clock."""
        for entry in self.entries:
            if index < len(entry.bodies):
                return entry.accepted_ms
            index -= len(entry.bodies)
        raise IndexError(index)


@dataclass(slots=True, eq=False)
class Chunk:
    """Events that travel in one request, in order: per part, the indices of its events.

    `sends` counts how often they were sent before, `history` holds the latest of those attempts; `piece` says that it
    was split off a failing request, `failures` how it has failed itself.
    """

    slices: list[tuple[Part, list[int]]]
    sends: int = 0
    piece: bool = False
    history: list[Attempt] = field(default_factory=list)
    failures: Failures = field(default_factory=Failures)

    @property
    def events(self) -> int:
        """How many events."""
        return sum(len(indices) for _, indices in self.slices)

    @property
    def parts(self) -> list[Part]:
        """The parts they belong to."""
        return [part for part, _ in self.slices]

    def bodies(self) -> list[bytes]:
        """The serialised events, in order."""
        found: list[bytes] = []
        for part, indices in self.slices:
            whole = len(indices) == len(part.bodies)
            found += part.bodies if whole else [part.bodies[index] for index in indices]
        return found

    def without(self, lost: Iterable[Part]) -> "Chunk":
        """The chunk less the parts that are no longer ours."""
        gone = {*lost}
        return self._with([(part, indices) for part, indices in self.slices if part not in gone])

    def leave_out(self, lost: Iterable[Part]) -> None:
        """Drop the parts that are no longer ours."""
        gone = {*lost}
        self.slices = [(part, indices) for part, indices in self.slices if part not in gone]

    def singles(self) -> "list[Chunk]":
        """Every event as a chunk of its own."""
        return [self._with([(part, [index])]) for part, indices in self.slices for index in indices]

    def _with(self, slices: list[tuple[Part, list[int]]]) -> "Chunk":
        return Chunk(slices, self.sends, self.piece, list(self.history), Failures(self.failures.since))

    def note(self, attempt: Attempt) -> None:
        """Remember an attempt; the latest 20 are kept."""
        self.sends += 1
        self.history = [*self.history[-19:], attempt]

    def halves(self) -> tuple["Chunk", "Chunk"]:
        """Cut in two, the first half no smaller: bisecting n events takes 2·⌈log₂ n⌉ further requests.

        The cut is by count and may go through a partition; its second half waits for the first, so order holds.
        """
        middle = (self.events + 1) // 2
        first: list[tuple[Part, list[int]]] = []
        second: list[tuple[Part, list[int]]] = []
        for part, indices in self.slices:
            if indices[:middle]:
                first.append((part, indices[:middle]))
            if indices[middle:]:
                second.append((part, indices[middle:]))
            middle = max(0, middle - len(indices))
        return self._with(first), self._with(second)

    def pieces(self) -> tuple["Chunk", "Chunk"]:
        """Cut a failing request in two: between partitions, which need not wait for each other, if there are several.

        So a culprit among n events of each of p partitions is alone after ⌈log₂ p⌉ + ⌈log₂ n⌉ cuts.
        """
        middle = (len(self.slices) + 1) // 2
        several = len(self.slices) > 1
        first, second = (
            (self._with(self.slices[:middle]), self._with(self.slices[middle:])) if several else self.halves()
        )
        first.piece = second.piece = True
        return first, second


def chunks(parts: Iterable[Part], sends: int) -> list[Chunk]:
    """All unfinished events of `parts`, in order, in chunks that respect Segment's limits for a request."""
    parts = list(parts)
    if all(part.whole for part in parts) and _fit(parts):
        return [Chunk([(part, [*part.todo]) for part in parts], sends)] if parts else []
    made: list[Chunk] = []
    slices: list[tuple[Part, list[int]]] = []
    events = size = 0
    for part in parts:
        start: list[int] = []
        for index in part.todo:
            more = len(part.bodies[index])
            if events and (events + 1 > MAX_REQUEST_EVENTS or size + more > MAX_REQUEST_BYTES):
                if start:
                    slices.append((part, start))
                made.append(Chunk(slices, sends))
                slices, start, events, size = [], [], 0, 0
            start.append(index)
            events, size = events + 1, size + more + 1
        if start:
            slices.append((part, start))
    if slices:
        made.append(Chunk(slices, sends))
    return made


def _fit(parts: Iterable[Part]) -> bool:
    """Whether all events of `parts` fit into one request."""
    events = size = 0
    for part in parts:
        events += len(part.bodies)
        size += sum(map(len, part.bodies)) + len(part.bodies)
    return events <= MAX_REQUEST_EVENTS and size <= MAX_REQUEST_BYTES


def ranges(indices: Sequence[int]) -> list[list[int]]:
    """Ascending indices as inclusive `[from, to]` ranges."""
    found: list[list[int]] = []
    for index in indices:
        if found and index == found[-1][1] + 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found
