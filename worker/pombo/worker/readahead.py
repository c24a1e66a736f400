"""Reading ahead: what comes next of each partition that a lane holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pombo.shared.clock import iso, moment
from pombo.shared.deadletters import LetterHeader
from pombo.shared.errors import CorruptBatchError, PomboError, StoredVersionError
from pombo.shared.logs import get_logger
from pombo.worker.delivery import Tools
from pombo.worker.holding import Holding
from pombo.worker.packing import MAX_CLAIM_EVENTS
from pombo.worker.store import RawEntry, SourceStore

log = get_logger("pombo.worker.readahead")

_READ_AT_ONCE: Final = 1000
_READ_IN_NEED: Final = 10


class ReadAhead:
    """Read entries of a lane's partitions into their holdings, as far as a claim takes and as there is room.

    A batch that cannot be read is buried once it is the first of its partition; one of another version blocks it.

    Args:
        holdings: the lane's, by partition; they come and go while a read is under way.
        store: the source's.
        tools: the worker's, of which the room is shared by all lanes.
        lose: what to do with a holding whose lease turns out to be another's.
    """

    def __init__(
        self, holdings: Mapping[int, Holding], store: SourceStore, tools: Tools, lose: Callable[[Holding], None]
    ) -> None:
        self._holdings = holdings
        self._store = store
        self._room = tools.room
        self._signals = tools.signals
        self._lose = lose

    async def fill(self) -> bool:
        """Read what is wanted; whether there is to be another look at once."""
        wanted = [h for h in self._holdings.values() if self._wants_entries(h)]
        if not wanted:
            return False
        asked = [(h.partition, h.behind, self._count(h)) for h in wanted]
        for holding in wanted:
            # Before the read: a wake-up that comes while it is under way may tell of an entry that it misses.
            holding.hungry = False
        replies, again = await self._store.read(asked), False
        for holding, (_, behind, count), entries in zip(wanted, asked, replies, strict=True):
            if self._holdings.get(holding.partition) is holding and holding.behind == behind:
                again |= await self.take_in(holding, entries, full=len(entries) == count)
            else:
                holding.hungry = True
        return again

    def _wants_entries(self, holding: Holding) -> bool:
        ready = holding.hungry and not holding.fresh and not holding.leaving and not holding.blocked
        if self._room.full:
            return ready and not holding.ahead and holding.part is None
        return ready and holding.events_ahead < MAX_CLAIM_EVENTS

    def _count(self, holding: Holding) -> int:
        if self._room.full:
            return _READ_IN_NEED
        return max(_READ_IN_NEED, min(_READ_AT_ONCE, int(MAX_CLAIM_EVENTS / holding.batch_events) + 1))

    async def take_in(self, holding: Holding, entries: Sequence[RawEntry], *, full: bool) -> bool:
        """Keep what was read of a partition, no more than it may hold; whether there is to be another look at once.

        Args:
            holding: of which partition.
            entries: what comes behind what it holds.
            full: there may be more behind them.
        """
        holding.hungry |= full
        known, name = len(holding.ahead), self._store.source.name
        events, again = holding.events_ahead, False
        for raw in entries:
            if holding.ahead and (self._room.full or events >= MAX_CLAIM_EVENTS):
                holding.hungry = True
                break
            try:
                entry = raw.decode()
                holding.take_in(entry, self._room)
                events += len(entry.bodies)
            except CorruptBatchError as error:
                again = await self._bury(holding, raw, error)
                break
            except StoredVersionError as error:
                if not holding.ahead and holding.part is None:
                    await self.block(holding, error)
                holding.hungry = False
                break
        if self._signals.taps:
            self._signals.accepted(name, holding.partition, [*holding.ahead][known:])
        if entries:
            holding.batch_events = sum(raw.events for raw in entries) / len(entries) or 1.0
        return again

    async def _bury(self, holding: Holding, raw: RawEntry, error: CorruptBatchError) -> bool:
        """Make an unreadable batch a dead letter, once it is the first of its partition; whether that was done."""
        if holding.ahead or holding.part is not None:
            holding.hungry = False
            return False
        header = LetterHeader(
            reason="corrupt", status=None, answer=str(error), attempts=0, partition=holding.partition,
            accepted_at=iso(moment(int(raw.id.partition("-")[0]))), history=[],
        )  # fmt: skip
        word = await self._store.bury(holding.partition, holding.lease, raw.id, header.dump())
        if word == "full":
            # The source is parked for it, and the pool looks again every second.
            holding.hungry = False
            return False
        log.error(
            "batch.corrupt",
            source=self._store.source.name,
            partition=holding.partition,
            entry=raw.id,
            error=str(error),
        )
        if word == "lost":
            self._lose(holding)
        elif word == "ok":
            self._signals.buried(self._store.source.name, holding.partition, raw, str(error), self._store.now_ms())
        holding.hungry = True
        return True

    async def block(self, holding: Holding, error: PomboError) -> None:
        """Leave a partition alone that holds what this pombo cannot read, and say so to operators."""
        if holding.blocked != str(error):
            log.error(
                "partition.blocked", source=self._store.source.name, partition=holding.partition, error=str(error)
            )
            await self._store.note_block(holding.partition, str(error))
        holding.blocked = str(error)
