"""Grafana's dashboards, described in few words; `python -m pombo.ops.dashboards` makes their JSON."""

from pombo.ops.dashboards.fleet import FLEET
from pombo.ops.dashboards.grafana import Dashboard, dumped, model
from pombo.ops.dashboards.overview import OVERVIEW
from pombo.ops.dashboards.source import SOURCE

__all__ = ["DASHBOARDS", "Dashboard", "dumped", "model"]

DASHBOARDS = {"overview.json": OVERVIEW, "source.json": SOURCE, "fleet.json": FLEET}
"""By the name of their file, in the order in which they link to each other."""
