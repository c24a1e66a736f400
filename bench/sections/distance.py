"""What is left of the throughput when Redis is a millisecond away."""

from functools import partial

from bench.delivering import deliver
from bench.figures import Beside, Line, least
from bench.plan import Plan
from bench.relay import Relay
from bench.rounds import Runs, named, take_turns
from bench.section import Say, Section
from bench.sections.call import ONE_WAY_S
from bench.stage import Stage
from bench.trial import Result


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Near, far, and through a relay that delays nothing, which shows what the relay itself costs."""
    roads = [
        *(partial(_deliver, stage, plan, name, delay) for name, delay in (("far", ONE_WAY_S), ("relay", 0.0))),
        partial(_deliver_near, stage, plan),
        partial(_enqueue_far, stage, plan),
        partial(_enqueue, stage, plan, "near"),
    ]
    return take_turns(roads, rounds=plan.few_rounds, warm_rounds=plan.warm_rounds, say=say)


def _deliver_near(stage: Stage, plan: Plan) -> Result:
    return _delivered(stage, plan, "near", None)


def _deliver(stage: Stage, plan: Plan, name: str, delay_s: float) -> Result:
    with Relay(stage.socket, delay_s=delay_s) as relay:
        return _delivered(stage, plan, name, relay.redis_url)


def _delivered(stage: Stage, plan: Plan, name: str, redis_url: str | None) -> Result:
    stage.clear()
    stage.fill(plan.drain_events)
    return named(f"distance.{name}", {"delivered": deliver(stage, plan.drain_events, redis_url=redis_url).rate})


def _enqueue_far(stage: Stage, plan: Plan) -> Result:
    with Relay(stage.socket, delay_s=ONE_WAY_S) as relay:
        return _enqueue(stage, plan, "far", relay.redis_url)


def _enqueue(stage: Stage, plan: Plan, name: str, redis: str | None = None) -> Result:
    stage.clear()
    found = stage.trial(
        "carrier", "enqueue", events=stage.events, count=plan.enqueue_events, warm=plan.warm, redis=redis
    )
    return named(f"distance.{name}", {"enqueued": found["rate"]})


_LINES = (
    Line(
        "far_delivered", "delivered, one process", "events/s", "distance.far.delivered",
        beside=(Beside("near", "distance.near.delivered", least(0.7)), Beside("relay", "distance.relay.delivered")),
    ),
    Line("far_enqueued", "enqueued", "events/s", "distance.far.enqueued",
         beside=(Beside("near", "distance.near.enqueued", least(0.7)),)),
)  # fmt: skip


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"The deliveries of {plan.drain_events:,} events and the enqueueing of {plan.enqueue_events:,} as above, with the"
        " relay in front of Redis that holds every piece back for 0.5 ms in each direction, beside the same over Redis'"
        " own socket in the same round; and through a relay that holds nothing back, which shows what its CPU costs on"
        " a machine that it shares."
    )


SECTION = Section("Redis 1 ms away", measure, _LINES, method)
