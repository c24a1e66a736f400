"""What bots import: enqueue events for Segment, durably, without waiting and without losing any unsaid."""

from pombo.producer.aclient import AsyncProducer
from pombo.producer.client import Producer
from pombo.producer.receipts import Accepted, Receipt, Rejected, Spooled

__all__ = ["Accepted", "AsyncProducer", "Producer", "Receipt", "Rejected", "Spooled"]
