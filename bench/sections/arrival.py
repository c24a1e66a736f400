"""How long after its acceptance an event arrives."""

from functools import partial

from bench.figures import Line, most, percentile
from bench.plan import Plan
from bench.rounds import Runs, named, take_turns
from bench.section import Say, Section
from bench.sink import PythonSink
from bench.stage import Stage, TrialError
from bench.trial import Result

_WARM_S = 1.0
"""The worker takes its leases meanwhile."""


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """A bot at a steady pace, and a worker that waits for it."""
    return take_turns([partial(_pombo, stage, plan)], rounds=plan.few_rounds, warm_rounds=plan.warm_rounds, say=say)


def _pombo(stage: Stage, plan: Plan) -> Result:
    sink = PythonSink(keep=True)
    try:
        stage.clear(sink_url=sink.url)
        with stage.worker("--no-jobs"):
            _offer(stage, plan.arrival_rate, _WARM_S)
            stage.wait_delivered(int(plan.arrival_rate * _WARM_S))
            sink.take()
            accepted = _offer(stage, plan.arrival_rate, plan.arrival_s)
            stage.wait_delivered(int(plan.arrival_rate * _WARM_S) + len(accepted))
            arrived = sink.take()
    finally:
        sink.close()
    if missing := len(accepted.keys() - arrived.arrivals.keys()):
        raise TrialError(f"{missing} of {len(accepted)} accepted events did not arrive")
    took = sorted((arrived.arrivals[one] - at) * 1000 for one, at in accepted.items())
    found = {f"p{share}_ms": max(percentile(took, share), 0.0) for share in (50, 99)}
    return named("arrival", found | {"request_events": len(accepted) / arrived.requests})


def _offer(stage: Stage, rate: float, seconds: float) -> Result:
    return stage.trial("carrier", "offer", events=stage.events, rate=rate, seconds=seconds)


_LINES = (
    Line("arrival_p50", "accepted to arrived: median", "ms", "arrival.p50_ms", most(15)),
    Line("arrival_p99", "accepted to arrived: 99th percentile", "ms", "arrival.p99_ms", most(50)),
    Line("arrival_request_events", "events in a request", "events", "arrival.request_events"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"A bot that offers {plan.arrival_rate:,} events a second for {plan.arrival_s:g} s, each at its moment; a worker"
        " without rate limit; a sink (in Python) that notes when each messageId came. An event's time runs from the"
        " moment at which its receipt said Accepted to that at which the whole request with it had come, on one clock."
        " All four share the machine."
    )


SECTION = Section("From accepted to arrived", measure, _LINES, method)
