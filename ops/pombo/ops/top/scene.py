"""The scene: all that a frame of `top` is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pombo.ops.closeup import Closeup
from pombo.ops.overview import Overview
from pombo.ops.problems import Problem
from pombo.ops.top.rates import Look, Row, rows
from pombo.ops.top.view import View


@dataclass(frozen=True, slots=True)
class Scene:
    """One moment of an installation, and how an operator looks at it."""

    overview: Overview
    rows: Sequence[Row]
    """All sources, those in trouble first."""
    found: Sequence[Problem]
    """What is wrong; while Redis is away, only that."""
    at: datetime
    """The time of day."""
    view: View = field(default_factory=View)
    closeup: Closeup | None = None
    """Of the source that is looked at; None as long as it was not read."""
    stale: bool = False
    """Whether Redis is away, and all this is how it was before."""
    keys: bool = True
    """Whether somebody can press any."""

    @classmethod
    def of(cls, before: Look | None, now: Look, found: Sequence[Problem], at: datetime, **more: object) -> "Scene":
        """The scene of two looks; `more` are further fields."""
        return cls(now.overview, rows(before, now), found, at, **more)  # type: ignore[arg-type]
