"""One source's dispatcher in one worker: which of its partitions send what, and when."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from pombo.shared.errors import CorruptBatchError, StoredVersionError
from pombo.shared.logs import get_logger
from pombo.shared.sources import Source
from pombo.worker.delivery import Delivery, Tools
from pombo.worker.holding import Holding
from pombo.worker.limit import Closed
from pombo.worker.packing import MAX_CLAIM_EVENTS, MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS, Share, filled, pack
from pombo.worker.parts import Part
from pombo.worker.readahead import ReadAhead
from pombo.worker.store import Claim, SourceStore, new_token

log = get_logger("pombo.worker.lane")

_SHUT_POLL_S: Final = 30.0
_CRASHED_S: Final = 1.0
_PROMPT_S: Final = 0.1
_POLL_S: Final = 30.0
_CLAIMS_AT_ONCE: Final = 4
"""Of one source: enough to hide the way to Redis, and so few that none waits for long behind the others."""
_FULL_SHARE: Final = 4
"""A request of a quarter of what it may hold is full enough not to wait for company."""


class Lane:
    """Dispatch one source's partitions that this worker holds.

    A loop that wakes at hints, at finished claims and requests, and at timers: resume records of partitions just
    leased, read ahead, and have a task claim for each request that is ready, and another one send it. One request at
    most is in flight for a partition. Thin requests wait while a claim is under way, and grow; full ones do not.
    """

    def __init__(self, source: Source, write_key: str, version: int, store: SourceStore, tools: Tools) -> None:
        self.source = source
        self.write_key = write_key
        self.version = version
        self.store = store
        store.version = version
        self.tools = tools
        self.stopping = False
        self.holdings: dict[int, Holding] = {}
        self.lost: set[int] = set()
        self.outdated = False
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._changed = asyncio.Event()
        self._shut_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._claims: set[asyncio.Task[None]] = set()
        self._turned_away = False
        self._ahead = ReadAhead(self.holdings, store, tools, self._lose)

    # -- what the pool tells it -----------------------------------------------------------------------------------

    def renew(self, source: Source, write_key: str, version: int) -> None:
        """Take over settings as of a registry version."""
        self.source, self.write_key, self.version = source, write_key, version
        self.store.source, self.store.version = source, version
        self.flow_changed()

    def add(self, partition: int, lease: str) -> None:
        """Start with a partition whose lease was just acquired."""
        self.holdings[partition] = Holding(partition, lease)
        self._woken.set()

    def wake(self, partition: int | None = None) -> None:
        """Look again: at one partition that got events, or at all."""
        for holding in self.holdings.values() if partition is None else [self.holdings.get(partition)]:
            if holding is not None:
                holding.hungry = True
        self._woken.set()

    def flow_changed(self) -> None:
        """Ask the gate again: a hold, park, pause or setting changed."""
        self._shut_until = 0.0
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._woken.set()

    def leave(self, partition: int) -> None:
        """Give a partition up as soon as nothing of it is on the wire."""
        self.holdings[partition].leaving = True
        self.flow_changed()

    def stop(self) -> None:
        """Send nothing more; requests on the wire may finish."""
        self.stopping = True
        self.flow_changed()

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._tasks or self._claims) or not self._idle.is_set()

    @property
    def astir(self) -> bool:
        """Whether it holds events, or may not send those that there are."""
        holds = any(h.part or h.ahead or h.claiming or h.blocked for h in self.holdings.values())
        return holds or self._is_shut()

    @property
    def leaves(self) -> bool:
        """Whether a partition is leaving: one may be released."""
        return self.stopping or any(h.leaving for h in self.holdings.values())

    def released(self) -> list[Holding]:
        """Partitions that are done leaving: their leases may be handed back."""
        return [
            h for h in self.holdings.values() if (h.leaving or self.stopping) and h.delivery is None and not h.claiming
        ]

    def forget(self, partition: int) -> None:
        """Drop a partition whose lease is handed back or lost."""
        holding = self.holdings.pop(partition, None)
        if holding is not None:
            holding.forget(self.tools.room)

    # -- what deliveries ask --------------------------------------------------------------------------------------

    async def pause(self, seconds: float, parts: Sequence[Part]) -> bool:
        """Wait, or less when the source's flow changes; False when these parts are to be left alone."""
        if not self._unwanted(parts):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
        return not self._unwanted(parts)

    def _unwanted(self, parts: Sequence[Part]) -> bool:
        return self.stopping or any(h.leaving for p in parts if (h := self.holdings.get(p.partition)))

    # -- the loop -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Dispatch until cancelled."""
        try:
            while True:
                await self._sleep()
                if not self.stopping:
                    await self._dispatch()
        finally:
            for claim in self._claims:
                claim.cancel()

    async def _dispatch(self) -> None:
        try:
            await self._resume()
            self._launch()
            if not self._is_shut() and await self._ahead.fill():
                self._woken.set()
            self._launch()
        except Exception:
            log.exception("lane.crashed", source=self.source.name)
            self._back_off()

    async def finished(self) -> None:
        """Wait until no claim and no request is under way."""
        await self._idle.wait()
        while self._tasks or self._claims:
            await asyncio.wait([*self._tasks, *self._claims])

    def abandon(self) -> None:
        """Cancel the requests under way; their records say what is still to do."""
        for task in self._tasks:
            task.cancel()

    async def _sleep(self) -> None:
        shut = self._shut_until - self.tools.clock.monotonic()
        with suppress(TimeoutError):
            # A gate that opened since the last look is no reason to sleep: 0 is "not shut", the past is "look now".
            async with asyncio.timeout(max(0.0, shut) if self._shut_until else _POLL_S):
                await self._woken.wait()
        self._woken.clear()
        if not self._is_shut():
            self._shut_until = 0.0

    async def _resume(self) -> None:
        fresh = [h for h in self.holdings.values() if h.fresh and not (h.leaving or h.resting or h.delivery)]
        leases = await self.store.leases([h.partition for h in fresh]) if fresh else []
        for holding, lease in zip(fresh, leases, strict=True):
            if lease != holding.lease:
                self._lose(holding)
            elif self._wanted(holding):
                await self._resume_one(holding)

    async def _resume_one(self, holding: Holding) -> None:
        try:
            with self._claiming(holding):
                part = await self.store.resume(holding.partition, holding.lease)
        except (StoredVersionError, CorruptBatchError) as error:
            await self._ahead.block(holding, error)
            return
        if not self._wanted(holding):
            return
        holding.fresh = False
        if part is not None:
            self.tools.room.used += sum(entry.raw for entry in part.entries)
            self._start([(holding, part)], Delivery(self, [part], sends=part.attempts))

    @contextmanager
    def _claiming(self, holding: Holding) -> Iterator[None]:
        """Keep a lease from being handed back while a record may come into our hands."""
        holding.claiming = True
        self._idle.clear()
        try:
            yield
        finally:
            holding.claiming = False
            self._idle.set()

    def _wanted(self, holding: Holding) -> bool:
        """Whether it is still ours to send for."""
        return self._ours(holding) and not (self.stopping or holding.leaving)

    def _launch(self) -> None:
        """Begin claims for what is read ahead."""
        if self._is_shut():
            return
        idle = [h for h in self.holdings.values() if h.part is None and h.ahead and self._wanted(h)]
        idle = [h for h in idle if not (h.claiming or h.fresh)]
        waiting, most = [holding.waiting() for holding in idle], self._most()
        for shares in pack(waiting, max_events=most) if idle else ():
            if len(self._claims) >= self._abreast(shares):
                return
            self.tools.metrics.filled.labels(self.source.name, filled(shares, waiting, max_events=most)).inc()
            self._begin(shares)

    def _abreast(self, shares: Sequence[Share]) -> int:
        """Claims that may be under way with one for these shares.

        One where a gate may shut: then the others would be made in vain.
        """
        gated = self.store.limit.rate or self.store.pace or self._turned_away
        events, size = sum(share.events for share in shares), sum(share.bytes for share in shares)
        full = _FULL_SHARE * events >= MAX_CLAIM_EVENTS or _FULL_SHARE * size >= MAX_REQUEST_BYTES
        return _CLAIMS_AT_ONCE if full and not gated else 1

    def _begin(self, shares: Sequence[Share]) -> None:
        holdings = [self.holdings[share.partition] for share in shares]
        for holding in holdings:
            holding.claiming = True
        parts = [self._part(holding, share) for holding, share in zip(holdings, shares, strict=True)]
        claim = asyncio.create_task(self._claim(holdings, parts, self.tools.clock.monotonic()))
        self._claims.add(claim)
        claim.add_done_callback(lambda done: self._end_claim(done, holdings))

    def _most(self) -> int:
        """Events a request may take, so that nobody waits long: a quarter of the burst, 0.1 s of the pace."""
        limit, pace = self.store.limit, self.store.pace
        most = min(MAX_REQUEST_EVENTS, limit.burst / 4) if limit.rate else MAX_REQUEST_EVENTS
        return max(1, int(min(most, pace / 10) if pace else most))

    async def _claim(self, holdings: Sequence[Holding], parts: Sequence[Part], begun: float) -> None:
        """Claim for one request, and start it."""
        claim = await self.store.claim(parts)
        # A claim that was repeated may have asked the gate long ago; then it is asked again.
        prompt = self.tools.clock.monotonic() - begun < _PROMPT_S
        ready = self._sort(holdings, parts, claim)
        if ready:
            delivery = Delivery(self, [part for _, part in ready], probe=claim.probe, prompt=prompt)
            self._start(ready, delivery)
        self._turned_away = claim.closed is not None
        if claim.closed is not None:
            self._shut(claim.closed, holdings)

    def _end_claim(self, claim: asyncio.Task[None], holdings: Sequence[Holding]) -> None:
        self._claims.discard(claim)
        for holding in holdings:
            holding.claiming = False
        if not claim.cancelled() and (error := claim.exception()):
            log.error("lane.crashed", source=self.source.name, exc_info=error)
            self._back_off()
        self._woken.set()

    def _part(self, holding: Holding, share: Share) -> Part:
        entries = [holding.ahead[index] for index in range(share.entries)]
        return Part(holding.partition, holding.lease, new_token(), entries)

    def _sort(self, holdings: Sequence[Holding], parts: Sequence[Part], claim: Claim) -> list[tuple[Holding, Part]]:
        ready = []
        for holding, part, state in zip(holdings, parts, claim.states, strict=True):
            if state == "claimed":
                for _ in part.entries:
                    holding.ahead.popleft()
                if len(part.todo) < len(part.bodies):
                    self.tools.signals.deduplicated(self.source.name, part, self.store.now_ms())
                if part.todo:
                    ready.append((holding, part))
                else:
                    self.tools.room.used -= sum(entry.raw for entry in part.entries)
                    holding.hungry = True
                    self._woken.set()
            elif state in {"lost", "unknown"}:
                self._lose(holding)
                self.outdated |= state == "unknown"
            elif state in {"record", "moved"}:
                holding.forget(self.tools.room)
                holding.fresh = True
                self._woken.set()
        return ready

    def _shut(self, closed: Closed, asked: Sequence[Holding]) -> None:
        """Ask again later; what is read ahead is only kept for a short wait, also by those `asked` for."""
        longest = closed.wait_s if closed.reason == "rate" else _SHUT_POLL_S
        self._shut_until = self.tools.clock.monotonic() + min(closed.wait_s, longest)
        if closed.wait_s > 1:
            for holding in (*self._unclaimed(), *filter(self._ours, asked)):
                holding.forget(self.tools.room)

    def _unclaimed(self) -> list[Holding]:
        """Partitions for which no claim is under way: one names entries that are read ahead."""
        return [holding for holding in self.holdings.values() if not holding.claiming]

    def _start(self, pairs: Sequence[tuple[Holding, Part]], delivery: Delivery) -> None:
        task = asyncio.create_task(delivery.run())
        self._tasks.add(task)
        for holding, part in pairs:
            holding.part, holding.delivery = part, task
        task.add_done_callback(lambda done: self._finish(done, pairs))

    def _finish(self, task: asyncio.Task[None], pairs: Sequence[tuple[Holding, Part]]) -> None:
        self._tasks.discard(task)
        failed = not task.cancelled() and task.exception() is not None
        if failed:
            log.error("delivery.crashed", source=self.source.name, exc_info=task.exception())
            asyncio.get_running_loop().call_later(_CRASHED_S, self._rested, [holding for holding, _ in pairs])
        for holding, part in pairs:
            self.tools.room.used -= sum(entry.raw for entry in part.entries)
            holding.part = holding.delivery = None
            holding.hungry |= part.behind is None or part.behind > len(holding.ahead)
            if part.todo or failed or task.cancelled():
                holding.forget(self.tools.room)
                holding.fresh = True
                holding.resting = failed
        self._woken.set()

    def _rested(self, holdings: Sequence[Holding]) -> None:
        for holding in holdings:
            holding.resting = False
        self._woken.set()

    def _ours(self, holding: Holding) -> bool:
        """Whether it is still the one we have of its partition: it may have gone, or gone and come, during a wait."""
        return self.holdings.get(holding.partition) is holding

    def _lose(self, holding: Holding) -> None:
        if self._ours(holding):
            self.lost.add(holding.partition)
            self.forget(holding.partition)

    def _back_off(self) -> None:
        """What crashed once may crash again: try in a second, not at once."""
        self._shut_until = self.tools.clock.monotonic() + 1.0
        for holding in self._unclaimed():
            holding.forget(self.tools.room)
            holding.fresh = True
        self._woken.set()

    def _is_shut(self) -> bool:
        return self.tools.clock.monotonic() < self._shut_until
