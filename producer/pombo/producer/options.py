"""How a producer behaves; the same for threads and for asyncio."""

import re
from dataclasses import dataclass
from typing import Literal

from pombo.shared.errors import ConfigurationError

WhenFull = Literal["reject", "block"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Options:
    """One producer's source, time budget and bounds.

    Raises:
        ConfigurationError: a value cannot be used; the message says which.
    """

    source: str = "default"
    budget_s: float = 1.0
    """Seconds from an event's entry into the buffer to its outcome."""
    linger_s: float = 0.002
    """Seconds that an event waits for others, to share a round trip."""
    buffer_events: int = 10_000
    """Events without an outcome that the process holds at most."""
    buffer_bytes: int = 32 << 20
    """Their serialised bytes."""
    when_full: WhenFull = "reject"
    """At a full buffer or backlog: refuse at once, or wait `block_timeout_s` for room."""
    block_timeout_s: float | None = None
    """Seconds to wait for room; default: the budget."""
    spool_bytes: int = 1 << 30
    """Bytes that the spool's folder may hold (`POMBO_SPOOL_DIR`), events and what keeping them costs."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.source):
            raise ConfigurationError(
                f"source {self.source!r} is no name; use up to 64 letters, digits, '_', '.' and '-'"
            )
        if self.when_full not in {"reject", "block"}:
            raise ConfigurationError(f"when_full is {self.when_full!r}; use 'reject' or 'block'")
        for name, value in (
            ("budget_s", self.budget_s),
            ("buffer_events", self.buffer_events),
            ("buffer_bytes", self.buffer_bytes),
            ("spool_bytes", self.spool_bytes),
        ):
            if not value > 0:
                raise ConfigurationError(f"{name} is {value!r}; make it more than 0")
        if self.linger_s < 0 or (self.block_timeout_s or 0) < 0:
            raise ConfigurationError("linger_s and block_timeout_s are seconds; make them 0 or more")

    @property
    def blocks(self) -> bool:
        """Whether full means waiting."""
        return self.when_full == "block"

    @property
    def patience_s(self) -> float:
        """Seconds to wait for room: 0 unless full means waiting."""
        if not self.blocks:
            return 0.0
        return self.budget_s if self.block_timeout_s is None else self.block_timeout_s
