"""`pombo audit`: whether the books are right, and what Redis lost."""

from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL, CommandError
from pombo.ops.cli.inputs import confirm
from pombo.ops.cli.options import Json, Yes, examples
from pombo.ops.wording import plural

if TYPE_CHECKING:
    from pombo.ops.cli.session import Session
    from pombo.shared.audit import AuditReport

EXAMPLES = examples("pombo audit", "pombo audit --json", "pombo audit --acknowledge")
RECOUNT_TIMEOUT_S = 120.0
"""How long one source's recount may take: it reads every entry."""


def audit(
    as_json: Json = False,
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="Show what Redis lost, then clear these notes: it is known, and done with."),
    ] = False,
    yes: Yes = False,
) -> int:
    """Compare the ledgers with a recount of the data, and tell what Redis lost.

    Exit code 1 when they differ, or while a loss is not acknowledged: a source that is not balanced lost events, or
    counted them wrongly. What Redis itself forgot, in a failover, a flush or a restart, its producers and workers
    notice and note; `--acknowledge` clears the notes once somebody has read them.
    """
    report = _read()
    if acknowledge:
        report = _acknowledged(report, yes=yes)
    if as_json:
        output.write_json(report.describe())
    else:
        _show(report)
    return 0 if report.balanced else UNWELL


def _read() -> "AuditReport":
    from pombo.ops.cli.session import run
    from pombo.shared import audit as audits

    async def work(session: "Session") -> "AuditReport":
        return await audits.audit(session.redis, session.keys, await session.sources.snapshot())

    return run(work, timeout_s=RECOUNT_TIMEOUT_S)


def _acknowledged(report: "AuditReport", *, yes: bool) -> "AuditReport":
    """Show the losses, clear them, and audit again.

    Raises:
        CommandError: there are none, the answer was no, or more were noted meanwhile.
    """
    from pombo.ops.cli.session import run
    from pombo.shared.losses import acknowledge

    noted = {name: one.losses for name, one in report.sources.items() if one.lost}
    losses = [*report.problems, *(f"{name}: {told}" for name, one in report.sources.items() for told in one.lost)]
    if not losses:
        raise CommandError("no loss is noted, so there is nothing to acknowledge", UNWELL)
    for line in losses:
        output.note(line)
    confirm(f"Clear {plural(len(losses), 'note')} of what Redis lost?", yes=yes)

    async def work(session: "Session") -> bool:
        done = [await acknowledge(session.redis, session.keys, name, found) for name, found in noted.items()]
        if report.problems:
            done.append(await acknowledge(session.redis, session.keys, None, report.losses))
        return all(done)

    if not run(work):
        raise CommandError("more losses were noted meanwhile and are kept; read them with `pombo audit`", UNWELL)
    return _read()


def _show(report: "AuditReport") -> None:
    from pombo.shared.ledger import COUNTERS

    if report.sources:
        output.show_table(
            ("source", *(f">{counter.replace('_', ' ')}" for counter in COUNTERS), "verdict"),
            [
                (name, *one.ledger.describe().values(), "balanced" if one.balanced else "NOT BALANCED")
                for name, one in report.sources.items()
            ],
            keep=("source",),
        )
    else:
        output.say("There are no sources, so there is nothing to audit.")
    for name, one in report.sources.items():
        for problem in one.problems:
            output.say(f"{name}: {problem}")
    output.say(*report.problems)
    if report.problems or any(one.lost for one in report.sources.values()):
        output.say("`pombo audit --acknowledge` clears what Redis lost, once you have read it.")
