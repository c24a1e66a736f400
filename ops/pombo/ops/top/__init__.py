"""A live screen of the installation: rates, backlogs, workers and Redis."""

from pombo.ops.top.screen import once, watch

__all__ = ["once", "watch"]
