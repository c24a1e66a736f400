"""Rolling: the charts of a whole installation, read again and again.

What is over changes no more. So each source's samples are laid on one sheet as soon as they are final, and of each only
the last is kept; a reading asks Redis for what came since, and lays that and the present moment on a second sheet. The
figures are those that a reading of everything would have.

Memory is two sheets (some 300 kB of a day) and about 1 kB a source, and more only for what kept a source from sending.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from pombo.shared.flow import Flow
from pombo.shared.history.reading import LATEST, History, ever, of_now, unsummed
from pombo.shared.history.samples import SAMPLE_S, Sample, Sums
from pombo.shared.history.series import Grid, Width
from pombo.shared.history.sheet import Sheet
from pombo.shared.history.spans import Span, Watch, within
from pombo.shared.keys import Keys
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source

_ABREAST: Final = 100
"""Sources read in one round trip."""
_SETTLED_MS: Final = 2 * SAMPLE_S * 1000
"""A sample whose slot began so long ago is final, also where Redis' clock went back by a slot."""
_REST_MS: Final = 60_000
"""Where nothing waits and nothing was counted for so long, no worker takes a sample: the last is due within 10 s."""


class Present(NamedTuple):
    """A source as a look at ledger and flow found it."""

    source: Source
    ledger: Ledger
    flow: Flow


@dataclass(slots=True)
class _Known:
    """What is kept of a source."""

    last: Sample | None = None
    """Up to which its samples are on the sheet; None when none is."""
    watch: Watch = field(default_factory=Watch)
    """Of what was seen up to there."""
    whole: bool = False
    """Whether there was nothing behind `last` when it was read."""
    counted: Sums | None = None
    still_since: int = 0
    """When it was first seen with these counters and nothing that waits, in ms."""


class _Tail(NamedTuple):
    """What Redis has behind the last sample that was laid."""

    done: Sequence[Sample]
    """Those that stay as they are."""
    rest: Sequence[Sample]


_NOTHING: Final = _Tail((), ())


class _TornError(Exception):
    """Redis does not have the samples any more behind which others were to come."""


class Rolling:
    """Read the charts of many sources of one span, each reading from where the last one ended."""

    def __init__(self, span: Width) -> None:
        self._span: Width = span
        self._known: dict[str, _Known] = {}
        self._incarnations: dict[str, str] = {}
        self._now = 0
        self._sheet = Sheet(Grid.until(0, span))

    async def read(self, redis: Redis, keys: Keys, sources: Sequence[Present], now: int) -> History:
        """Read on, up to the moment `now` (ms of Redis' clock) of which `sources` are; raises what the client raises.

        One reading at a time. Where a source went, the clock went back, or Redis lost samples, it begins anew.
        """
        grid = Grid.until(now, self._span)
        incarnations = {one.source.name: one.source.incarnation for one in sources}
        if now < self._now or not self._incarnations.items() <= incarnations.items():
            self._begin(grid)
        self._incarnations, self._now = incarnations, now
        self._sheet.move(grid)
        try:
            return await self._read(redis, keys, sources, grid)
        except _TornError:
            self._begin(grid)
            return await self._read(redis, keys, sources, grid)

    def _begin(self, grid: Grid) -> None:
        self._known.clear()
        self._sheet = Sheet(grid)

    async def _read(self, redis: Redis, keys: Keys, sources: Sequence[Present], grid: Grid) -> History:
        top, states = Sheet(grid), dict[str, Sequence[Span]]()
        for start in range(0, len(sources), _ABREAST):
            some = sources[start : start + _ABREAST]
            asked = [one.source.name for one in some if not self._rests(one)]
            tails = await self._tails(redis, keys, asked)
            for one in some:
                found = within(self._lay(one, tails.get(one.source.name, _NOTHING), top), grid.begin)
                if found:
                    states[one.source.name] = found
        return History(self._now, grid, self._sheet.plus(top).series, states)

    def _rests(self, one: Present) -> bool:
        """Whether there can be no sample that is not laid."""
        known = self._known.setdefault(one.source.name, _Known())
        counted = Sums.of(one.ledger)
        if one.ledger.queued or one.ledger.in_flight or counted != known.counted:
            known.counted, known.still_since = counted, self._now
            return False
        return known.whole and self._now - known.still_since >= _REST_MS

    async def _tails(self, redis: Redis, keys: Keys, names: Sequence[str]) -> Mapping[str, _Tail]:
        """By source the samples behind the last one that was laid."""
        if not names:
            return {}
        day = self._span == "24h"
        async with redis.pipeline(transaction=False) as pipe:
            for name in names:
                of, last = keys.of(name), self._known[name].last
                first = 0 if last is None else -2 - (self._now - last.slot) // self._sheet.grid.width
                pipe.lrange(of.history_day if day else of.history, first, -1)
                if day:
                    pipe.lrange(of.history, -LATEST, -1)
            stored: Iterator[Any] = iter(await pipe.execute())
        found = {}
        for name in names:
            samples = self._behind(name, self._told(next(stored)))
            found[name] = self._by_day(name, samples, self._told(next(stored))) if day else self._settled(samples)
        return found

    def _told(self, stored: Sequence[bytes]) -> Sequence[Sample]:
        return [sample for sample in Sample.parse_all(stored) if sample.at <= self._now]

    def _behind(self, name: str, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Those behind the last one that was laid, which has to be among them."""
        known = self._known[name]
        last = known.last
        if last is None:
            return samples
        for place, sample in enumerate(samples):
            if sample.at == last.at and sample.sums == last.sums:
                return samples[place + 1 :]
        if samples or last.slot >= self._sheet.grid.begin:
            raise _TornError
        # It ended with its time to live: nothing of it is on the sheet any more.
        known.last, known.watch = None, Watch()
        return ()

    def _settled(self, samples: Sequence[Sample]) -> _Tail:
        """Of 15 minutes: a sample may change within its slot."""
        done = sum(sample.slot + _SETTLED_MS <= self._now for sample in samples)
        return _Tail(samples[:done], samples[done:])

    def _by_day(self, name: str, done: Sequence[Sample], recent: Sequence[Sample]) -> _Tail:
        """Of a day: what was summed up stays; the samples behind it will be summed up, which moves what they say."""
        last = done[-1] if done else self._known[name].last
        return _Tail(done, recent if last is None else unsummed(last, recent))

    def _lay(self, one: Present, tail: _Tail, top: Sheet) -> Sequence[Span]:
        """Lay a source's further samples; what kept it from sending."""
        known, rest = self._known[one.source.name], [*tail.rest]
        if tail.done:
            self._sheet.add(tail.done, known.last)
            _see(known.watch, tail.done)
            known.watch.forget(self._sheet.grid.begin)
            known.last = tail.done[-1]._replace(tallies={}, sights=())
        known.whole = not rest
        now = of_now(rest[-1] if rest else known.last, one.ledger, one.flow, one.source)
        if not rest and known.last is None and not (now.waits.queued or now.waits.in_flight):
            # Nothing has happened since the last samples ended, or there would be others.
            rest = [ever(now)]
        rest.append(now)
        top.add(rest, known.last)
        watch = known.watch.copy()
        _see(watch, rest)
        return watch.spans


def _see(watch: Watch, samples: Sequence[Sample]) -> None:
    for sample in samples:
        for sight in sample.sights:
            watch.see(sight)
