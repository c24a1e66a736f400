"""The caller's time in `track()`, with Redis a millisecond away."""

from functools import partial

from bench.figures import Beside, Line, most
from bench.plan import Plan
from bench.relay import Relay
from bench.rounds import Road, Runs, named, take_turns
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import Result

ONE_WAY_S = 0.0005
"""Each direction; the round trip takes 1 ms more."""


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """A steady pace, and flat out."""
    roads: list[Road] = [partial(_paced, stage, plan), partial(_flat_out, stage, plan)]
    if stage.peers.python:
        roads += [partial(_sdk, stage, plan)]
    return take_turns(roads, rounds=plan.rounds, warm_rounds=plan.warm_rounds, say=say)


def _paced(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    with Relay(stage.socket, delay_s=ONE_WAY_S) as relay:
        found = stage.trial(
            "carrier", "paced", events=stage.events,
            rate=plan.paced_rate, seconds=plan.paced_s, warm=plan.warm, redis=relay.redis_url,
        )  # fmt: skip
    return named("call.paced", found)


def _sdk(stage: Stage, plan: Plan) -> Result:
    found = stage.trial(
        "sdk", "paced", python=str(stage.peers.python),
        url=stage.sink.url, events=stage.events, rate=plan.paced_rate, seconds=plan.paced_s, warm=plan.warm,
    )  # fmt: skip
    return named("call.sdk", found)


def _flat_out(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    with Relay(stage.socket, delay_s=ONE_WAY_S) as relay:
        found = stage.trial(
            "carrier", "enqueue",
            events=stage.events, count=plan.enqueue_events, warm=plan.warm, redis=relay.redis_url,
        )  # fmt: skip
    return named("call.flat", found)


_LINES = (
    Line(
        "call_p50",
        "a call, at a steady pace: median",
        "µs",
        "call.paced.call_p50_us",
        most(15),
        beside=(Beside("sdk", "call.sdk.call_p50_us"),),
    ),
    Line(
        "call_p99",
        "a call, at a steady pace: 99th percentile",
        "µs",
        "call.paced.call_p99_us",
        most(100),
        beside=(Beside("sdk", "call.sdk.call_p99_us"),),
    ),
    Line("far_p50", "a call, flat out: median", "µs", "call.flat.call_p50_us"),
    Line("far_p99", "a call, flat out: 99th percentile", "µs", "call.flat.call_p99_us"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"{plan.paced_rate:,} calls a second for {plan.paced_s:g} s, each at its moment, while the producer's thread"
        " sends: as a busy bot makes them. That is what is judged: flat out, the interpreter's one lock is fought for"
        " without a pause, which says how much fits into a second, not how long a bot waits. Redis is behind a relay"
        " that holds every piece back for 0.5 ms in each direction and does not limit how much passes. Segment's SDK is called"
        " at the same pace; it sends to the sink, which is not delayed."
    )


SECTION = Section("A caller's time in `track()`, Redis 1 ms away", measure, _LINES, method)
