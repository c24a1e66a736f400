"""`pombo doctor`: what would lose events or stop them, and the remedies."""

from typing import TYPE_CHECKING

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL, one_line
from pombo.ops.cli.options import Json, examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pombo.ops.doctor import Check

EXAMPLES = examples("pombo doctor", "pombo doctor --json | jq '.checks[] | select(.ok | not)'")

WIDEST = 32
"""Columns for names; longer ones push their line to the right."""


def doctor(as_json: Json = False) -> int:
    """Find what would lose events or stop them, and say what to do.

    Redis and what it can lose, keys, sources, endpoints, workers, jobs, and this machine's spool folder. It changes
    nothing, sends no events, and also works while Redis is away. Exit code 1 when something is wrong.
    """
    import asyncio

    from pombo.ops.doctor import visit

    report = asyncio.run(visit())
    if as_json:
        output.write_json(report.describe())
    else:
        _show(report.checks)
    return 0 if report.ok else UNWELL


def _show(checks: "Sequence[Check]") -> None:
    from rich.text import Text

    width = min(WIDEST, max(len(check.name) for check in checks))
    for check in checks:
        word, style = ("wrong", "bold red") if not check.ok else ("note", "yellow") if check.remedy else ("ok", "green")
        output.show(Text.assemble((f"{word:6}", style), f"{check.name:{width}}  {one_line(check.detail)}"))
        if check.remedy:
            output.show(Text(f"{'':6}{'':{width}}  -> {one_line(check.remedy)}"))
    wrong = sum(not check.ok for check in checks)
    output.say("", f"{wording.plural(wrong, 'thing')} wrong" if wrong else "nothing is wrong")
