"""Columns: what the tables of `top` and `status` show, and which give way where there is no room."""

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


def life(worker: WorkerView, now: int) -> str:
    """What a worker's beat says of it."""
    return "stopping" if worker.stopping else "alive" if worker.alive(now) else "silent"


def figure(rate: float) -> str:
    """A rate for people."""
    return f"{rate:,.0f}" if rate >= 10 or not rate else f"{rate:.1f}"


def state(row: Row) -> str:
    """A source's state in a word; of a hold also how long it lasts."""
    flow = row.view.flow
    if row.view.state == "held" and flow.hold_until is not None:
        return f"held {age((flow.hold_until - flow.now) / 1000)}"
    return "blocked" if row.blocked else row.view.state


def _rate(rates: Rates | None, name: str) -> str:
    return "-" if rates is None else figure(getattr(rates, name))


def _age(seconds: float | None) -> str:
    return "-" if seconds is None else age(seconds)


def _drain(row: Row) -> str:
    if not row.waiting or row.rates is None:
        return "-"
    return "never" if row.drain_s is None else f"in {age(row.drain_s)}"


SOURCE: Final = Column("source", lambda row: one_line(row.view.name), left=True)
STATE: Final = Column("state", state, left=True)
IN: Final = Column("in/s", lambda row: _rate(row.rates, "accepted"), 2)
OUT: Final = Column("out/s", lambda row: _rate(row.rates, "delivered"), 1)
DUPLICATES: Final = Column("dup/s", lambda row: _rate(row.rates, "deduplicated"), 7)
DYING: Final = Column("dead/s", lambda row: _rate(row.rates, "dead"), 6)
QUEUED: Final = Column("queued", lambda row: f"{row.view.ledger.queued:,}")
BYTES: Final = Column("bytes", lambda row: size(row.view.ledger.queued_bytes), 7)
FLYING: Final = Column("flying", lambda row: f"{row.view.ledger.in_flight:,}", 5)
OLDEST: Final = Column("oldest", lambda row: _age(row.view.oldest_age_s), 1)
DRAINS: Final = Column("drains", _drain, 4)
DEAD: Final = Column("dead", lambda row: f"{row.view.ledger.dead:,}", 3)
LIMIT: Final = Column("limit/s", lambda row: f"{row.view.rate_limit:,.0f}" if row.view.rate_limit else "-", 8)

COLUMNS: Final[Sequence[Column]] = (
    *(SOURCE, STATE, IN, OUT, DUPLICATES, DYING, QUEUED, BYTES, FLYING, OLDEST, DRAINS, DEAD, LIMIT),
)
"""Of `top`."""
STANDING: Final[Sequence[Column]] = (SOURCE, STATE, QUEUED, BYTES, FLYING, OLDEST, DEAD, LIMIT)
"""Of `status`, which looks once."""
MOVING: Final[Sequence[Column]] = (SOURCE, STATE, QUEUED, FLYING, OLDEST, IN, OUT, DEAD, BYTES, DRAINS, LIMIT)
"""Of `status` where it knows rates."""
WORKER_COLUMNS: Final[Sequence[WorkerColumn]] = (
    WorkerColumn("worker", lambda worker, _: one_line(worker.id)),
    WorkerColumn("pid", lambda worker, _: "-" if worker.pid is None else str(worker.pid), left=False),
    WorkerColumn("partitions", lambda worker, _: f"{worker.partitions:,}", left=False),
    WorkerColumn("state", life),
    WorkerColumn("version", lambda worker, _: one_line(str(worker.version or "-"))),
    WorkerColumn("host", lambda worker, _: one_line(str(worker.host or "-"))),
)
