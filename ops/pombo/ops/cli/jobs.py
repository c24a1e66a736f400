"""`pombo jobs`: what runs in the background, and how to stop it."""

from typing import Annotated, Any

import typer

from pombo.ops.cli import output
from pombo.ops.cli.options import Json, examples

group = typer.Typer(no_args_is_help=True, help="See background jobs, and cancel them.")

JobId = Annotated[str, typer.Argument(metavar="ID", help="As `jobs list` shows it.", show_default=False)]


@group.command("list", epilog=examples("pombo jobs list", "pombo jobs list --json"))
def list_(as_json: Json = False) -> int:
    """List jobs, the newest first.

    Those that ended are kept for a week.
    """
    from pombo.ops.cli.jobboard import read_jobs, workers
    from pombo.ops.cli.session import jobs_connection

    with jobs_connection() as connection:
        jobs, running = read_jobs(connection), workers(connection)
    if as_json:
        output.write_json([job.describe() for job in jobs])
        return 0
    if jobs:
        columns = ("id", "status", "queued", ">done", "job", "error")
        rows = [(j.id, j.status, output.brief(j.enqueued_at), j.moved, j.description, j.error) for j in jobs]
        output.show_table(columns, rows, keep=("id", "status", "queued"))
    else:
        output.say("There are no jobs.")
    if not running and any(not job.ended for job in jobs):
        output.say("", "No worker does jobs now; they wait until `pombo worker` runs.")
    return 0


@group.command(epilog=examples("pombo jobs show 5f0c…"))
def show(job_id: JobId, as_json: Json = False) -> int:
    """Show one job with its progress and its outcome."""
    from pombo.ops.cli.jobboard import find_job
    from pombo.ops.cli.session import jobs_connection

    with jobs_connection() as connection:
        job = find_job(connection, job_id)
    document = job.describe()
    if as_json:
        output.write_json(document)
        return 0
    fields: dict[str, Any] = {k: v for k, v in document.items() if k not in {"progress", "result"}}
    fields |= {name: output.local(fields[name]) for name in ("enqueued_at", "started_at", "ended_at")}
    output.show_fields(fields | {f"{name}": value for name, value in (job.result or job.meta).items()})
    return 0


@group.command(epilog=examples("pombo jobs cancel 5f0c…"))
def cancel(job_id: JobId) -> int:
    """Take a job off the queue, or stop it if it runs.

    What it did stays done.
    """
    from pombo.ops.cli.jobboard import cancel as cancel_job
    from pombo.ops.cli.session import jobs_connection

    with jobs_connection() as connection:
        before = cancel_job(connection, job_id)
    if before.status == "started":
        output.say(f"job {job_id} is being stopped")
    else:
        output.say(f"job {job_id} cancelled")
    return 0
