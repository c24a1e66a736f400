"""One run: rounds in which each road is measured once, in turn, then what backlogs cost."""

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from bench.plan import Plan
from bench.stage import Stage
from bench.trial import Result

_RQ_WARM = 50
"""Jobs enqueued before the clock starts; run with the others."""

Runs = dict[str, list[float]]
"""By the name of what was measured, its values in the order of the rounds."""


class Bench:
    """Measure on a stage.

    Each round takes every road once, one right after the other, and every second round in reverse: what slows the
    machine for a while slows all of them, and ratios are taken within a round.
    """

    def __init__(self, stage: Stage, plan: Plan, sdk_python: Path | None, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._plan = plan
        self._sdk_python = sdk_python
        self._say = say

    def run(self) -> Runs:
        """Everything; raises `TrialError`."""
        runs: defaultdict[str, list[float]] = defaultdict(list)
        for number in range(1 - self._plan.warm_rounds, self._plan.rounds + 1):
            counted = number > 0
            self._say(f"round {number} of {self._plan.rounds}" if counted else "warm-up")
            found = self._round(reverse=bool(number % 2))
            for name, value in found.items() if counted else ():
                runs[name].append(value)
        for name, value in self._memory().items():
            runs[name].append(value)
        return dict(runs)

    def _round(self, *, reverse: bool) -> Result:
        roads = [self._enqueue, self._sdk, self._rq, self._drain]
        found: Result = {}
        for road in reversed(roads) if reverse else roads:
            self._stage.clear()
            found |= road()
        return found

    # -- roads ----------------------------------------------------------------------------------------------------

    def _enqueue(self) -> Result:
        self._stage.add_source()
        count, warm = self._plan.enqueue_events, self._plan.warm
        result = self._with_server("carrier", "enqueue", count=count, events=self._stage.events, warm=warm)
        return _named("pombo.enqueue", result)

    def _sdk(self) -> Result:
        if self._sdk_python is None:
            return {}
        stage, plan = self._stage, self._plan
        result = stage.trial(
            "sdk", "enqueue_and_send",
            python=str(self._sdk_python), url=stage.sink_url, events=stage.events, count=plan.sdk_events, warm=plan.warm,
        )  # fmt: skip
        return _named("sdk", result)

    def _rq(self) -> Result:
        stage, count = self._stage, self._plan.rq_jobs
        given = {"redis": stage.redis_url, "url": stage.sink_url, "events": stage.events, "warm": _RQ_WARM}
        enqueued = self._with_server("rqjobs", "enqueue", count=count, **given)
        worked = self._with_server("rqjobs", "work", redis=stage.redis_url, count=count + _RQ_WARM)
        return _named("rq.enqueue", enqueued) | _named("rq.deliver", worked | self._arrival_rate(count + _RQ_WARM))

    def _drain(self) -> Result:
        count = self._plan.drain_events
        self._stage.add_source()
        self._stage.trial("carrier", "fill", events=self._stage.events, count=count)
        return _named("pombo.deliver", self._with_server("carrier", "drain", count=count) | self._arrival_rate(count))

    def _arrival_rate(self, count: int) -> Result:
        """Events a second between the first request's arrival and the last one's end, as the sink saw it."""
        return {"rate": count / self._stage.sunk()["seconds"]}

    def _with_server(self, module: str, name: str, *, count: int, **given: object) -> Result:
        """A trial's result, and the server's CPU for each of its `count` events meanwhile."""
        begun = self._stage.server_cpu()
        result = self._stage.trial(module, name, python=sys.executable, count=count, **given)
        return {**result, "server_cpu_us": (self._stage.server_cpu() - begun) / count * 1e6}

    # -- memory ---------------------------------------------------------------------------------------------------

    def _memory(self) -> Result:
        found: Result = {}
        for name, count in zip(("small", "medium", "large"), self._plan.backlogs, strict=True):
            self._say(f"a backlog of {count:,} events")
            found |= _named(name, self._backlog(count))
        self._say("record batches of one")
        empty = self._empty()
        self._stage.trial("carrier", "fill", events=self._stage.events, count=self._plan.single_events, batch=1)
        return found | {"single.queued_bytes": (self._stage.used_memory() - empty) / self._plan.single_events}

    def _backlog(self, count: int) -> Result:
        empty = self._empty()
        self._stage.trial("carrier", "fill", events=self._stage.events, count=count)
        full = self._stage.used_memory()
        drained = self._stage.trial("carrier", "drain", count=count)
        remembered = self._stage.used_memory()
        return {
            "queued_bytes": (full - empty) / count,
            "remembered_bytes": (remembered - empty) / count,
            "worker_rss": drained["peak_rss"],
        }

    def _empty(self) -> int:
        """The server's memory with nothing but the source."""
        self._stage.clear()
        self._stage.add_source()
        return self._stage.used_memory()


def _named(prefix: str, result: Result) -> Result:
    return {f"{prefix}.{name}": value for name, value in result.items()}
