"""The fleet as one worker sees it: who lives, and which partitions are active."""

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version

import orjson
from redis.asyncio import Redis

from pombo.shared.clock import Clock
from pombo.shared.keys import Keys
from pombo.shared.scripts import Argument, script
from pombo.worker.assignment import assign
from pombo.worker.link import Link
from pombo.worker.membership import PACE, Membership, Pace, silence
from pombo.worker.store import new_token
from pombo.worker.vitals import Vitals

IDLE_S = 120
"""A partition without news for this long is no longer active; producers announce theirs every 20 s."""
_VERSION = version("pombo")


class BeatGuard:
    """Know whether this worker's beat was confirmed lately, on its own monotonic clock."""

    def __init__(self, clock: Clock, pace: Pace = PACE) -> None:
        self.pace = pace
        self._clock = clock
        self._confirmed = float("-inf")
        self._event = asyncio.Event()

    def fresh(self) -> bool:
        """Whether the last beat is recent enough to believe in our leases."""
        return self._clock.monotonic() - self._confirmed < self.pace.fence

    async def confirmed(self) -> None:
        """Wait until it is."""
        while not self.fresh():
            self._event.clear()
            await self._event.wait()

    def confirm(self, begun: float) -> None:
        """Note that the beat that was begun at `begun` (monotonic) reached Redis."""
        self._confirmed = begun
        self._event.set()


