"""Enqueueing as fast as one process can, beside the peers and beside plain Redis."""

from functools import partial

from bench.figures import Beside, Line, least
from bench.plan import Plan
from bench.rounds import Road, Runs, named, take_turns
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import Result

_PEERS = ("sdk", "node", "rq", "streaq", "arq")


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Every road once a round."""
    roads: list[Road] = [partial(_pombo, stage, plan), partial(_xadd, stage, plan), partial(_rq, stage, plan)]
    if stage.peers.python:
        roads += [partial(_sdk, stage, plan)]
        roads += [partial(_async, stage, plan, name) for name in ("streaq", "arq")]
    if stage.peers.node:
        roads += [partial(_node, stage, plan)]
    return take_turns(roads, rounds=plan.rounds, warm_rounds=plan.warm_rounds, say=say)


def _pombo(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    begun = stage.server_cpu()
    found = stage.trial("carrier", "enqueue", events=stage.events, count=plan.enqueue_events, warm=plan.warm)
    server = (stage.server_cpu() - begun) / (plan.enqueue_events + plan.warm) * 1e6
    return named("enqueue.pombo", found | {"server_cpu_us": server})


def _xadd(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    found = stage.trial("limits", "xadd", redis=stage.redis_url, events=stage.events, count=plan.enqueue_events)
    return named("enqueue.limit", found)


def _rq(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    begun = stage.server_cpu()
    found = stage.trial(
        "rqjobs", "enqueue",
        redis=stage.redis_url, url=stage.sink.url, events=stage.events, count=plan.jobs, warm=plan.warm,
    )  # fmt: skip
    server = (stage.server_cpu() - begun) / (plan.jobs + plan.warm) * 1e6
    return named("enqueue.rq", found | {"server_cpu_us": server})


def _async(stage: Stage, plan: Plan, name: str) -> Result:
    stage.clear()
    found = stage.trial(
        "asyncjobs", name, python=str(stage.peers.python),
        socket=stage.socket, url=stage.sink.url, events=stage.events, count=plan.jobs, warm=plan.warm,
    )  # fmt: skip
    return named(f"enqueue.{name}", found)


def _sdk(stage: Stage, plan: Plan) -> Result:
    found = stage.trial(
        "sdk", "enqueue_and_send", python=str(stage.peers.python),
        url=stage.sink.url, events=stage.events, count=plan.sdk_events, warm=plan.warm,
    )  # fmt: skip
    return named("enqueue.sdk", found | {"rate": found["call_rate"], "cpu_us": found["call_cpu_us"]})


def _node(stage: Stage, plan: Plan) -> Result:
    found = stage.node_trial("track.js", url=stage.sink.url, events=stage.events, count=plan.sdk_events, warm=plan.warm)
    return named("enqueue.node", found | {"rate": found["call_rate"]})


def _beside(value: str, *peers: str) -> tuple[Beside, ...]:
    return tuple(Beside(peer, f"enqueue.{peer}.{value}") for peer in peers)


_LINES = (
    Line(
        "enqueue_rate", "until all is accepted", "events/s", "enqueue.pombo.rate",
        beside=(
            Beside("sdk", "enqueue.sdk.rate", least(4)),
            *_beside("rate", "node"),
            Beside("rq", "enqueue.rq.rate", least(40)),
            *_beside("rate", "streaq", "arq"),
            Beside("xadd", "enqueue.limit.rate", least(0.6)),
        ),
    ),
    Line("flat_p50", "a call, flat out: median", "µs", "enqueue.pombo.call_p50_us", beside=_beside("call_p50_us", *_PEERS)),
    Line("flat_p99", "a call, flat out: 99th percentile", "µs", "enqueue.pombo.call_p99_us",
         beside=_beside("call_p99_us", *_PEERS)),
    Line("enqueue_cpu", "CPU of the bot", "µs/event", "enqueue.pombo.cpu_us",
         beside=(*_beside("cpu_us", "sdk", "rq", "streaq", "arq"), Beside("xadd", "enqueue.limit.cpu_us"))),
    Line("enqueue_server_cpu", "CPU of the server", "µs/event", "enqueue.pombo.server_cpu_us",
         beside=_beside("server_cpu_us", "rq")),
    Line("batch_events", "events in a record batch", "events", "enqueue.pombo.batch_events"),
)  # fmt: skip


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"`Producer.track` for each of {plan.enqueue_events:,} events, as fast as one thread can, with room for all of"
        " them, until Redis has accepted all. Segment's SDKs, with their consumers running and sending to the same"
        f" sink, get {plan.sdk_events:,} events: the rate counts their calls alone, not the wait until anything is"
        " safe, and Node's batches are set to 100 events like those for Python. RQ, streaq and arq enqueue one job an"
        f" event, {plan.jobs:,} of them, each awaited, default serializers. The limit is redis-py sending one `XADD` an"
        " event, of bytes that are ready, 1,000 in a pipeline. CPU is that of the process, all threads."
    )


SECTION = Section("Enqueueing, one process", measure, _LINES, method)
