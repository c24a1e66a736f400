"""Traces: where an event is now, and what happened to it."""

from pombo.ops.trace.places import Place, Trace
from pombo.ops.trace.search import Search
from pombo.ops.trace.spooled import find_spooled

__all__ = ["Place", "Search", "Trace", "find_spooled"]
