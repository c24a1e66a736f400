"""A worker process: its beat, its leases, and a lane for each source it has partitions of."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError, RedisError

from pombo.shared.errors import PomboError
from pombo.shared.flow import BLOCKED
from pombo.shared.keys import Keys
from pombo.shared.logs import get_logger
from pombo.shared.registry import Registry
from pombo.shared.sources import Source
from pombo.worker.delivery import Tools
from pombo.worker.fleet import BeatGuard, Fleet
from pombo.worker.lane import Lane
from pombo.worker.limit import Limit, limit_of
from pombo.worker.link import Link
from pombo.worker.pulse import Pulse
from pombo.worker.reporter import Reporter
from pombo.worker.rounds import Round, turn
from pombo.worker.store import SourceStore, new_token
from pombo.worker.vitals import Vitals, resident_bytes
from pombo.worker.watch import Life, Watch

log = get_logger("pombo.worker.pool")

SWEEP_S = 60.0
"""In which every source is looked at for entries that nobody announced."""
SWEEPS = 500
"""Sources swept in one beat at most."""
PEEKS = 32
"""Sources that a beat looks at among those it has partitions of; with more they take turns."""
QUIET_S = 10.0
"""Seconds without a message after which the subscription is asked whether it lives; they may be missed unnoticed."""
STOP_GRACE_S = 23.0
"""For a stop from beginning to end; platforms often kill after 30 s, and the contract says 25."""
_HAND_BACK_S = 2.0
"""For handing leases back: when Redis is away, others find them by our silence."""
_BEAT_TIMEOUT_S = 3.0
_TEND_TIMEOUT_S = 10.0
_NONE: frozenset[int] = frozenset()


class Pool:
    """Take part in the fleet until told to stop.

    1. Beat every second; read who else lives and which partitions are active.
    2. Compute who should hold what; hand back what is another's, lease what is ours and free.
    3. Give each lane its partitions; it delivers.
    4. Every second look for entries whose wake-up was lost; within every minute look at all sources.
    5. At a stop: hand idle partitions back at once, finish or abandon what is on the wire, hand those back too.
    """

    def __init__(self, redis: "Redis", keys: Keys, registry: Registry, tools: Tools, guard: BeatGuard) -> None:
        self.lanes: dict[str, Lane] = {}
        self.sources: dict[str, Source] = {}
        self.fleet = Fleet(redis, keys, tools.clock, guard)
        self._guard = guard
        self._redis = redis
        self._keys = keys
        self._registry = registry
        self._tools = tools
        self._link = Link(redis, tools.clock, tools.metrics)
        self._watch = Watch(self._link, keys, self.fleet.id, tools.clock)
        self._reporter = Reporter(redis, keys, tools.signals, tools.clock, lambda: self.fleet.seconds)
        self._pulse = Pulse(tools.metrics, tools.room, tools.clock)
        self._version = -1
        self._nudged = asyncio.Event()
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._unusable: set[str] = set()
        self._changed: set[str] = set()
        self._round = Round(SWEEP_S, SWEEPS)
        self._distrusts = False
        self._peeked = ""
        self._peeks_due = False
        self._takeovers = 0
        self._active: frozenset[str] | None = None
        self._usable: frozenset[str] = frozenset()
        self._assigned: frozenset[str] = frozenset()
        self._by_source: Mapping[str, frozenset[int]] = {}

    # -- life -----------------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then stop gracefully within 25 s."""
        log.info("worker.started", worker=self.fleet.id)
        duties: list[asyncio.Task[None]] = [
            asyncio.create_task(duty)
            for duty in (self._live(), self._tend(), self._listen(), self._reporter.run(self.lanes))
        ]
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, *duties], return_when=asyncio.FIRST_COMPLETED)
            for duty in duties[1:]:
                duty.cancel()
            await self._shut_down()
        finally:
            stopped.cancel()
            await _end([*duties, *self._loops.values()])
        for duty in duties:
            if not duty.cancelled() and (error := duty.exception()):
                raise error
        log.info("worker.stopped", worker=self.fleet.id)

    async def _live(self) -> None:
        while True:
            # Before the beat: what ends after it may end because Redis lost its source.
            lives = {Life(name, lane.source.incarnation) for name, lane in self.lanes.items()}
            try:
                async with asyncio.timeout(_BEAT_TIMEOUT_S):
                    lost = await self.fleet.show(self._vitals())
            except (RedisError, OSError) as error:
                await self._link.failed("beat", error, "beat")
                self.fleet.excuse()
            else:
                self._link.worked("beat")
                self._tools.signals.watch(self.fleet.watched, self._tools.clock.monotonic())
                if lost:
                    self._watch.lost(lost)
                    # A registry made anew may count the same version, and an older state knows other leases.
                    self._version, self._round, self._distrusts = -1, Round(SWEEP_S, SWEEPS), True
                else:
                    self._watch.keep(lives)
            self._peeks_due = True
            self._nudged.set()
            await self._pulse.sleep(self._guard.pace.beat)

    def _vitals(self) -> Vitals:
        # Thousands of partitions, once a second, and nearly all of them at rest: no list is made of them.
        held = in_flight = 0
        for lane in self.lanes.values():
            held += len(lane.holdings)
            for holding in lane.holdings.values():
                if holding.part is not None:
                    in_flight += len(holding.part.todo)
        return Vitals(held, in_flight, resident_bytes(), self._takeovers)

    async def _tend(self) -> None:
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            if not self._guard.fresh():
                continue
            try:
                async with asyncio.timeout(_TEND_TIMEOUT_S):
                    await self._watch.tell()
                    await self._reload()
                    self._tell_changes()
                    await self._rebalance()
                    if self._peeks_due:
                        await self._peek()
                    self._peeks_due = False
                    await self._sweep()
            except (RedisError, OSError) as error:
                await self._link.failed("tend", error, "tend")
            else:
                self._link.worked("tend")

    # -- sources --------------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        # A flushed registry may count up to the same version again; then the incarnations tell.
        outdated = any(lane.outdated for lane in self.lanes.values())
        if await self._registry.version() == self._version and not outdated:
            return
        snapshot = await self._registry.snapshot()
        self.sources = dict(snapshot.sources)
        self._unusable.clear()
        self._active = None
        for name, lane in list(self.lanes.items()):
            source = self.sources.get(name)
            # One that stops is one whose closing was cut off: it sends nothing any more, and keeps its leases.
            if source is None or source.incarnation != lane.source.incarnation or lane.stopping:
                await self._close_lane(name)
                continue
            try:
                write_key = await self._registry.write_key(name)
            except PomboError as error:
                await self._refuse(name, error)
                await self._close_lane(name)
                continue
            lane.store.limit = self._limit(source)
            lane.renew(source, write_key, snapshot.version)
        self._version = snapshot.version

    def _tell_changes(self) -> None:
        """Wake the lanes whose flow changed, after a reload: a new key must be there before it is tried."""
        while self._changed:
            lane = self.lanes.get(self._changed.pop())
            if lane is not None:
                lane.flow_changed()

    def _limit(self, source: Source) -> Limit:
        if source.rate_group is None:
            return limit_of(source, None)
        # A group's rate is one figure; where its sources disagree, the lowest is the safe one.
        rates = [s.rate for s in self.sources.values() if s.rate_group == source.rate_group and s.rate > 0]
        return limit_of(source, min(rates, default=0))

    async def _lane(self, name: str) -> Lane | None:
        lane = self.lanes.get(name)
        if lane is not None or name in self._unusable:
            return lane
        source = self.sources[name]
        try:
            write_key = await self._registry.write_key(name)
        except PomboError as error:
            await self._refuse(name, error)
            return None
        await self._redis.hdel(self._keys.of(name).flow, f"{BLOCKED}key")
        store = SourceStore(self._link, self._keys, source, self._tools.clock)
        store.limit = self._limit(source)
        lane = self.lanes[name] = Lane(source, write_key, self._version, store, self._tools)
        self._loops[name] = asyncio.create_task(lane.run())
        return lane

    async def _refuse(self, name: str, error: PomboError) -> None:
        """Leave a source alone until the registry changes, and say so."""
        self._unusable.add(name)
        log.error("source.unusable", source=name, error=str(error))
        await self._link.script("block", [self._keys.of(name).flow], [f"{BLOCKED}key", str(error)])

    async def _close_lane(self, name: str) -> None:
        """End a source's work here, and hand its leases back: somebody else may do what we cannot.

        Cut off half way it may be called again.
        """
        lane = self.lanes[name]
        lane.stop()
        lane.abandon()
        await _end([self._loops[name]])
        await lane.finished()
        if lane.holdings:
            await lane.store.change_leases([(h.partition, h.lease, "") for h in lane.holdings.values()])
        for partition in list(lane.holdings):
            lane.forget(partition)
        del self.lanes[name], self._loops[name]

    # -- partitions -----------------------------------------------------------------------------------------------

    async def _rebalance(self) -> None:
        by_source = self._wanted()
        for name, lane in list(self.lanes.items()):
            if lane.lost:
                for partition in sorted(lane.lost):
                    log.warning("lease.lost", source=name, partition=partition)
                lane.lost.clear()
            wanted = by_source.get(name, _NONE)
            if not lane.holdings.keys() <= wanted:
                for partition in lane.holdings.keys() - wanted:
                    if not lane.holdings[partition].leaving:
                        lane.leave(partition)
            if lane.leaves:
                await self._hand_back(lane)
            if not (lane.holdings or lane.busy or name in by_source):
                await self._close_lane(name)
        for name, partitions in by_source.items():
            lane_now = self.lanes.get(name)
            if lane_now is None or not partitions <= lane_now.holdings.keys():
                await self._acquire(name, sorted(partitions))

    def _wanted(self) -> Mapping[str, frozenset[int]]:
        """The partitions that this worker should hold, by source; computed when fleet, sources or partitions change."""
        active = self.fleet.active
        if self._active != active:
            self._active = active
            self._usable = frozenset(p for p in active if self._known(p))
        wanted = self.fleet.wanted(self._usable)
        if wanted is not self._assigned:
            self._assigned, self._by_source = wanted, _by_source(wanted)
        return self._by_source

    def _known(self, partition: str) -> bool:
        name, _, number = partition.rpartition("/")
        source = self.sources.get(name)
        return source is not None and number.isdigit() and int(number) < source.partitions

    async def _acquire(self, name: str, partitions: Iterable[int]) -> None:
        lane = await self._lane(name)
        missing = [p for p in partitions if lane is not None and p not in lane.holdings]
        if lane is None or not missing:
            return
        free = []
        for partition, lease in zip(missing, await lane.store.leases(missing), strict=True):
            owner = lease.partition(":")[0]
            if not lease or owner == self.fleet.id or self.fleet.dead(owner):
                free.append((partition, lease, f"{self.fleet.id}:{new_token()}"))
        if free:
            await self._take(lane, free)

    async def _take(self, lane: Lane, free: Sequence[tuple[int, str, str]]) -> None:
        for (partition, old, new), ours in zip(free, await lane.store.change_leases(free), strict=True):
            if not ours:
                continue
            lane.add(partition, new)
            owner = old.partition(":")[0]
            if owner and owner != self.fleet.id:
                self._tools.metrics.takeovers.inc()
                self._takeovers += 1
                log.warning("lease.taken_over", source=lane.source.name, partition=partition, owner=owner)

    async def _hand_back(self, lane: Lane) -> None:
        released = lane.released()
        if released:
            await lane.store.change_leases([(h.partition, h.lease, "") for h in released])
            for holding in released:
                lane.forget(holding.partition)
            await self._redis.publish(self._keys.wake, lane.source.name)

    # -- what could have been missed ------------------------------------------------------------------------------

    async def _peek(self) -> None:
        """Wake partitions whose entries nobody announced, and let those go that had no news for long."""
        idle: list[str] = []
        names = turn(self.lanes, self._peeked, PEEKS)
        for name in names:
            idle += await self._peek_at(name, self.lanes[name])
            self._peeked = name
        await self.fleet.prune(self._link, idle)

    async def _peek_at(self, name: str, lane: Lane) -> list[str]:
        """Look at one source: what Redis lost of it, and which of its partitions that do nothing are idle."""
        sight = await lane.store.look()
        await self._watch.seen(name, sight)
        waiting = [p for p, holding in lane.holdings.items() if holding.part is None and not holding.ahead]
        if not waiting:
            return []
        # One question for all of them: most sources are empty most of the time.
        lengths = await lane.store.lengths(waiting) if sight.holds else [0] * len(waiting)
        for partition, length in zip(waiting, lengths, strict=True):
            if length:
                lane.wake(partition)
        empty = (f"{name}/{p}" for p, length in zip(waiting, lengths, strict=True) if not length)
        return [partition for partition in empty if self.fleet.idle(partition)]

    async def _sweep(self) -> None:
        """Announce every partition that holds entries: the streams are the truth, announcements are hints."""
        for name in self._round.due(self.sources, self._tools.clock.monotonic()):
            source = self.sources.get(name)
            if source is not None:
                await self._sweep_one(source, distrusts=self._distrusts and self._round.first)

    async def _sweep_one(self, source: Source, *, distrusts: bool) -> None:
        store = SourceStore(self._link, self._keys, source, self._tools.clock)
        if distrusts:
            # Once, where Redis lost something; what is empty now would have to wait for the next round.
            await self._disclaim(store, range(source.partitions))
        if not (await store.look()).holds:
            return
        lengths = await store.lengths(range(source.partitions))
        found = [partition for partition, length in enumerate(lengths) if length]
        if found:
            await self._link.script("announce", [self._keys.active], [f"{source.name}/{p}" for p in found])
            await self._disclaim(store, found)

    async def _disclaim(self, store: SourceStore, partitions: Sequence[int]) -> None:
        """Hand back leases that have our name and that we do not know of, or nobody would ever serve them.

        Redis came back in an older state, or the answer to their acquisition never came.
        """
        lane = self.lanes.get(store.source.name)
        held: Collection[int] = lane.holdings if lane is not None else ()
        leases = zip(partitions, await store.leases(partitions), strict=True)
        strange = [(p, lease, "") for p, lease in leases if p not in held and lease.startswith(f"{self.fleet.id}:")]
        if strange:
            await store.change_leases(strange)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(self._keys.wake)
                    for lane in self.lanes.values():
                        lane.wake()
                    await self._hear_all(channel)
            except (RedisError, OSError) as error:
                log.debug("worker.deaf", error=f"{type(error).__name__}: {error}")
                await self._tools.clock.sleep(0.5)

    async def _hear_all(self, channel: PubSub) -> None:
        """Hear what is published; raises ConnectionError when whoever tells us does not answer any more."""
        asked = False
        while True:
            message = await channel.get_message(timeout=QUIET_S)
            if message is None and asked:
                raise ConnectionError("nobody answers on the subscription")
            if message is None:
                await channel.ping()
            elif message["type"] == "message":
                self._hear(message["data"].decode())
            asked = message is None

    def _hear(self, message: str) -> None:
        name, slash, partition = message.rpartition("/")
        if not slash:
            self._changed.add(message)
            self._nudged.set()
            return
        lane = self.lanes.get(name)
        if self.fleet.heard_of(message):
            self._nudged.set()
        if lane is not None:
            lane.wake(int(partition))

    # -- the stop -------------------------------------------------------------------------------------------------

    async def _shut_down(self) -> None:
        self.fleet.stopping = True
        for lane in self.lanes.values():
            lane.stop()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self._wind_down()
        except (RedisError, OSError) as error:
            log.warning("worker.stopped_hard", error=f"{type(error).__name__}: {error}")

    async def _wind_down(self) -> None:
        lanes = list(self.lanes.values())
        await self._hand_all_back(lanes)
        busy = [asyncio.create_task(lane.finished()) for lane in lanes if lane.busy]
        if busy:
            await asyncio.wait(busy, timeout=STOP_GRACE_S - 2 * _HAND_BACK_S - 1)
        for lane in lanes:
            lane.abandon()
            await lane.finished()
        await self._hand_all_back(lanes)
        with suppress(TimeoutError):
            async with asyncio.timeout(_HAND_BACK_S):
                await self.fleet.leave(self._link)

    async def _hand_all_back(self, lanes: Sequence[Lane]) -> None:
        with suppress(RedisError, OSError):
            async with asyncio.timeout(_HAND_BACK_S):
                await asyncio.gather(*(self._hand_back(lane) for lane in lanes))


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _by_source(partitions: Iterable[str]) -> dict[str, frozenset[int]]:
    grouped: dict[str, set[int]] = {}
    for partition in sorted(partitions):
        name, _, number = partition.rpartition("/")
        grouped.setdefault(name, set()).add(int(number))
    return {name: frozenset(numbers) for name, numbers in grouped.items()}
