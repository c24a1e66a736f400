"""`pombo jobs`: what runs in the background, and how to stop it."""

from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.options import Json, Limit, examples

if TYPE_CHECKING:
    from pombo.ops.jobboard import JobView

group = typer.Typer(no_args_is_help=True, help="See background jobs, and cancel them.")

_DETAILS = (
    "moved", "discarded", "letters", "bytes", "removed", "restored", "present", "before", "skipped", "older", "unsafe",
    "repeated", "unreadable", "bad", "file", "host", "path", "throttle",
)  # fmt: skip
"""What kinds of jobs count, and where their files are."""

JobId = Annotated[str, typer.Argument(metavar="ID", help="As `jobs list` shows it.", show_default=False)]


@group.command("list", epilog=examples("pombo jobs list", "pombo jobs list --limit 500", "pombo jobs list --json"))
def list_(*, limit: Limit = None, as_json: Json = False) -> int:
    """List jobs: those that run or wait, then those that ended, the last to end first.

    Those that ended are kept for a week; without --limit the table has the last 50 of them, the JSON all.
    """
    from pombo.ops.cli.session import jobs_connection
    from pombo.ops.jobboard import LISTED, list_jobs, read_jobs, workers

    more = False
    with jobs_connection() as connection:
        if as_json and limit is None:
            jobs = read_jobs(connection)
        else:
            page = list_jobs(connection, count=limit or LISTED)
            jobs, more = [*page.jobs], page.next is not None
        running = workers(connection)
    if as_json:
        output.write_json([job.describe() for job in jobs])
        return 0
    if jobs:
        columns = ("id", "status", "queued", ">done", ">of", ">per s", "job", "what became of it")
        output.show_table(columns, [_row(job) for job in jobs], keep=("id", "status", "queued"))
    else:
        output.say("There are no jobs.")
    if more:
        output.say("", "There are more that ended; raise --limit.")
    if not running and any(not job.ended for job in jobs):
        output.say("", "No worker does jobs now; they wait until `pombo worker` runs.")
    return 0


def _row(job: "JobView") -> tuple[object, ...]:
    return (
        job.id, job.word, output.brief(job.enqueued_at), job.done, job.total, job.rate, job.description, job.sentence,
    )  # fmt: skip


@group.command(epilog=examples("pombo jobs show 5f0c…"))
def show(job_id: JobId, as_json: Json = False) -> int:
    """Show one job with its progress and its outcome."""
    from pombo.ops.cli.session import jobs_connection
    from pombo.ops.jobboard import find_job

    with jobs_connection() as connection:
        job = find_job(connection, job_id)
    document = job.describe()
    if as_json:
        output.write_json(document)
        return 0
    fields = {name: document[name] for name in ("id", "kind", "source", "status", "description", "by")}
    fields |= {"progress": _progress(job), "told": job.sentence, "error": job.error}
    fields |= {name: output.local(document[name]) for name in ("enqueued_at", "started_at", "ended_at")}
    output.show_fields(fields | {name: job.meta[name] for name in _DETAILS if job.meta.get(name) is not None})
    return 0


def _progress(job: "JobView") -> str:
    total = "" if job.total is None else f" of {job.total:,}"
    rate = "" if job.rate is None else f", {job.rate:g} a second"
    left = "" if job.eta_s is None else f", {job.eta_s:.0f} s to go"
    return f"{job.done:,}{total}{rate}{left}"


@group.command(epilog=examples("pombo jobs cancel 5f0c…"))
def cancel(job_id: JobId) -> int:
    """Take a job off the queue, or stop it if it runs.

    What it did stays done; `jobs show` says what that is.
    """
    from pombo.ops.cli.session import jobs_connection
    from pombo.ops.jobboard import cancel as cancel_job

    with jobs_connection() as connection:
        before = cancel_job(connection, job_id)
    if before.status == "started":
        output.say(f"job {job_id} is being stopped; what it did stays done")
    else:
        output.say(f"job {job_id} cancelled")
    return 0
