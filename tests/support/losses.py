"""What `pombo audit` says of a Redis that lost something."""

from collections.abc import Sequence
from typing import Any

import orjson

from support.installation import Installation

COUNTERS = ("delivered", "deduplicated", "dead", "discarded", "erased", "queued", "in_flight")


def named(here: Installation, *, sure: bool = True) -> list[str]:
    """The audit's sentences, whose every one is about a loss; the numbers balance all the same.

    `sure`: something was lost for certain.
    """
    report: dict[str, Any] = orjson.loads(here.cli("audit", "--json", code=1 if sure else None))
    told: list[str] = [*report["problems"], *report["sources"]["bot"]["problems"]]
    assert bool(told) != report["balanced"], report
    assert all(line.startswith("Redis ") for line in told), told
    counts = report["sources"]["bot"]
    assert counts["accepted"] == sum(counts[name] for name in COUNTERS)
    return told


def forgotten_by_audit(told: Sequence[str]) -> int:
    """How many accepted events the audit says that Redis forgot."""
    return sum(int(line.split()[2].replace(",", "")) for line in told if line.startswith("Redis forgot"))


def acknowledge(here: Installation, told: Sequence[str]) -> None:
    """Clear the notes, if there are any; then all is well."""
    if told:
        here.cli("audit", "--acknowledge", "--yes")
    here.audit()
