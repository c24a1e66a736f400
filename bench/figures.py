"""What the runs amount to: medians, spreads, ratios within rounds, and whether pombo's aims are met. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Runs = Mapping[str, Sequence[float]]
"""By the name of what was measured, its values in the order of the rounds."""


@dataclass(frozen=True, slots=True)
class Series:
    """Values of the rounds, in their order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one to quote."""
        return median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Least and greatest."""
        return min(self.values), max(self.values)

    def over(self, other: "Series") -> "Series":
        """Their ratio, round by round."""
        return Series(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        low, high = self.spread
        return {"median": self.median, "min": low, "max": high, "runs": list(self.values)}


@dataclass(frozen=True, slots=True)
class Aim:
    """A bound on a median, of pombo's own value or of a ratio."""

    bound: float
    at_least: bool

    def met_by(self, found: float) -> bool:
        """Whether a median is on the right side."""
        return found >= self.bound if self.at_least else found <= self.bound


def least(bound: float) -> Aim:
    """At least so much."""
    return Aim(bound, at_least=True)


def most(bound: float) -> Aim:
    """At most so much."""
    return Aim(bound, at_least=False)


@dataclass(frozen=True, slots=True)
class Beside:
    """What pombo's value is compared with: a peer or a limit, the name of its values, the aim of the ratio."""

    name: str
    measure: str
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is measured: the name of pombo's values, an aim of its own, and what stands beside it."""

    key: str
    title: str
    unit: str
    pombo: str
    aim: Aim | None = None
    beside: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Pombo's values over those of a peer or a limit."""

    beside: Beside
    theirs: Series
    ratio: Series

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        return _met(self.beside.aim, self.ratio)

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"value": self.theirs.describe(), "ratio": self.ratio.describe(), **_judged(self.beside.aim, self.met)}


@dataclass(frozen=True, slots=True)
class Figure:
    """A line with its values; a peer that was not measured is absent."""

    line: Line
    pombo: Series
    comparisons: tuple[Comparison, ...] = ()

    @property
    def met(self) -> bool | None:
        """Whether the aim of its own is met; None where there is none."""
        return _met(self.line.aim, self.pombo)

    @property
    def missed(self) -> bool:
        """Whether any aim is missed."""
        return False in {self.met, *(one.met for one in self.comparisons)}

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "title": self.line.title,
            "unit": self.line.unit,
            "pombo": self.pombo.describe(),
            **_judged(self.line.aim, self.met),
            "beside": {one.beside.name: one.describe() for one in self.comparisons},
        }


def figures(runs: Runs, lines: Sequence[Line]) -> list[Figure]:
    """The lines with what was measured; those of which nothing was are left out."""
    return [_figure(line, runs) for line in lines if line.pombo in runs]


def _figure(line: Line, runs: Runs) -> Figure:
    scale: Callable[[float], float] = (lambda value: value / 1e6) if line.unit == "MB" else float

    def series(name: str) -> Series:
        return Series(tuple(map(scale, runs[name])))

    def comparisons() -> Iterator[Comparison]:
        for beside in line.beside:
            if beside.measure in runs:
                theirs = series(beside.measure)
                yield Comparison(beside, theirs, mine.over(theirs))

    mine = series(line.pombo)
    return Figure(line, mine, tuple(comparisons()))


def _met(aim: Aim | None, found: Series) -> bool | None:
    return None if aim is None else aim.met_by(found.median)


def _judged(aim: Aim | None, met: bool | None) -> dict[str, Any]:
    if aim is None:
        return {}
    return {"aim": {"at_least" if aim.at_least else "at_most": aim.bound}, "met": met}


def percentile(ordered: Sequence[float], share: int) -> float:
    """The value below which `share` hundredths of sorted values lie."""
    return ordered[min(len(ordered) * share // 100, len(ordered) - 1)]
