"""A live screen of the installation: what is wrong, rates, backlogs, workers and Redis.

Decisions are pure: `press` makes another view of a key, `frame` lines of a scene, `changes` what to write of lines.
`screen` alone reads, writes and waits.
"""

from pombo.ops.top.screen import Desk, once, watch

__all__ = ["Desk", "once", "watch"]
