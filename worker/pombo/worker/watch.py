"""What a worker remembers of its sources, so that it can say what Redis lost."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from pombo.shared.clock import Clock
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.worker.link import Link

log = get_logger("pombo.worker.watch")

NEVER_FALL = ("accepted", "delivered", "deduplicated", "discarded", "erased")
"""Counters of a ledger that only grow while its source lives."""
FIELDS = ("incarnation", "falls", "queued", "queued_bytes", "in_flight", *NEVER_FALL)


@dataclass(frozen=True, slots=True)
class Sight:
    """A source's ledger as a worker saw it."""

    incarnation: str | None
    """None: there was no ledger."""
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: Sequence[bytes | None]) -> Self:
        """Read the values of `FIELDS`."""
        incarnation, *counts = values
        numbers = {name: int(count or 0) for name, count in zip(FIELDS[1:], counts, strict=True)}
        return cls(None if incarnation is None else incarnation.decode(), numbers)

    @property
    def holds(self) -> bool:
        """Whether any partition holds entries, in flight or not."""
        return any(self.counts.get(name) for name in ("queued", "queued_bytes"))

    def fell_to(self, later: "Sight") -> dict[str, int]:
        """The counters that are lower in a later sight, as they were in this one."""
        return {name: self.counts[name] for name in NEVER_FALL if later.counts[name] < self.counts[name]}


class Life(NamedTuple):
    """A source, from when it was added until it is removed."""

    source: str
    incarnation: str


class Watch:
    """Remember each source of this worker as it was last seen, and note what Redis lost of it.

    1. Every look at a source is `seen`. Counters that fell are noted at once: an older state of Redis came back.
    2. A beat that finds everything as it was forgets the sources that are no longer this worker's (`keep`).
    3. After one that finds Redis emptied or older, `tell` notes what the sources held that are gone with it.
    """

    def __init__(self, link: Link, keys: Keys, worker: str, clock: Clock) -> None:
        self._link = link
        self._keys = keys
        self._worker = worker
        self._clock = clock
        self._sights: dict[Life, tuple[Sight, float]] = {}
        self._lost = False

    async def seen(self, source: str, sight: Sight) -> None:
        """Take in a look at a source, and note what fell since the last one."""
        if sight.incarnation is None:
            return  # Removed, or lost: then what it was is still to be told.
        life = Life(source, sight.incarnation)
        before, _ = self._sights.get(life, (sight, 0.0))
        if fell := before.fell_to(sight):
            await self._note_fall(life, before, fell)
        self._sights[life] = sight, self._clock.monotonic()

    async def _note_fall(self, life: Life, before: Sight, fell: Mapping[str, int]) -> None:
        of = self._keys.of(life.source)
        pairs = [word for pair in fell.items() for word in pair]
        args = [life.incarnation, self._worker, before.counts["falls"], *pairs]
        fallen = int(await self._link.script("fall", [of.ledger, of.losses], args))
        if fallen:
            log.error("redis.went_back", source=life.source, events=fallen)

    def keep(self, lives: Collection[Life]) -> None:
        """Forget all but these, unless something is still to be told."""
        if not self._lost:
            self._sights = {life: seen for life, seen in self._sights.items() if life in lives}

    def lost(self, kind: str) -> None:
        """Take in that Redis is not what it was: `emptied`, or `older`."""
        log.error("redis.lost", state=kind)
        self._lost = True

    async def tell(self) -> None:
        """Note the sources that are gone, or live another life, since Redis lost something."""
        if not self._lost:
            return
        for life in list(self._sights):
            if await self._incarnation(life.source) != life.incarnation:
                await self._note_gone(life)
                del self._sights[life]
        self._lost = False

    async def _incarnation(self, source: str) -> str | None:
        redis, ledger = self._link.redis, self._keys.of(source).ledger
        (found,) = await self._link.run("ledger", lambda: redis.hmget(ledger, ["incarnation"]))
        return None if found is None else str(found.decode())

    async def _note_gone(self, life: Life) -> None:
        sight, at = self._sights[life]
        told = {name: sight.counts[name] for name in ("queued", "in_flight")}
        pairs = [word for pair in told.items() for word in pair]
        ago_ms = round((self._clock.monotonic() - at) * 1000)
        fields = ["worker", self._worker, "source", life.source, *pairs, "ago_ms", ago_ms]
        if await self._link.script("gone", [self._keys.losses], [f"{self._worker}/{life.incarnation}", *fields]):
            log.error("source.gone", source=life.source, **told)
