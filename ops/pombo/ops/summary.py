"""The summary: an installation on one screen, as `pombo status` prints it.

The verdict comes first, then the sources, those in trouble before the rest, then a line each for the fleet, the jobs,
Redis and the ledger.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from pombo.ops.jobcount import Jobs
from pombo.ops.overview import Overview, SourceView, WorkerView
from pombo.ops.problems import Problem, orphans
from pombo.ops.top.columns import MOVING, STANDING
from pombo.ops.top.rates import Row
from pombo.ops.top.table import rest, source_lines, worker_lines
from pombo.ops.verdict import verdict
from pombo.ops.wording import plural, size

LEAST_ROWS: Final = 7
"""Lines that the table of sources keeps beside a long verdict, its heading included."""
ALARM: Final = "bold red"


def summary(
    overview: Overview,
    rows: Sequence[Row],
    found: Sequence[Problem],
    *,
    jobs: Jobs | None,
    width: int,
    height: int | None,
) -> list[Text]:
    """One screen.

    Args:
        overview: what was read.
        rows: its sources, in the order in which they are shown.
        found: what is wrong.
        jobs: what the control plane does; None when that cannot be told.
        width: columns.
        height: lines; None shows everything, with a line a worker.
    """
    foot = [*_foot(overview, jobs)]
    if height is None:
        head, table = verdict(found, width=width), _table(rows, width, None)
        workers = [Text(), *worker_lines(overview.workers, overview.now)] if overview.workers else []
        lines = [*head, Text(), *table, *workers, Text(), *foot]
    else:
        free = height - len(foot) - 2
        head = verdict(found, width=width, room=max(2, free - min(LEAST_ROWS, len(rows) + 1)))
        table = _table(rows, width, max(2, free - len(head)))
        lines = [*head, Text(), *table, Text(), *foot]
        lines += _workers(overview, height - len(lines))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _table(rows: Sequence[Row], width: int, room: int | None) -> Iterator[Text]:
    if not rows:
        yield Text("There are no sources; `pombo sources add NAME --write-key -` makes one.")
        return
    columns = MOVING if any(row.rates for row in rows) else STANDING
    shown = rows if room is None or len(rows) < room else rows[: max(1, room - 2)]
    yield from source_lines(shown, columns, width)
    if len(shown) < len(rows):
        yield rest(rows[len(shown) :])


def _workers(overview: Overview, room: int) -> list[Text]:
    """A line a worker, where all have room."""
    if not overview.workers or len(overview.workers) + 2 > room:
        return []
    return [Text(), *worker_lines(overview.workers, overview.now)]


def _foot(overview: Overview, jobs: Jobs | None) -> Iterator[Text]:
    views = [*overview.sources.values()]
    yield _named("workers", *_fleet(overview.workers, views, overview.now))
    if jobs is not None:
        yield _named("jobs", *_jobs(jobs))
    yield _named("redis", _server(overview))
    yield _named("ledger", *_ledger(views))


def _named(name: str, told: str, style: str = "") -> Text:
    return Text(f"{name:<9}", "dim").append(told, style or "not dim")


def _fleet(workers: Sequence[WorkerView], views: Sequence[SourceView], now: int) -> tuple[str, str]:
    live = {worker.id for worker in workers if worker.alive(now)}
    if not live:
        return "none lives: nothing is sent; `pombo worker` starts one", ALARM
    alone = sum(orphans(view, live, now) for view in views)
    parts = [f"{len(live):,} alive", plural(sum(worker.partitions for worker in workers if worker.id in live), "lease")]
    gone = [worker.id for worker in workers if worker.id not in live]
    if gone:
        parts.insert(1, f"{len(gone):,} silent")
    stopping = sum(worker.stopping for worker in workers)
    if stopping:
        parts.insert(1, f"{stopping:,} stopping")
    parts.append(plural(alone, "unowned partition"))
    return " · ".join(parts), ALARM if alone else ""


def _jobs(jobs: Jobs) -> tuple[str, str]:
    told = f"{jobs.running:,} running · {jobs.open - jobs.running:,} queued · {jobs.failed:,} failed"
    if jobs.open and not jobs.workers:
        return f"{told} · nobody does them: start a `pombo worker` without --no-jobs", ALARM
    return told, "yellow" if jobs.failed else ""


def _server(overview: Overview) -> str:
    server = overview.redis
    limit = f" of {size(server.maxmemory)}" if server.maxmemory else ", no limit"
    kept = "no persistence" if server.persistence == "none" else server.persistence
    parts = (f"{server.product} {server.version}", f"{size(server.used_memory)}{limit}", kept, server.eviction)
    return " · ".join([*filter(None, parts), plural(server.clients, "connection")])


def _ledger(views: Sequence[SourceView]) -> tuple[str, str]:
    """The equation over all sources, those parts of it that are not 0."""
    ledgers = [view.ledger for view in views]
    names = ("delivered", "deduplicated", "dead", "discarded", "erased", "queued", "in_flight")
    parts = [f"{count:,} {name.replace('_', ' ')}" for name in names if (count := sum(one[name] for one in ledgers))]
    told = f"{sum(one.accepted for one in ledgers):,} accepted"
    told += f" = {' + '.join(parts)}" if parts else ""
    wrong = [view.name for view in views if not view.ledger.balanced]
    if wrong:
        return f"NOT BALANCED ({wrong[0]}{f' and {len(wrong) - 1:,} more' if wrong[1:] else ''}) · {told}", ALARM
    return f"balanced · {told}", ""
