"""Columns: what the tables of `top` show, and which give way where there is no room."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pombo.ops.cli.failures import one_line
from pombo.ops.overview import WorkerView
from pombo.ops.top.rates import Rates, Row
from pombo.ops.wording import age, size


class Column(NamedTuple):
    """One column: its heading, its cell, and when it gives way."""

    heading: str
    cell: Callable[[Row], str]
    weight: int = 0
    """The heaviest go first where there is no room; 0 stays."""
    left: bool = False


class WorkerColumn(NamedTuple):
    """The same for workers; `now` is ms of Redis' clock."""

    heading: str
    cell: Callable[[WorkerView, int], str]
    left: bool = True


def _life(worker: WorkerView, now: int) -> str:
    return "stopping" if worker.stopping else "alive" if worker.alive(now) else "silent"


def _rate(rates: Rates | None, name: str) -> str:
    return "-" if rates is None else figure(getattr(rates, name))


def figure(rate: float) -> str:
    """A rate for people."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else age(seconds)


def _drain(row: Row) -> str:
    if not row.waiting:
        return "-"
    return "never" if row.drain_s is None else f"in {age(row.drain_s)}"


COLUMNS: Final[Sequence[Column]] = (
    Column("source", lambda row: one_line(row.view.name), left=True),
    Column("state", lambda row: "blocked" if row.rank == 2 else row.view.state, left=True),
    Column("in/s", lambda row: _rate(row.rates, "accepted"), 2),
    Column("out/s", lambda row: _rate(row.rates, "delivered"), 1),
    Column("dup/s", lambda row: _rate(row.rates, "deduplicated"), 7),
    Column("dead/s", lambda row: _rate(row.rates, "dead"), 5),
    Column("queued", lambda row: f"{row.view.ledger.queued:,}"),
    Column("bytes", lambda row: size(row.view.ledger.queued_bytes), 6),
    Column("flying", lambda row: f"{row.view.ledger.in_flight:,}", 4),
    Column("oldest", lambda row: _age(row.view.oldest_age_s), 1),
    Column("drains", _drain, 3),
    Column("limit/s", lambda row: f"{row.view.rate_limit:,.0f}" if row.view.rate_limit else "-", 8),
)
WORKER_COLUMNS: Final[Sequence[WorkerColumn]] = (
    WorkerColumn("worker", lambda worker, _: one_line(worker.id)),
    WorkerColumn("partitions", lambda worker, _: f"{worker.partitions:,}", left=False),
    WorkerColumn("state", _life),
    WorkerColumn("host", lambda worker, _: one_line(str(worker.host or "-"))),
)
