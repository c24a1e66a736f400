"""A faithful Segment on this machine, with faults on demand.

`server` is the front door; `protocol` does the I/O, `edge` takes a request through `submission` (what is in
it), `faults` (what is planned for it), `answers` and `validation` (what Segment makes of it) and `journal`
(what is kept); `steering` and `rows` show it all under `/_sim/`.
"""

from pombo.ops.simulator.errors import PlanError, SimulatorError, SwitchesError
from pombo.ops.simulator.plan import Answer, Rule, When, load_plan, parse_plan
from pombo.ops.simulator.rows import EventRow, RequestRow
from pombo.ops.simulator.server import DEFAULT_PORT, Simulator, run, serve
from pombo.ops.simulator.switches import Switches

__all__ = [
    "DEFAULT_PORT",
    "Answer",
    "EventRow",
    "PlanError",
    "RequestRow",
    "Rule",
    "Simulator",
    "SimulatorError",
    "Switches",
    "SwitchesError",
    "When",
    "load_plan",
    "parse_plan",
    "run",
    "serve",
]