class Fleet:
    """Beat, and read what the others do."""

    def __init__(self, redis: "Redis", keys: Keys, clock: Clock, guard: BeatGuard) -> None:
        self.id = f"{socket.gethostname()}-{os.getpid()}-{new_token()[:12]}"
        self.stopping = False
        self.watched: dict[str, float] = {}
        """Sources that somebody watched at the last beat, and for how many seconds more."""
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._guard = guard
        self._membership = Membership(guard.pace)
        self._beat = 0
        self._workers: dict[str, bytes] = {}
        self._active: dict[str, int] = {}
        self._told_active: list[bytes] = []
        self._names: frozenset[str] | None = None
        self._seconds = 0
        self._shown = float("-inf")
        self._confirmed, self._epoch = 0, ""
        self._started = clock.now().isoformat(timespec="seconds")

    async def show(self, vitals: Vitals) -> str:
        """Beat once, telling how this worker is; raises what the client raises.

        Returns:
            What Redis lost since the last beat: `emptied`, `older` when an older state of it came back, or nothing.
        """
        begun = self._clock.monotonic()
        if begun - self._shown > self._guard.pace.fence:
            # We were stopped or cut off: what we remember of the others' silence is our own.
            self._membership.excuse(begun)
        # Until it is answered the counter stands: who hears nothing sends nothing, so others must take over.
        self._beat = self._confirmed + 1
        # Others take away who is silent for long, and a worker that leaves itself.
        sure = begun - self._shown < self._guard.pace.forget / 2 and not self.stopping
        args: list[Argument] = [self.id, self._describe(vitals), self._beat, self._confirmed, self._epoch]
        reply = await script("beat").acall(self._redis, self._beat_keys(), [*args, int(sure)])
        self._confirmed, self._epoch = self._beat, reply[3].decode()
        self._seconds = int(reply[0])
        self._workers = {k.decode(): v for k, v in zip(reply[1][::2], reply[1][1::2], strict=True)}
        self._take_in(reply[2])
        self.watched = {
            name.decode(): float(ends) - self._seconds for name, ends in zip(reply[5][::2], reply[5][1::2], strict=True)
        }
        beats = {worker: _read_beat(text) for worker, text in self._workers.items()}
        silences = {w: silence(_read_at(text, self._seconds), self._seconds) for w, text in self._workers.items()}
        self._membership.observe(beats, self._clock.monotonic(), silences)
        self._guard.confirm(begun)
        self._shown = begun
        return str(reply[4].decode())

    def _take_in(self, told: list[bytes]) -> None:
        """Take over the active partitions; as they mostly are what they were, and many, they are compared first."""
        if told == self._told_active and self._names is not None:
            return
        self._told_active = told
        self._active = {k.decode(): int(float(v)) for k, v in zip(told[::2], told[1::2], strict=True)}
        if self._names is not None and self._active.keys() != self._names:
            self._names = None

    def _beat_keys(self) -> list[str]:
        return [self._keys.workers, self._keys.active, self._keys.epoch, self._keys.losses, self._keys.watched]

    def _describe(self, vitals: Vitals) -> bytes:
        return orjson.dumps({
            "v": 1, "beat": self._beat, "host": socket.gethostname(), "pid": os.getpid(),
            "started": self._started, "at": 0, "stopping": self.stopping, "version": _VERSION, **vitals.describe(),
        })  # fmt: skip

    def excuse(self) -> None:
        """Redis was away: nobody could beat, so nobody is dead for it."""
        self._membership.excuse(self._clock.monotonic())

    def heard_of(self, partition: str) -> bool:
        """Take in that a partition got its first entry; whether that is news."""
        news = partition not in self._active
        self._active[partition] = self._seconds
        # What we heard is a hint: the next beat is to take in again what Redis says, or we would differ for long.
        self._told_active = []
        if news:
            self._names = None
        return news

    def dead(self, worker: str) -> bool:
        """Whether leases of `worker` may be taken over."""
        return self._membership.dead(worker, self._clock.monotonic())

    def wanted(self, known: frozenset[str]) -> frozenset[str]:
        """Which of the `known` active partitions this worker should hold; the same object while that stays the same."""
        live = {
            w for w in self._membership.live(self._clock.monotonic()) if not _is_stopping(self._workers.get(w, b""))
        }
        live = live - {self.id} if self.stopping else live | {self.id}
        return _assigned_to(self.id, known, frozenset(live))

    @property
    def active(self) -> frozenset[str]:
        """Partitions with news in the last two minutes or so, as `source/partition`; one object while they stay."""
        if self._names is None:
            self._names = frozenset(self._active)
        return self._names

    @property
    def seconds(self) -> int:
        """Redis' time at the last beat, in whole seconds."""
        return self._seconds

    def idle(self, partition: str) -> bool:
        """Whether an active partition has been without news for so long that it may be let go."""
        score = self._active.get(partition)
        return score is not None and self._seconds - score > IDLE_S

    async def prune(self, link: Link, idle: Iterable[str]) -> None:
        """Forget workers silent for long, and the `idle` partitions unless they had news since."""
        silent = self._membership.silent(self._clock.monotonic()) - {self.id}
        workers = [x for w in silent for x in (w, self._workers.get(w, b""))]
        partitions = [x for p in idle for x in (p, str(self._active.get(p, -1)))]
        if workers or partitions:
            keys = [self._keys.workers, self._keys.active]
            await link.script("prune", keys, [len(silent), *workers, *partitions])

    async def leave(self, link: Link) -> None:
        """Say goodbye, so that nobody waits for this worker's silence."""
        await link.script("beat", self._beat_keys(), [self.id, ""])


@lru_cache(maxsize=1)
def _assigned_to(worker: str, partitions: frozenset[str], workers: frozenset[str]) -> frozenset[str]:
    return frozenset(p for p, owner in _assigned(partitions, workers).items() if owner == worker)


@lru_cache(maxsize=1)
def _assigned(partitions: frozenset[str], workers: frozenset[str]) -> Mapping[str, str]:
    """The assignment, computed again only when the fleet or the active partitions have changed."""
    return assign(partitions, workers)


def _read_beat(text: bytes) -> int:
    try:
        return int(orjson.loads(text)["beat"])
    except (ValueError, KeyError, TypeError):
        return -1


def _is_stopping(text: bytes) -> bool:
    try:
        return bool(orjson.loads(text).get("stopping"))
    except (ValueError, AttributeError):
        return False


def _read_at(text: bytes, default: int) -> int:
    try:
        return int(orjson.loads(text)["at"]) or default
    except (ValueError, KeyError, TypeError):
        return default
