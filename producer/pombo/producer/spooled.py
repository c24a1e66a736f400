"""What the cores know of a spool; the spool itself is in `spool.py`, and imported only where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

OVERHEAD = 72
"""Bytes that an event costs in the spool beside its body: measured, rounded up."""
UNKNOWN_SOURCE = "unknown_source"
"""What a source of the spool is stuck for: the registry has no such source."""
BACKLOG_FULL = "backlog_full"
"""The same: its backlog in Redis is at its limit."""
NO_LEDGER = "no_ledger"
"""The same: the registry has it, but Redis has lost its ledger."""
UNREADABLE = "unreadable_source"
"""The same: a newer pombo has stored its settings."""


class Eventlike(Protocol):
    """An event as far as appends and spools look."""

    @property
    def body(self) -> bytes:
        """Its bytes, as Segment will get them."""
        ...

    @property
    def type(self) -> str:
        """Segment's type."""
        ...

    @property
    def hash(self) -> int:
        """The hash of its ordering key."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """Under which token events went to which incarnation of their source, with an unknown outcome."""

    session: str
    sequence: int
    incarnation: str


class Holding(NamedTuple):
    """What the spool holds of one source, and what keeps it there, if not the weather."""

    events: int
    stuck: str | None = None


class Shelf(Protocol):
    """The spool, as a producer's core writes to it."""

    def holding(self, source: str) -> Holding | None:
        """Tell whether events of a source are in the spool, whoever put them there; never raises.

        It runs before every flush and reads memory: some microseconds.
        """
        ...

    def put(
        self,
        source: str,
        events: Sequence[Eventlike],
        *,
        limit: int,
        wait_s: float,
        sent: Sent | None = None,
        sent_events: int = 0,
    ) -> int:
        """Keep the oldest of the events that fit into `limit` bytes; return how many, once they are on the disk.

        The first `sent_events` went out as `sent`, and are kept together or not at all.

        Raises:
            SpoolError: none could be kept.
        """
        ...

    def tell(self, source: str, why: str) -> None:
        """Log that events of a source are spooled, and why: once until the spool is empty again."""
        ...
