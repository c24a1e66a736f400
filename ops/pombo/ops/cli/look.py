"""`pombo status` and `pombo audit`: how it goes, and whether the books are right."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import UNWELL, one_line
from pombo.ops.cli.options import Json, examples
from pombo.ops.cli.sources import note_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pombo.ops.cli.session import Session
    from pombo.ops.overview import Overview, SourceView, WorkerView
    from pombo.shared.audit import AuditReport

STATUS_EXAMPLES = examples(
    "pombo status",
    "pombo status --beats 3",
    "pombo status --json | jq '.sources.bot.queued_events'",
)
AUDIT_EXAMPLES = examples("pombo audit", "pombo audit --json")
RECOUNT_TIMEOUT_S = 120.0
"""How long one source's recount may take: it reads every entry."""
LOOK_S = 0.1


def status(
    as_json: Json = False,
    beats: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="Watch the workers for so long and say whose beat does not move: 3 is fair, they beat once a second.",
        ),
    ] = None,
) -> int:
    """Show sources, workers and Redis at this moment.

    Workers are shown as they last described themselves; one that was killed is soon called silent, and stays until
    others forget it.
    """
    from pombo.ops.cli.session import run

    overview, silent = run(lambda session: _status(session, beats))
    note_unreadable([*overview.unreadable])
    if as_json:
        document = overview.describe()
        for worker in document["workers"]:
            worker["silent"] = None if silent is None else worker["id"] in silent
        output.write_json(document)
    else:
        _show_status(overview, silent)
    return 0


async def _status(session: "Session", beats: float | None) -> "tuple[Overview, set[str] | None]":
    from pombo.ops.overview import read_overview

    overview = await read_overview(session.redis, session.keys, await session.sources.snapshot())
    return overview, None if beats is None else await _silent(session, overview.workers, beats)


async def _silent(session: "Session", before: "Sequence[WorkerView]", seconds: float) -> set[str]:
    """Look until every worker's beat has moved, or the time is over."""
    from pombo.ops.overview import read_workers, silent

    still = {worker.id for worker in before}
    for _ in range(round(seconds / LOOK_S)):
        if not still:
            break
        await asyncio.sleep(LOOK_S)
        still &= silent(before, await read_workers(session.redis, session.keys))
    return still


def _show_status(overview: "Overview", silent: set[str] | None) -> None:
    if overview.sources:
        output.show_table(
            ("source", "state", ">queued", ">bytes", ">in flight", ">dead", ">oldest", ">limit/s"),
            [_source_row(view) for view in overview.sources.values()],
            keep=("source",),
        )
        _show_notes([*overview.sources.values()])
    else:
        output.say("There are no sources; `pombo sources add NAME --write-key -` makes one.")
    output.say("")
    if overview.workers:
        gone = {one.id for one in overview.workers if not one.alive(overview.now)} if silent is None else silent
        rows = [_worker_row(worker, gone) for worker in overview.workers]
        output.show_table(("worker", ">pid", ">partitions", "since", "note"), rows, keep=("worker",))
    if all(not worker.alive(overview.now) for worker in overview.workers):
        output.say("No worker lives: nothing is sent; `pombo worker` starts one.")
    server = overview.redis
    limit = f"of {wording.size(server.maxmemory)}" if server.maxmemory else "(no limit)"
    output.say(
        "",
        f"{server.product} {server.version}, {wording.size(server.used_memory)} used {limit}, "
        f"persistence: {server.persistence}",
    )


def _source_row(view: "SourceView") -> tuple[object, ...]:
    ledger, limit, age = view.ledger, view.rate_limit, view.oldest_age_s
    return (
        view.name, view.state, ledger.queued, wording.size(ledger.queued_bytes), ledger.in_flight, ledger.dead,
        None if age is None else wording.age(age), f"{limit:,.0f}" if limit else "no limit",
    )  # fmt: skip


def _show_notes(views: "Sequence[SourceView]") -> None:
    """Say below the table, where there is room for it, why sources do not send."""
    noted = [(view.name, note) for view in views if (note := _note(view))]
    output.say(*([""] if noted else []), *(one_line(f"{name}: {note}") for name, note in noted))


def _note(view: "SourceView") -> str | None:
    if view.flow.reason:
        return view.flow.reason
    until = output.local(view.flow.held_until)
    return until and f"until {until}"


def _worker_row(worker: "WorkerView", silent: set[str]) -> tuple[object, ...]:
    said = "silent" if worker.id in silent else "stopping" if worker.stopping else None
    pid = None if worker.pid is None else str(worker.pid)
    return (worker.id, pid, worker.partitions, output.local(worker.started), said)


def audit(as_json: Json = False) -> int:
    """Compare the ledgers with a recount of the data.

    Exit code 1 when they differ: a source that is not balanced lost events, or counted them wrongly.
    """
    from pombo.ops.cli.session import Session, run
    from pombo.shared import audit as audits

    async def work(session: Session) -> "AuditReport":
        return await audits.audit(session.redis, session.keys, await session.sources.snapshot())

    report = run(work, timeout_s=RECOUNT_TIMEOUT_S)
    if as_json:
        output.write_json(report.describe())
    else:
        _show_audit(report)
    return 0 if report.balanced else UNWELL


def _show_audit(report: "AuditReport") -> None:
    from pombo.shared.ledger import COUNTERS

    if not report.sources:
        output.say("There are no sources, so there is nothing to audit.")
        return
    output.show_table(
        ("source", *(f">{counter.replace('_', ' ')}" for counter in COUNTERS), "verdict"),
        [
            (name, *one.ledger.describe().values(), "balanced" if one.balanced else "NOT BALANCED")
            for name, one in report.sources.items()
        ],
        keep=("source",),
    )
    for name, one in report.sources.items():
        for problem in one.problems:
            output.say(f"{name}: {problem}")
