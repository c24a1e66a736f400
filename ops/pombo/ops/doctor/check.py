"""A check: one thing that the doctor looked at, whether it is well, and what to do when it is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """What was found about one thing.

    `remedy` says in one line what to do. One that is `ok` has a remedy only where something could be better, or
    has to be looked at by hand, because it cannot be seen from here.
    """

    name: str
    ok: bool
    detail: str
    remedy: str | None = None

    def describe(self) -> dict[str, Any]:
        """The check's part of `doctor --json`."""
        return {"name": self.name, "ok": self.ok, "detail": self.detail, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, in the order in which people read them."""

    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok for check in self.checks)

    def describe(self) -> dict[str, Any]:
        """The JSON of `doctor`."""
        return {"checks": [check.describe() for check in self.checks], "ok": self.ok}


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for one line; of many the first ones, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def failed(name: str, told: str, remedy: str) -> Check:
    """A check that an error failed; what its message says after a semicolon is the remedy, else `remedy`."""
    problem, _, advice = told.partition("; ")
    return Check(name, False, problem, advice or remedy)
