"""The gateway, one process: how many events come through it, and how long an answer takes at half of that."""

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from subprocess import DEVNULL, Popen
from types import MappingProxyType
from typing import Any

from bench.figures import Beside, Line, least, most
from bench.peers import ROOT
from bench.plan import Plan
from bench.processes import cpu_s
from bench.rounds import Road, Runs, named, take_turns
from bench.section import Say, Section
from bench.stage import Stage, TrialError, end
from bench.trial import Result

BATCH = 15
"""Events in a request of Segment's SDK for Node."""
CONNECTIONS: Mapping[int, int] = MappingProxyType({BATCH: 32, 1: 64})
"""By the size of requests; the SDK opens one for each batch that is under way."""
_OFFERED = 15_000
"""Events a second at which answers are timed: half of what is aimed at."""
_KEY = "w" * 32
_WARM_S = 0.5
_START_S = 30.0


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Batches and single events flat out, then batches at a pace; each against the gateway and its hollow server."""
    roads: list[Road] = []
    for name, argv in (("pombo", _GATEWAY), ("hollow", _HOLLOW)):
        for way, size in (("batches", BATCH), ("singles", 1)):
            roads.append(partial(_flat_out, stage, plan, f"gateway.{name}.{way}", argv, size))
        roads.append(partial(_paced, stage, plan, f"gateway.{name}.paced", argv))
    return take_turns(roads, rounds=plan.few_rounds, warm_rounds=0, say=say)


def _flat_out(stage: Stage, plan: Plan, name: str, argv: list[str], size: int) -> Result:
    stage.clear()
    with _serving(stage, argv) as (process, port):
        cpu, server = cpu_s(process.pid), stage.server_cpu()
        found = _load(stage, "flat_out", port, size, seconds=plan.gateway_s)
        found["cpu_us"] = (cpu_s(process.pid) - cpu) / found["events"] * 1e6
        found["server_cpu_us"] = (stage.server_cpu() - server) / found["events"] * 1e6
    return named(name, found)


def _paced(stage: Stage, plan: Plan, name: str, argv: list[str]) -> Result:
    stage.clear()
    with _serving(stage, argv) as (_, port):
        return named(name, _load(stage, "paced", port, BATCH, seconds=plan.gateway_s, rate=_OFFERED))


def _load(stage: Stage, trial: str, port: int, size: int, **given: Any) -> Result:
    return stage.trial(
        "load", trial,
        port=port, key=_KEY, events=stage.events, size=size, connections=CONNECTIONS[size], warm_s=_WARM_S, **given,
    )  # fmt: skip


_GATEWAY = ["-m", "pombo.ops.cli", "gateway", "--port", "0"]
_HOLLOW = ["-m", "bench.hollow"]


@contextmanager
def _serving(stage: Stage, argv: list[str]) -> Iterator[tuple["Popen[Any]", int]]:
    """A server in a process of its own, and its port; it logs as by default, into a file."""
    said, log = stage.folder / "gateway.out", stage.folder / "gateway.log"
    with said.open("wb") as out, log.open("wb") as words:
        process = Popen(
            [sys.executable, *argv], cwd=ROOT, env=stage.environment(), stdin=DEVNULL, stdout=out, stderr=words
        )
        try:
            ends = time.monotonic() + _START_S
            while not (found := re.search(r"listens on http://\S+:(\d+)", said.read_text("utf-8"))):
                if time.monotonic() > ends or process.poll() is not None:
                    raise TrialError(f"{' '.join(argv)} did not start: {log.read_text('utf-8')[-2000:]}")
                time.sleep(0.02)
            yield process, int(found[1])
        finally:
            end(process)


_LINES = (
    Line(
        "gateway_batches", f"events in batches of {BATCH}, flat out", "events/s", "gateway.pombo.batches.rate", least(30_000),
        beside=(Beside("hollow", "gateway.hollow.batches.rate"),),
    ),
    Line("gateway_batch_cpu", "CPU of the gateway", "µs/event", "gateway.pombo.batches.cpu_us",
         beside=(Beside("hollow", "gateway.hollow.batches.cpu_us"),)),
    Line("gateway_server_cpu", "CPU of the server", "µs/event", "gateway.pombo.batches.server_cpu_us"),
    Line(
        "gateway_singles", "single events, flat out", "events/s", "gateway.pombo.singles.rate",
        beside=(Beside("hollow", "gateway.hollow.singles.rate"),),
    ),
    Line("gateway_single_cpu", "CPU of the gateway for a single event", "µs/event", "gateway.pombo.singles.cpu_us",
         beside=(Beside("hollow", "gateway.hollow.singles.cpu_us"),)),
    Line(
        "gateway_p50", f"an answer at {_OFFERED:,} events/s: median", "ms", "gateway.pombo.paced.p50_ms",
        beside=(Beside("hollow", "gateway.hollow.paced.p50_ms"),),
    ),
    Line(
        "gateway_p99", f"an answer at {_OFFERED:,} events/s: 99th percentile", "ms", "gateway.pombo.paced.p99_ms", most(25),
        beside=(Beside("hollow", "gateway.hollow.paced.p99_ms"),),
    ),
)  # fmt: skip


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"One process of `pombo gateway`, logging as by default into a file, for {plan.gateway_s:g} s. Requests are those of"
        f" Segment's SDK for Node, ready as bytes, over {CONNECTIONS[BATCH]} connections (single events: {CONNECTIONS[1]}) of"
        " another process on this machine, which shares its cores with the gateway and Redis. An answer means that the"
        " events are in Redis. At a pace each request has its moment, and its time counts from there, also while it waits"
        " for a connection. Beside it stands what bounds it: the same server with the same connections, whose application"
        " reads each body and says success."
    )


SECTION = Section("The gateway, one process", measure, _LINES, method)
