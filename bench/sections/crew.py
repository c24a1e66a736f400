"""Delivering with two processes, on whatever cores the server and the sink leave them."""

from functools import partial

from bench.delivering import deliver
from bench.figures import Line, least
from bench.plan import Plan
from bench.rounds import Runs, named, take_turns
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import Result

PROCESSES = 2


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """The same backlog as with one process."""
    return take_turns([partial(_pombo, stage, plan)], rounds=plan.few_rounds, warm_rounds=plan.warm_rounds, say=say)


def _pombo(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    stage.fill(plan.drain_events)
    seen = deliver(stage, plan.drain_events, processes=PROCESSES, part=plan.steady)
    return named("crew", {"rate": seen.rate, "cpu_us": seen.cpu_us})


_LINES = (
    Line("crew_rate", "delivered", "events/s", "crew.rate", least(110_000)),
    Line("crew_cpu", "CPU of the workers", "µs/event", "crew.cpu_us"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"The same with `--processes {PROCESSES}` and {plan.drain_events:,} events. Redis and the sink share the"
        " machine's cores with them."
    )


SECTION = Section("Delivering, two processes", measure, _LINES, method)
