"""How long a worker takes to its first delivery, and a bot to import the producer."""

import time
from functools import partial

from bench.figures import Beside, Line, most
from bench.plan import Plan
from bench.rounds import Road, Runs, take_turns
from bench.section import Say, Section
from bench.stage import Stage, TrialError
from bench.trial import Result

_QUEUED = 100
_LONGEST_S = 60.0
_IMPORT = (
    """import time; begun = time.perf_counter(); import {}; print('{{"s": %r}}' % (time.perf_counter() - begun))"""
)


def measure(stage: Stage, plan: Plan, say: Say) -> Runs:
    """Fresh processes."""
    runs = take_turns([partial(_worker, stage)], rounds=plan.starts, warm_rounds=plan.warm_rounds, say=lambda _: None)
    say("imports")
    roads: list[Road] = [partial(_imported, stage, "pombo", "pombo.producer", None)]
    if stage.peers.python:
        roads += [partial(_imported, stage, "sdk", "segment.analytics", str(stage.peers.python))]
    return runs | take_turns(roads, rounds=plan.imports, warm_rounds=plan.warm_rounds, say=lambda _: None)


def _worker(stage: Stage) -> Result:
    stage.clear()
    stage.fill(_QUEUED)
    begun = time.time()
    with stage.worker() as worker:
        while not (seen := stage.sink.take()).requests:
            if worker.poll() is not None or time.time() - begun > _LONGEST_S:
                raise TrialError("pombo worker delivered nothing")
            time.sleep(0.005)
    return {"start.worker_s": seen.first - begun}


def _imported(stage: Stage, name: str, module: str, python: str | None) -> Result:
    found = stage.python(_IMPORT.format(module), python)
    return {f"start.import.{name}_ms": found["s"] * 1000}


_LINES = (
    Line("start", "`pombo worker` to its first delivery", "s", "start.worker_s", most(1.5)),
    Line("import", "import pombo.producer", "ms", "start.import.pombo_ms",
         beside=(Beside("sdk_import", "start.import.sdk_ms", most(1.5)),)),
)  # fmt: skip


def method(plan: Plan) -> str:
    """How it is measured."""
    return (
        f"{plan.starts} times `pombo worker` as it is, from the call that starts its process to the arrival of the first"
        f" request, with {_QUEUED} events waiting; and {plan.imports} fresh interpreters each that time one `import`,"
        " when all is compiled."
    )


SECTION = Section("Start", measure, _LINES, method)
