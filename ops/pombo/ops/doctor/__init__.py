"""The doctor: finds what would lose events or stop their flow, and says what to do about it.

Reading (`reading`, `endpoints.probe`, `local`) is apart from judging: a check is a pure function of what was read.
"""

from pombo.ops.doctor.check import Check, Report
from pombo.ops.doctor.visit import visit

__all__ = ["Check", "Report", "visit"]
