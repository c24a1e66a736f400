"""Segment slow, then down, then back, for real: workers and bots as processes, sampled as they go."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from pombo.shared.flow import Flow
from support.installation import Installation, until
from support.oracle import seconds

SAMPLE_S = 0.1
SLOW = {"answer": {"delay_s": 2.0}}
DOWN = {"answer": {"status": 503}}


@dataclass(frozen=True, slots=True)
class Sample:
    """What the fleet had done at a moment (wall clock, s)."""

    at: float
    accepted: int
    delivered: int
    rate: float | None
    state: str


@dataclass
class Course:
    """What happened, and when Segment was slow, went down, and was back (wall clock, s)."""

    begun: float
    limit: float
    slow_at: float = 0
    down_at: float = 0
    back_at: float = 0
    samples: list[Sample] = field(default_factory=list)
    requests: Sequence[Mapping[str, Any]] = ()

    @property
    def broken_at(self) -> float:
        """When the breaker was first seen open."""
        return next(sample.at for sample in self.samples if sample.at > self.down_at and sample.state == "broken")

    def sent(self, start: float, end: float) -> list[float]:
        """When requests came in a span of time."""
        return [at for row in self.requests if start <= (at := seconds(row["at"])) < end]

    def delivered(self, start: float, end: float) -> float:
        """Events of accepted requests a second, in a span of time."""
        rows = [row for row in self.requests if start <= seconds(row["at"]) < end and row["status"] == 200]
        events: int = sum(row["events"] for row in rows)
        return events / (end - start)


class Observer:
    """Sample one source while time passes."""

    def __init__(self, installation: Installation, source: str, course: Course) -> None:
        self._installation, self._source, self._course = installation, source, course

    def wait(self, lasts_s: float) -> None:
        """Let time pass, and sample it."""
        ends = time.time() + lasts_s
        until(lambda: self._sample() >= ends, "the end of a phase", lasts_s + 30, poll_s=SAMPLE_S)

    def _sample(self) -> float:
        of, redis = self._installation.keys.of(self._source), self._installation.redis
        now = time.time()
        stored: dict[bytes, bytes] = redis.hgetall(of.flow)  # type: ignore[assignment]
        flow = Flow.parse(stored, int(now * 1000))
        ledger = self._installation.ledger(self._source)
        sample = Sample(now, ledger["accepted"], ledger["delivered"], flow.rate(self._course.limit), flow.state)
        self._course.samples.append(sample)
        return now


def slow_down_and_back(
    installation: Installation, source: str, *, limit: float, phases: tuple[float, float, float, float],
    mark: Callable[[str], None] = lambda _: None,
) -> Course:  # fmt: skip
    """Let workers and bots run through it; `phases` are the seconds of well, slow, down and back."""
    course = Course(time.time(), limit)
    observer = Observer(installation, source, course)
    well, slow, down, back = phases
    observer.wait(well)
    mark("slow")
    installation.segment.set_plan([SLOW])
    course.slow_at = time.time()
    observer.wait(slow)
    mark("down")
    installation.segment.set_plan([DOWN])
    course.down_at = time.time()
    observer.wait(down)
    mark("back")
    installation.segment.set_plan([])
    course.back_at = time.time()
    observer.wait(back)
    course.requests = installation.segment.requests()
    return course


def limit_segment(installation: Installation, events_per_s: int) -> None:
    """Have the simulator answer 429 above so many events a second."""
    switches = {"rate_limit": events_per_s, "rate_limit_counts": "events"}
    httpx.put(f"{installation.segment.url}/_sim/switches", content=orjson.dumps(switches)).raise_for_status()
