"""A real worker that delivers a backlog, watched from outside."""

from dataclasses import dataclass

from bench.plan import FULL
from bench.processes import Sample, between, cpu_us_per_event, growth, rate, watch
from bench.sink import Tally
from bench.stage import AnySink, Stage, TrialError


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was seen of the worker, and what reached the sink."""

    samples: list[Sample]
    arrived: Tally
    events: int
    start_cpu_s: float
    """CPU that the worker used until its first sample with a delivered event."""
    server_cpu_us: float
    """CPU of the server for each event, start included."""
    part: tuple[float, float]
    """Of the delivery, that is steady."""

    @property
    def rate(self) -> float:
        """Events a second, from the first request's arrival to the last one's end."""
        return self.events / self.arrived.seconds

    @property
    def steady(self) -> list[Sample]:
        """The samples without start and end; raises `TrialError` when they are too few."""
        try:
            low, high = self.part
            return between(self.samples, self.events, low=low, high=high)
        except ValueError as error:
            raise TrialError(str(error)) from None

    @property
    def steady_rate(self) -> float:
        """Events a second, in the steady part."""
        return rate(self.steady)

    @property
    def cpu_us(self) -> float:
        """CPU for each event in the steady part, with all of the worker's processes."""
        return cpu_us_per_event(self.steady)

    @property
    def growth(self) -> int:
        """Bytes by which the worker's memory rose in the steady part."""
        return growth(self.steady)

    @property
    def request_events(self) -> int:
        """Events in a request, on average."""
        return round(self.events / self.arrived.requests)


def deliver(
    stage: Stage,
    count: int,
    *,
    processes: int = 1,
    redis_url: str | None = None,
    sink: AnySink | None = None,
    every_s: float = 0.02,
    part: tuple[float, float] = FULL.steady,
) -> Delivery:
    """Have `pombo worker` deliver the `count` events that are queued, and watch it.

    Raises:
        TrialError: not all of them were delivered.
    """
    sink = sink or stage.sink
    sink.take()
    before = stage.delivered()
    server = stage.server_cpu()
    crew = ("--processes", str(processes)) if processes > 1 else ()
    with stage.worker("--no-jobs", *crew, redis_url=redis_url) as worker:
        samples = watch(worker, lambda: stage.delivered() - before, count, every_s=every_s)
    if not samples or samples[-1].delivered < count:
        raise TrialError(f"only {samples[-1].delivered if samples else 0} of {count} events were delivered")
    begun = next(one for one in samples if one.delivered)
    return Delivery(samples, sink.take(), count, begun.cpu, (stage.server_cpu() - server) / count * 1e6, part)
