"""Looks at an installation, made up."""

from collections.abc import Sequence
from typing import Any

from pombo.ops.overview import Overview, RedisView, SourceView, WorkerView
from pombo.ops.top.rates import Look
from pombo.shared.flow import Flow
from pombo.shared.ledger import Ledger
from pombo.shared.sources import Source

NOW = 1_000_000


def view(name: str, *, flow: dict[str, Any] | None = None, incarnation: str = "i", **ledger: Any) -> SourceView:
    """A source with these counters."""
    source = Source(name=name, incarnation=incarnation)
    return SourceView(source, Flow(NOW, **(flow or {})), Ledger(incarnation=incarnation, **ledger))


def look(at: float, *views: SourceView, workers: Sequence[WorkerView] = ()) -> Look:
    """A look at these sources."""
    server = RedisView("valkey", "9.1", 1_500_000, 2_000_000_000, "aof always", 12)
    return Look(at, Overview({one.name: one for one in views}, (), workers, server, NOW))


def worker(name: str, *, alive: bool = True, **fields: Any) -> WorkerView:
    """A worker."""
    return WorkerView(name, host="h", beat=5, at=NOW // 1000 - (1 if alive else 60), partitions=3, **fields)
