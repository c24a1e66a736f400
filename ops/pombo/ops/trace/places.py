"""Places: where an event can be, and what can be known of it there."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["spooled", "queued", "in_flight", "dead", "delivered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One place where an event was found; what is not known there is None. Instants are ISO 8601."""

    source: str
    state: Kind
    note: str | None = None
    """What follows from it, for people."""
    partition: int | None = None
    entry: str | None = None
    """Stream id of its record batch."""
    ahead: int | None = None
    """Events before it in its partition."""
    spooled_at: str | None = None
    accepted_at: str | None = None
    worker: str | None = None
    """Who holds the lease of its partition."""
    attempts: int | None = None
    """Sends of the request that it is in."""
    sent_at: str | None = None
    """The last of them."""
    unknown_since: str | None = None
    """The first send whose outcome is unknown."""
    failing_since: str | None = None
    letter: str | None = None
    """Id of the dead letter."""
    reason: str | None = None
    status: int | None = None
    answer: str | None = None
    """Segment's last answer."""
    died_at: str | None = None
    remembered_since: str | None = None
    """When those ids began to be taken in that it is remembered among: it was claimed then or later."""
    remembered_until: str | None = None
    """Before that its id is not forgotten, unless the ids that may be remembered run out."""

    def describe(self) -> dict[str, Any]:
        """The place as JSON: what is known."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Trace:
    """All places where an event was found."""

    message_id: str
    places: Sequence[Place]

    def describe(self) -> dict[str, Any]:
        """The JSON of `trace`."""
        places = [place.describe() for place in self.places]
        return {"message_id": self.message_id, "found": bool(places), "places": places}
