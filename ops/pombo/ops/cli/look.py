"""`pombo status`: how it goes, and what to do about it, on one screen."""

import asyncio
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from pombo.ops.cli import output
from pombo.ops.cli.options import Json, examples
from pombo.ops.cli.sources import note_unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pombo.ops.cli.session import Session
    from pombo.ops.jobcount import Jobs
    from pombo.ops.lately import Lately
    from pombo.ops.overview import Overview, WorkerView
    from pombo.ops.problems import Problem
    from pombo.ops.top.rates import Look, Row
    from pombo.shared.settings import Settings

STATUS_EXAMPLES = examples(
    "pombo status",
    "pombo status --beats 3",
    "pombo status --json | jq '.problems[0].command'",
    "watch -n 10 pombo status",
)
LOOK_S = 0.1
PROMPT = 1
"""Lines of the terminal that the shell's next prompt takes."""


@dataclass(frozen=True)
class _Seen:
    """What `status` read."""

    before: "Look | None"
    now: "Look"
    silent: set[str] | None
    jobs: "Jobs | None"
    lately: "Mapping[str, Lately]"

    @property
    def rows(self) -> "Sequence[Row]":
        """The sources with their rates: between two looks, else as workers' samples tell them."""
        from pombo.ops.top.rates import Row, arranged, rows

        if self.before is not None:
            return rows(self.before, self.now)
        views = self.now.overview.sources
        return arranged(Row(view, self.lately[n].rates if n in self.lately else None) for n, view in views.items())

    @property
    def overview(self) -> "Overview":
        """What was read last, where those count as silent whose beat did not move."""
        overview, gone = self.now.overview, self.silent or ()
        return replace(overview, workers=[replace(w, beat=-1) if w.id in gone else w for w in overview.workers])


def status(
    as_json: Json = False,
    beats: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="Watch for so long: whose beat does not move, and how fast events come and go. 3 is fair, workers "
            "beat once a second.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every problem, source and worker, however long that is.")
    ] = False,
) -> int:
    """Show at a glance what is wrong, and the command that repairs it; then sources, fleet, Redis and the ledger.

    It fits the terminal: sources in trouble come first, the rest is summed up; where the output is no terminal, all
    are shown. Workers are shown as they last described themselves; one that was killed is soon called silent, and
    stays until others forget it. The exit code is 0 whatever is wrong: `pombo doctor` and `pombo audit` judge.
    """
    from pombo.ops.cli.session import run

    seen = run(lambda session: _look(session, beats))
    note_unreadable([*seen.now.overview.unreadable])
    found = _problems(seen)
    if as_json:
        output.write_json(_document(seen, found))
    else:
        _show(seen, found, everything=everything)
    return 0


async def _look(session: "Session", beats: float | None) -> _Seen:
    from pombo.ops.lately import read_lately
    from pombo.ops.overview import read_overview
    from pombo.ops.top.rates import Look

    async def look() -> Look:
        at = asyncio.get_running_loop().time()
        return Look(at, await read_overview(session.redis, session.keys, await session.sources.snapshot()))

    before, now, silent = None, await look(), None
    if beats is not None:
        silent = await _silent(session, now.overview.workers, beats)
        before, now = now, await look()
    lately = await read_lately(session.redis, session.keys, now.overview)
    return _Seen(before, now, silent, await asyncio.to_thread(_jobs, session.settings), lately)


def _jobs(settings: "Settings") -> "Jobs | None":
    """The jobs; None where there can be none, or their Redis cannot be asked: `pombo jobs list` says why."""
    from redis.exceptions import RedisError

    from pombo.ops.jobcount import count_jobs
    from pombo.shared.connection import jobs_url
    from pombo.shared.errors import PomboError

    try:
        return count_jobs(jobs_url(settings))
    except (RedisError, OSError, PomboError):
        return None


async def _silent(session: "Session", before: "Sequence[WorkerView]", seconds: float) -> set[str]:
    """Look until the time is over; those whose beat never moved."""
    from pombo.ops.overview import read_workers, silent

    still = {worker.id for worker in before}
    for _ in range(round(seconds / LOOK_S)):
        await asyncio.sleep(LOOK_S)
        still &= silent(before, await read_workers(session.redis, session.keys))
    return still


def _problems(seen: _Seen) -> "list[Problem]":
    from pombo.ops.lately import recents
    from pombo.ops.problems import job_problems, ordered, problems

    overview = seen.overview
    jobs = job_problems(seen.jobs) if seen.jobs else ()
    return ordered([*problems(overview, recents(seen.lately), overview.now), *jobs])


def _document(seen: _Seen, found: "Sequence[Problem]") -> dict[str, object]:
    from pombo.ops.problems import headline

    document = seen.now.overview.describe()
    for worker in document["workers"]:
        worker["silent"] = None if seen.silent is None else worker["id"] in seen.silent
    return {**document, "verdict": headline(found), "problems": [one.describe() for one in found]}


def _show(seen: _Seen, found: "Sequence[Problem]", *, everything: bool) -> None:
    from rich.text import Text

    from pombo.ops.summary import summary

    screen, overview = output.console(), seen.overview
    fits = sys.stdout.isatty() and not everything
    height = screen.height - PROMPT if fits else None
    lines = summary(overview, seen.rows, found, jobs=seen.jobs, width=screen.width, height=height)
    output.show(Text("\n").join(lines))
