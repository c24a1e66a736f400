"""QuickBot (and Typebot): the Segment block of a flow, without the platform."""

from pombo.producer.quickbot.block import SegmentBlock
from pombo.producer.quickbot.conditions import Condition
from pombo.producer.quickbot.flow import Flow
from pombo.producer.quickbot.request import adapt
from pombo.producer.quickbot.variables import Variables

__all__ = ["Condition", "Flow", "SegmentBlock", "Variables", "adapt"]
