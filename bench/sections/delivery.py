"""Delivering a backlog to a sink that answers at once: CPU for each event, and how many a second."""

from functools import partial

from bench.delivering import deliver
from bench.figures import Beside, Line, least, most
from bench.plan import Plan
from bench.rounds import Road, Runs, named, take_turns
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import Result

_REQUEST_EVENTS = 1_000
"""Events in a request of the limit, until a worker's are known."""


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Every road once a round; a worker's first, so that the limit's requests are as large as its."""
    sizes = [_REQUEST_EVENTS]
    roads: list[Road] = [
        partial(_pombo, stage, plan, sizes),
        *(partial(_post, stage, plan, sizes, library) for library in ("isal", "zlib")),
        partial(_rq, stage, plan),
    ]
    if stage.peers.python:
        roads += [partial(_sdk, stage, plan)]
    if stage.peers.node:
        roads += [partial(_node, stage, plan)]
    return take_turns(roads, rounds=plan.rounds, warm_rounds=plan.warm_rounds, say=say)


def _pombo(stage: Stage, plan: Plan, sizes: list[int]) -> Result:
    stage.clear()
    stage.fill(plan.drain_events)
    seen = deliver(stage, plan.drain_events, part=plan.steady)
    sizes[:] = [seen.request_events]
    found = {
        "rate": seen.rate,
        "steady_rate": seen.steady_rate,
        "cpu_us": seen.cpu_us,
        "start_cpu_s": seen.start_cpu_s,
        "server_cpu_us": seen.server_cpu_us,
        "request_events": seen.request_events,
    }
    return named("delivery.pombo", found)


def _post(stage: Stage, plan: Plan, sizes: list[int], library: str) -> Result:
    stage.sink.take()
    found = stage.trial(
        "limits", "post",
        url=stage.sink.url, events=stage.events, count=plan.drain_events, size=sizes[0], library=library,
    )  # fmt: skip
    return named(f"delivery.{library}", found)


def _rq(stage: Stage, plan: Plan) -> Result:
    stage.clear()
    given = {"url": stage.sink.url, "events": stage.events}
    stage.trial("rqjobs", "enqueue", redis=stage.redis_url, count=plan.jobs, warm=0, **given)
    begun = stage.server_cpu()
    found = stage.trial("rqjobs", "work", redis=stage.redis_url, count=plan.jobs)
    found["server_cpu_us"] = (stage.server_cpu() - begun) / plan.jobs * 1e6
    return named("delivery.rq", found | {"rate": plan.jobs / stage.sink.take().seconds})


def _sdk(stage: Stage, plan: Plan) -> Result:
    found = stage.trial(
        "sdk", "enqueue_and_send", python=str(stage.peers.python),
        url=stage.sink.url, events=stage.events, count=plan.sdk_events, warm=plan.warm,
    )  # fmt: skip
    return named("delivery.sdk", found | {"rate": found["sent_rate"]})


def _node(stage: Stage, plan: Plan) -> Result:
    found = stage.node_trial("track.js", url=stage.sink.url, events=stage.events, count=plan.sdk_events, warm=plan.warm)
    return named("delivery.node", found | {"rate": found["sent_rate"]})


_LINES = (
    Line(
        "delivery_cpu", "CPU of the worker (SDKs: track and send)", "µs/event", "delivery.pombo.cpu_us", most(8),
        beside=(
            Beside("sdk", "delivery.sdk.cpu_us", most(1 / 12)),
            Beside("sdk_consumer", "delivery.sdk.consumer_cpu_us"),
            Beside("node", "delivery.node.cpu_us"),
            Beside("rq", "delivery.rq.cpu_us"),
            Beside("post", "delivery.isal.cpu_us", most(2.5)),
            Beside("post_zlib", "delivery.zlib.cpu_us"),
        ),
    ),
    Line("worker_start_cpu", "CPU of the worker before its first event", "s", "delivery.pombo.start_cpu_s"),
    Line(
        "delivery_rate", "delivered", "events/s", "delivery.pombo.rate", least(90_000),
        beside=(
            Beside("sdk", "delivery.sdk.rate"),
            Beside("node", "delivery.node.rate"),
            Beside("rq", "delivery.rq.rate"),
            Beside("post", "delivery.isal.rate"),
        ),
    ),
    Line("delivery_server_cpu", "CPU of the server", "µs/event", "delivery.pombo.server_cpu_us",
         beside=(Beside("rq", "delivery.rq.server_cpu_us"),)),
    Line("request_events", "events in a request", "events", "delivery.pombo.request_events"),
)  # fmt: skip


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"`pombo worker --no-jobs`, logging as by default, with a backlog of {plan.drain_events:,} events in 8"
        " partitions, without rate limit. Its CPU is what the kernel counts between a tenth and nineteen twentieths of"
        " the backlog: the half second in which Python starts and imports is paid once a process, not once an event,"
        " and has a row of its own. The rate counts from the first request's arrival to the last one's end. The SDKs'"
        " figures are those of the enqueueing trials, until all is sent. RQ runs its jobs in `SimpleWorker`, which does"
        " not fork, each one POST over a connection that stays open. The limit is a loop that compresses ready bytes as"
        " a worker does (isal, level 1) and posts them over one plain connection, in requests of as many events; what"
        " zlib takes for that at its usual level 6 stands below."
    )


SECTION = Section("Delivering, one process, a sink that answers at once", measure, _LINES, method)
