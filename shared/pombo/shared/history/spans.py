"""Spans: for how long a source was kept from sending, and by what, from what samples saw of its flow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

from pombo.shared.flow import Flow, State


class Sight(NamedTuple):
    """A source's flow as a sample saw it; times in ms of Redis' clock, 0 for not known."""

    at: int
    state: State
    since: int = 0
    """When that state began."""
    held_at: int = 0
    """When the latest hold was asked for, if it is not long over."""
    hold_until: int = 0
    closed_at: int = 0
    """When the breaker closed, if that is not long ago."""
    reason: str = ""

    @classmethod
    def of(cls, flow: Flow) -> Self:
        """The sight of a flow just read."""
        since = {"parked": flow.parked_at, "broken": flow.broken_at}.get(flow.state) or 0
        why = {"parked": flow.parked, "broken": flow.broken_why}.get(flow.state) or ""
        return cls(flow.now, flow.state, since, 0, flow.hold_until or 0, 0, why)


@dataclass(frozen=True, slots=True)
class Span:
    """A while in which a source was not active; times in ms of Redis' clock."""

    state: State
    since: int
    until: int | None
    """None: it still is."""
    reason: str = ""

    def describe(self) -> dict[str, object]:
        """The span as JSON."""
        return {"state": self.state, "since": self.since, "until": self.until, "reason": self.reason or None}


class Watch:
    """What was seen of one source, in order of time, joined to spans that do not overlap.

    A state began when the flow said so, but not before the sight that saw another one. A hold that came and went
    between two sights is a span of its own.
    """

    __slots__ = ("_ended", "_now", "_seen_at")

    def __init__(self) -> None:
        self._ended: list[Span] = []
        self._now: Span | None = None
        self._seen_at = 0

    def copy(self) -> "Watch":
        """The same, which can see more."""
        made = Watch()
        made._ended, made._now, made._seen_at = self._ended[:], self._now, self._seen_at
        return made

    def see(self, sight: Sight) -> None:
        """Go on to a later sight."""
        now, ended = self._now, self._ended
        if now is not None and sight.state != now.state:
            ended.append(replace(now, until=_end(now, sight, self._seen_at)))
            now = None
        free_at = max(self._seen_at, ended[-1].until or 0) if ended else self._seen_at
        if now is None and sight.state != "held" and free_at < sight.held_at < sight.hold_until <= sight.at:
            ended.append(Span("held", sight.held_at, sight.hold_until))
            free_at = sight.hold_until
        if now is None and sight.state != "active":
            since = sight.since if 0 < sight.since <= sight.at else sight.at
            now = Span(sight.state, max(since, free_at), None, sight.reason)
        elif now is not None and sight.reason:
            now = replace(now, reason=sight.reason)
        self._now, self._seen_at = now, sight.at

    def forget(self, begin: int) -> None:
        """Let go of what had ended at `begin` (ms), but for the latest span, behind which the next one begins."""
        if self._ended and (self._ended[0].until or 0) <= begin:
            self._ended = [*within(self._ended[:-1], begin), self._ended[-1]]

    @property
    def spans(self) -> list[Span]:
        """All of them; the last may go on."""
        return [*self._ended, *([self._now] if self._now is not None else [])]


def spans(sights: Iterable[Sight]) -> list[Span]:
    """Join what was seen of one source, in order of time."""
    watch = Watch()
    for sight in sights:
        watch.see(sight)
    return watch.spans


def within(all_spans: Sequence[Span], begin: int) -> list[Span]:
    """Those that had not ended at `begin` (ms)."""
    return [span for span in all_spans if span.until is None or span.until > begin]


def _end(span: Span, sight: Sight, seen_at: int) -> int:
    """When a span ended of which `sight` is the first that sees another state."""
    told = {"held": sight.hold_until, "broken": sight.closed_at}.get(span.state, 0)
    return told if max(seen_at, span.since) <= told <= sight.at else sight.at
