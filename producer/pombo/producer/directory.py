"""The producer's copy of its source's settings."""

import math
from typing import TYPE_CHECKING

from pombo.producer.steps import Ask, Flow
from pombo.shared.clock import Clock
from pombo.shared.keys import Keys

if TYPE_CHECKING:
    from pombo.shared.sources import Source

FRESH_S = 5.0
"""Seconds for which a copy is taken as it is."""


class Directory:
    """Read one source from the registry, at most every 5 s, or at once after `forget`.

    It compares the stored bytes instead of watching the registry's version: that is one command for either,
    and other sources' changes cost nothing.
    """

    def __init__(self, keys: Keys, source: str, clock: Clock) -> None:
        self._keys = keys
        self._name = source
        self._clock = clock
        self._stored: bytes | None = None
        self._source: Source | None = None
        self._read_at = -math.inf

    def forget(self) -> None:
        """Read again at the next look."""
        self._read_at = -math.inf

    def look(self, timeout_s: float) -> "Flow[Source | None]":
        """Return the source, or None if the registry holds no such source; an absent one is read each time.

        Raises:
            StoredVersionError: another version of pombo wrote it.
        """
        if self._source is not None and self._clock.monotonic() - self._read_at < FRESH_S:
            return self._source
        from pombo.shared.sources import Source

        stored = yield Ask(("HGET", self._keys.sources, self._name), timeout_s)
        if stored is None:
            self._source = None
        elif self._source is None or stored != self._stored:
            self._source = Source.load(self._name, stored)
        self._stored = stored
        self._read_at = self._clock.monotonic()
        return self._source
