"""A spool as a bot leaves it on its machine's disk."""

from dataclasses import dataclass
from pathlib import Path

from pombo.producer.spool import Spool, spool_path
from support.stored import event

LIMIT = 1 << 20


@dataclass(frozen=True)
class SpooledEvent:
    """What a spool looks at of an event."""

    body: bytes
    type: str = "track"
    hash: int = 7


def spool_events(folder: Path, source: str, *message_ids: str, stuck: str | None = None) -> None:
    """Keep events of a source in a folder's spool, as a producer does while Redis is away."""
    spool = Spool(spool_path(folder, "pombo"))
    spool.put(source, [SpooledEvent(event(one)) for one in message_ids], limit=LIMIT, wait_s=5)
    if stuck:
        spool.stick(source, stuck)
    spool.rest()
