"""What a delivery still has to send, and which of it is next."""

from collections.abc import Iterable, Iterator, Sequence

from pombo.worker.parts import Chunk, Part


class Rotation:
    """The unfinished chunks of a delivery, in the order of their events.

    One is free when no earlier one holds events of a partition of its own: partitions know nothing of each other, and
    within one nothing overtakes. Free chunks take turns from one that failed to the next, so that whoever fails keeps
    none but its own partitions waiting.
    """

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = [*chunks]
        self._turn = 0

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks)

    @property
    def parts(self) -> list[Part]:
        """The parts that have unfinished events, once each."""
        return [*dict.fromkeys(part for chunk in self._chunks for part in chunk.parts)]

    def next(self) -> Chunk | None:
        """The chunk whose turn it is: the first free one from there on, else the first; None when all is finished."""
        free = [*self._free()]
        self._turn = next((at for at in free if at >= self._turn), 0)
        return self._chunks[self._turn] if free else None

    def _free(self) -> Iterator[int]:
        taken: set[Part] = set()
        for at, chunk in enumerate(self._chunks):
            if taken.isdisjoint(chunk.parts):
                yield at
            taken.update(chunk.parts)

    def finish(self) -> None:
        """Whose turn it is has nothing left to send."""
        del self._chunks[self._turn]

    def cut(self, pieces: Sequence[Chunk]) -> None:
        """These stand in the place of whose turn it is, and the first of them is next."""
        self._chunks[self._turn : self._turn + 1] = pieces

    def yield_turn(self, pieces: Sequence[Chunk] = ()) -> None:
        """It failed, and others come first; `pieces`, if any, stand in its place."""
        if pieces:
            self.cut(pieces)
        self._turn += len(pieces) or 1

    def behind(self, parts: Sequence[Part]) -> Iterator[Chunk]:
        """The chunks that hold events of these parts."""
        return (chunk for chunk in self._chunks if not set(parts).isdisjoint(chunk.parts))
