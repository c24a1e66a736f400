"""What the runs amount to: medians, spreads, ratios within rounds, and whether pombo's aims are met. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Runs = Mapping[str, Sequence[float]]
Of = Literal["sdk", "rq", "value"]


@dataclass(frozen=True, slots=True)
class Series:
    """Values of the rounds, in their order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one to quote."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and greatest."""
        return min(self.values), max(self.values)

    def over(self, other: "Series") -> "Series":
        """Their ratio, round by round."""
        return Series(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = self.spread
        return {"median": self.median, "min": low, "max": high, "runs": list(self.values)}


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on a median: of the ratio to a peer, or of pombo's own value."""

    of: Of
    at_least: bool
    bound: float

    def met_by(self, found: float) -> bool:
        """Whether a median is on the right side."""
        return found >= self.bound if self.at_least else found <= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """What is compared: the names of the measured values, for pombo and its peers."""

    key: str
    title: str
    unit: str
    pombo: str
    sdk: str = ""
    rq: str = ""
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A line with its values; a peer is None where it has no such figure, or was not measured."""

    line: Line
    pombo: Series
    sdk: Series | None
    rq: Series | None

    def ratio(self, peer: Literal["sdk", "rq"]) -> Series | None:
        """What pombo has, over what a peer has."""
        theirs = self.sdk if peer == "sdk" else self.rq
        return self.pombo.over(theirs) if theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none, or nothing to tell it by."""
        aim = self.line.aim
        found = None if aim is None else self.pombo if aim.of == "value" else self.ratio(aim.of)
        return None if aim is None or found is None else aim.met_by(found.median)

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        series = {"pombo": self.pombo, "sdk": self.sdk, "rq": self.rq}
        series |= {"to_sdk": self.ratio("sdk"), "to_rq": self.ratio("rq")}
        known: dict[str, Any] = {name: one.describe() if one else None for name, one in series.items()}
        return {"title": self.line.title, "unit": self.line.unit, **known, "met": self.met}


LINES: Sequence[Line] = (
    Line(
        "enqueue_rate", "enqueue, until all is accepted", "events/s",
        "pombo.enqueue.rate", "sdk.call_rate", "rq.enqueue.rate", Aim("sdk", at_least=True, bound=2),
    ),
    Line(
        "call_p50", "a call's time, median", "µs",
        "pombo.enqueue.call_p50_us", "sdk.call_p50_us", "rq.enqueue.call_p50_us",
    ),
    Line(
        "call_p99", "a call's time, 99th percentile", "µs",
        "pombo.enqueue.call_p99_us", "sdk.call_p99_us", "rq.enqueue.call_p99_us",
    ),
    Line(
        "enqueue_cpu", "CPU of the bot, to enqueue", "µs/event",
        "pombo.enqueue.cpu_us", "sdk.call_cpu_us", "rq.enqueue.cpu_us",
    ),
    Line(
        "delivery_rate", "deliver, one process", "events/s",
        "pombo.deliver.rate", "sdk.sent_rate", "rq.deliver.rate",
    ),
    Line(
        "delivery_cpu", "CPU to deliver (SDK: enqueue and send)", "µs/event",
        "pombo.deliver.cpu_us", "sdk.cpu_us", "rq.deliver.cpu_us", Aim("sdk", at_least=False, bound=1 / 6),
    ),
    Line(
        "consumer_cpu", "CPU to deliver (SDK: its consumer alone)", "µs/event",
        "pombo.deliver.cpu_us", "sdk.consumer_cpu_us",
    ),
    Line(
        "server_enqueue_cpu", "CPU of the server, enqueueing", "µs/event",
        "pombo.enqueue.server_cpu_us", rq="rq.enqueue.server_cpu_us",
    ),
    Line(
        "server_delivery_cpu", "CPU of the server, delivering", "µs/event",
        "pombo.deliver.server_cpu_us", rq="rq.deliver.server_cpu_us",
    ),
    Line("batch_events", "events in a record batch, enqueueing", "events", "pombo.enqueue.batch_events"),
    Line(
        "queued_full", "memory of a queued event, record batches of 100", "B",
        "large.queued_bytes", aim=Aim("value", at_least=False, bound=110),
    ),
    Line("queued_single", "memory of a queued event, record batches of 1", "B", "single.queued_bytes"),
    Line(
        "remembered", "memory of a remembered id, after the largest backlog", "B",
        "large.remembered_bytes", aim=Aim("value", at_least=False, bound=16),
    ),
    Line("rss_small", "worker's memory at its peak, smallest backlog", "MB", "small.worker_rss"),
    Line("rss_medium", "worker's memory at its peak, ten times that", "MB", "medium.worker_rss"),
    Line("rss_large", "worker's memory at its peak, largest backlog", "MB", "large.worker_rss"),
    Line(
        "rss_growth", "worker's memory, largest to smallest backlog", "×",
        "worker_growth", aim=Aim("value", at_least=False, bound=1.25),
    ),
)  # fmt: skip


def figures(runs: Runs, lines: Sequence[Line] = LINES) -> list[Figure]:
    """All lines with what was measured.

    Raises:
        KeyError: a value of pombo's is missing.
    """
    known = {**runs, "worker_growth": _over(runs["large.worker_rss"], runs["small.worker_rss"])}
    return [_figure(line, known) for line in lines]


def _figure(line: Line, runs: Runs) -> Figure:
    scale: Callable[[float], float] = (lambda value: value / 1e6) if line.unit == "MB" else float

    def series(name: str) -> Series | None:
        return Series(tuple(map(scale, runs[name]))) if name in runs else None

    return Figure(line, Series(tuple(map(scale, runs[line.pombo]))), series(line.sdk), series(line.rq))


def _over(these: Sequence[float], those: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(these, those, strict=True)]
