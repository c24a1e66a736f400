"""`pombo status`: how it goes."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops import wording
from pombo.ops.cli import output
from pombo.ops.cli.failures import one_line
from pombo.ops.cli.options import Json, examples
from pombo.ops.cli.sources import note_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pombo.ops.cli.session import Session
    from pombo.ops.overview import Overview, SourceView, WorkerView

STATUS_EXAMPLES = examples(
    "pombo status",
    "pombo status --beats 3",
    "pombo status --json | jq '.sources.bot.queued_events'",
)
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
