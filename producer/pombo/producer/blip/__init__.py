"""Blip: what its data webhook sends, as events in Segment's form.

Pure: an item and a source's options give the events, or `UnknownItem`. What becomes what is in `docs/blip.md`.
"""

from pombo.producer.blip.adapter import Explained, adapt, explain
from pombo.producer.blip.kinds import Kind
from pombo.producer.blip.options import BlipOptions

__all__ = ["BlipOptions", "Explained", "Kind", "adapt", "explain"]
