"""Delivering to a Segment that takes its time for each answer."""

from functools import partial

from bench.delivering import deliver
from bench.figures import Line, least
from bench.plan import Plan
from bench.rounds import Runs, named, take_turns
from bench.section import Say, Section
from bench.sink import PythonSink
from bench.stage import Stage
from bench.trial import PARTITIONS, Result

DELAY_S = 0.1


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """One process, all partitions."""
    return take_turns([partial(_pombo, stage, plan)], rounds=plan.few_rounds, warm_rounds=plan.warm_rounds, say=say)


def _pombo(stage: Stage, plan: Plan) -> Result:
    sink = PythonSink(delay_s=DELAY_S)
    try:
        stage.clear(sink_url=sink.url)
        stage.fill(plan.slow_events)
        seen = deliver(stage, plan.slow_events, sink=sink, part=plan.steady)
    finally:
        sink.close()
    return named("latency", {"rate": seen.rate, "cpu_us": seen.cpu_us, "request_events": seen.request_events})


_LINES = (
    Line("slow_rate", "delivered", "events/s", "latency.rate", least(30_000)),
    Line("slow_cpu", "CPU of the worker", "µs/event", "latency.cpu_us"),
    Line("slow_request_events", "events in a request", "events", "latency.request_events"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"{plan.slow_events:,} events in {PARTITIONS} partitions, one process, no rate limit, and a sink (in Python) whose"
        " every answer waits for 100 ms. One request a partition is under way at a time, so the order of each user's"
        " events holds."
    )


SECTION = Section("Delivering to a sink with 100 ms of latency", measure, _LINES, method)
