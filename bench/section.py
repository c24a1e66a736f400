"""A part of the benchmark that can run alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.figures import Line
from bench.plan import Plan
from bench.rounds import Runs
from bench.stage import Stage

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Section:
    """What it measures and how it says so."""

    title: str
    measure: Callable[[Stage, Plan, Say], Runs]
    lines: Sequence[Line]
    method: Callable[[Plan], str]
    """A paragraph of Markdown."""
