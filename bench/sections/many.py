"""Many sources, nearly all of them silent: what a worker costs at rest, and what a request costs amid them."""

import time
from dataclasses import dataclass

from bench.figures import Line, most
from bench.plan import Plan
from bench.processes import tree_cpu_s
from bench.relay import Relay
from bench.rounds import Runs
from bench.section import Say, Section
from bench.stage import Stage
from bench.trial import PARTITIONS

_RATE = 10
_SEED = 2 * PARTITIONS
"""Events that each source delivers first, so that most of its partitions are leased."""


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Once: it takes two minutes."""
    names = [f"s{number:04}" for number in range(plan.sources)]
    stage.empty()
    say(f"{plan.sources:,} sources")
    stage.add_sources(names, stage.sink.url)
    stage.trial("carrier", "fill_many", events=stage.events, each=_SEED)
    with Relay(stage.socket, count=True) as relay, stage.worker("--no-jobs", redis_url=relay.redis_url) as worker:
        stage.wait_delivered(_SEED * plan.sources, names)
        say("at rest")
        time.sleep(plan.rest_s / 6)
        rest = _Window(stage, relay, worker.pid).see(plan.rest_s)
        say("some of them busy")
        given = {"sources": names[: plan.busy_sources], "rate": _RATE, "seconds": 1.75 * plan.busy_s + 1}
        with stage.trial_beside("carrier", "bots", events=stage.events, **given) as result:
            stage.wait_delivered(_SEED * plan.sources + 1, names)
            time.sleep(plan.busy_s / 2)
            busy = _Window(stage, relay, worker.pid).see(plan.busy_s)
            result()
    stage.empty()
    share = busy.seconds / rest.seconds
    found = {
        "many.rest_cpu": rest.cpu_s / rest.seconds * 100,
        "many.rest_commands": rest.commands / rest.seconds,
        "many.request_cpu_ms": (busy.cpu_s - rest.cpu_s * share) / busy.requests * 1000,
        "many.request_commands": (busy.commands - rest.commands * share) / busy.requests,
        "many.request_server_ms": (busy.server_s - rest.server_s * share) / busy.requests * 1000,
        "many.requests": busy.requests / busy.seconds,
    }
    return {name: [value] for name, value in found.items()}


@dataclass(slots=True)
class _Window:
    """What a worker did for a while."""

    stage: Stage
    relay: Relay
    pid: int
    seconds: float = 0.0
    cpu_s: float = 0.0
    commands: int = 0
    requests: int = 0
    server_s: float = 0.0

    def see(self, seconds: float) -> "_Window":
        """Look on for that long."""
        self.stage.sink.take()
        server = self.stage.server_cpu()
        begun, cpu, commands = time.monotonic(), tree_cpu_s(self.pid), self.relay.commands
        time.sleep(seconds)
        self.requests = self.stage.sink.take().requests
        self.cpu_s, self.commands = tree_cpu_s(self.pid) - cpu, self.relay.commands - commands
        self.seconds = time.monotonic() - begun
        self.server_s = self.stage.server_cpu() - server
        return self


_LINES = (
    Line("rest_cpu", "at rest: CPU of the worker", "% of a core", "many.rest_cpu", most(2)),
    Line("rest_commands", "at rest: Redis commands", "commands/s", "many.rest_commands", most(60)),
    Line("request_cpu", "some busy: CPU of the worker", "ms/request", "many.request_cpu_ms", most(1.6)),
    Line("request_commands", "some busy: Redis commands", "commands/request", "many.request_commands", most(3)),
    Line("request_server_cpu", "some busy: CPU of the server", "ms/request", "many.request_server_ms"),
    Line("request_rate", "some busy: requests", "requests/s", "many.requests"),
)


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"One worker with {plan.sources:,} sources of {PARTITIONS} partitions, each of which has just delivered {_SEED}"
        f" events, so that their leases are held. At rest: {plan.rest_s:g} s without an event. Busy: {plan.busy_sources}"
        f" of them get {_RATE} events a second each, evenly spaced, and {plan.busy_s:g} s of that are looked at. Commands"
        " are those that the worker sends, counted on the wire by a relay that parses them; what its scripts call inside"
        " the server is not counted again. Requests are counted at the sink; theirs is what the worker does more than at"
        " rest."
    )


SECTION = Section("Many sources", measure, _LINES, method)
