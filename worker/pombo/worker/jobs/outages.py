"""Outages of sources as the scheduler follows them; pure functions of what it sees."""

from dataclasses import asdict, dataclass, replace
from typing import Self

import orjson

from pombo.shared.flow import Flow

SETTLED_MS = 60_000
"""For which a source has to be well before its outage counts as over: a breaker may open again soon."""
RECENT_MS = 300_000
"""Within which a source has to have delivered something when it begins to be well."""


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage that is not over yet; times are in ms of the clock of the source's Redis."""

    began: int
    """When the breaker opened first."""
    broken: int
    """When it was last seen open."""
    well_since: int | None = None
    """Since when the source has been seen well."""

    @classmethod
    def load(cls, stored: bytes | None) -> Self | None:
        """Read what `dump` wrote; None for nothing, and for what another version wrote."""
        try:
            return cls(**orjson.loads(stored)) if stored else None
        except (ValueError, TypeError):
            return None

    def dump(self) -> bytes:
        """The JSON that is stored."""
        return orjson.dumps(asdict(self))

    def over(self, now: int) -> bool:
        """Whether the source has been well for long enough."""
        return self.well_since is not None and now - self.well_since >= SETTLED_MS


def followed(outage: Outage | None, flow: Flow) -> Outage | None:
    """An outage after one more look at its source; None when there is none."""
    if flow.broken_at is not None:
        began = flow.broken_at if outage is None else min(outage.began, flow.broken_at)
        return Outage(began, broken=flow.now)
    if outage is None:
        return None
    if flow.state != "active":
        return replace(outage, well_since=None)
    if outage.well_since is not None:
        return outage
    return replace(outage, well_since=flow.now) if delivers(outage, flow) else outage


def delivers(outage: Outage, flow: Flow) -> bool:
    """Whether the source delivered something since its breaker was seen open, and not long ago."""
    success = flow.last_success
    return success is not None and success > outage.broken and flow.now - success < RECENT_MS
