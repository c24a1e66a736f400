"""Signals: what a worker notes of its sources for the console, beside its metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from pombo.shared.history import LATENCY_S, RETRIES, status_class
from pombo.worker.parts import Chunk, Entry, Part
from pombo.worker.store import Letter, RawEntry
from pombo.worker.tap import Tap

_SLACK_S: Final = 3.0
"""A watch outlives its end by so much, so that one late beat does not cut it off."""


class Counts(NamedTuple):
    """What was counted since the last sample."""

    tallies: Mapping[str, int]
    done: Sequence[int]
    """Events delivered, deduplicated and dead."""


class Tally:
    """What one source's deliveries add to its next sample."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.ages = [0] * (len(LATENCY_S) + 1)
        self.done = [0, 0, 0]

    @property
    def empty(self) -> bool:
        """Whether nothing happened."""
        return not self.requests and not any(self.done)

    def aged(self, seconds: float) -> None:
        """Count a record batch that was delivered at this age."""
        self.ages[bisect_left(LATENCY_S, seconds)] += 1


class Signals:
    """Count what happens to each source, and tell it to the taps of those that somebody watches.

    1. Deliveries and lanes say what they do, as they do it: additions in memory, and nothing that could fail.
    2. The reporter takes the counts for a sample, and what the taps have gathered, and brings both to Redis.
    """

    def __init__(self) -> None:
        self.taps: dict[str, Tap] = {}
        """By source; nearly always none."""
        self._tallies: dict[str, Tally] = {}

    def of(self, source: str) -> Tally:
        """The tally of a source."""
        tally = self._tallies.get(source)
        if tally is None:
            tally = self._tallies[source] = Tally()
        return tally

    def take(self, source: str) -> Counts:
        """Hand out what was counted of a source, and begin anew."""
        tally = self._tallies.pop(source, None) or Tally()
        ages = {f"b{number}": count for number, count in enumerate(tally.ages) if count}
        return Counts({**tally.requests, **ages}, tally.done)

    def keep(self, sources: Collection[str]) -> None:
        """Forget what was counted of all other sources: they are not ours any more."""
        for source in self._tallies.keys() - sources:
            del self._tallies[source]

    def watch(self, watched: Mapping[str, float], now: float) -> None:
        """Take over which sources are watched, and for how many seconds from `now` (monotonic)."""
        taps = {}
        for source, seconds in watched.items():
            tap = taps[source] = self.taps.get(source) or Tap()
            tap.until = now + seconds + _SLACK_S
        self.taps = taps

    # -- what happens ---------------------------------------------------------------------------------------------

    def requested(self, source: str, status: int | None, *, delivered: bool) -> None:
        """A request was answered, or not."""
        requests = self.of(source).requests
        requests[status_class(status)] += 1
        if not delivered:
            requests[RETRIES] += 1

    def accepted(self, source: str, partition: int, entries: Sequence[Entry]) -> None:
        """Entries were read ahead."""
        if tap := self.taps.get(source):
            tap.accepted(partition, entries)

    def deduplicated(self, source: str, part: Part, at_ms: int) -> None:
        """A part was claimed, of which some events are not to be sent."""
        self.of(source).done[1] += len(part.bodies) - len(part.todo)
        if tap := self.taps.get(source):
            tap.deduplicated(part, at_ms)

    def delivered(self, source: str, chunk: Chunk, at_ms: int) -> None:
        """Events were delivered."""
        self.of(source).done[0] += chunk.events
        if tap := self.taps.get(source):
            tap.delivered(chunk, at_ms)

    def dead(self, source: str, letters: Sequence[Letter], at_ms: int) -> None:
        """Events became dead letters."""
        self.of(source).done[2] += len(letters)
        if tap := self.taps.get(source):
            tap.dead(letters, at_ms)

    def buried(self, source: str, partition: int, raw: RawEntry, reason: str, at_ms: int) -> None:
        """A record batch that cannot be read became a dead letter."""
        self.of(source).done[2] += raw.events
        if tap := self.taps.get(source):
            tap.buried(partition, raw.payload, reason, at_ms)
