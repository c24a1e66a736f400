"""Rounds in which each road is taken once, in turn: what slows the machine for a while slows all of them."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from bench.trial import Result

Runs = dict[str, list[float]]
"""By the name of what was measured, its values in the order of the rounds."""
Road = Callable[[], Result]


def take_turns(roads: Sequence[Road], *, rounds: int, warm_rounds: int, say: Callable[[str], None]) -> Runs:
    """Take every road once a round, one right after the other, every second round in reverse.

    Args:
        roads: each sets its own stage and returns what it measured.
        rounds: that count.
        warm_rounds: that go first and do not.
        say: is told which round begins.
    """
    runs: defaultdict[str, list[float]] = defaultdict(list)
    for number in range(1 - warm_rounds, rounds + 1):
        counted = number > 0
        say(f"round {number} of {rounds}" if counted else "warm-up")
        for road in reversed(roads) if counted and number % 2 == 0 else roads:
            for name, value in road().items():
                if counted:
                    runs[name].append(value)
    return dict(runs)


def named(prefix: str, result: Result) -> Result:
    """The values with a prefix to their names."""
    return {f"{prefix}.{name}": value for name, value in result.items()}
