"""What can go wrong in steering the simulator.

    PomboError
    └── SimulatorError      the simulator cannot start, or does not understand how it is steered
        ├── PlanError       a fault plan that cannot be read or obeyed
        └── SwitchesError   switches that do not exist or have no such position

Faults that a client is *meant* to see are answers, never exceptions.
"""

from pombo.shared.errors import PomboError


class SimulatorError(PomboError):
    """Say in one line what happened, to what, and what to do next."""


class PlanError(SimulatorError):
    """Refuse a fault plan, naming the rule and the key at fault."""


class SwitchesError(SimulatorError):
    """Refuse switches, naming the one at fault."""
