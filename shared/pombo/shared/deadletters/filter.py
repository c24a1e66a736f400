"""Filters: which dead letters are meant."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pombo.shared.deadletters.letter import DeadLetter, told

_EPOCH, _MS = datetime.fromtimestamp(0, UTC), timedelta(milliseconds=1)

OTHER = "other-"
"""How the fingerprint of a group begins that holds what died when there were too many groups."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant; what is None does not filter."""

    source: str | None = None
    reason: str | None = None
    event: str | None = None
    user: str | None = None
    """A userId or an anonymousId."""
    since: datetime | None = None
    """Died then or later."""
    message_id: str | None = None
    until: datetime | None = None
    """Died before then."""
    group: str | None = None
    """A group's fingerprint."""
    ids: frozenset[str] | None = None
    """Exactly these letters, by `source/ms-seq`."""

    def matches(self, letter: DeadLetter) -> bool:
        """Whether the letter is meant."""
        wanted = (
            (self.source, (letter.source,)),
            (self.reason, (letter.header.reason,)),
            (self.event, (told(letter.event.get("event")),)),
            (self.user, (told(letter.event.get("userId")), told(letter.event.get("anonymousId")))),
            (self.message_id, (told(letter.event.get("messageId")),)),
        )
        fits = all(value is None or value in found for value, found in wanted)
        fits = fits and (self.ids is None or letter.id in self.ids)
        fits = fits and (self.since is None or letter.died_at >= self.since)
        fits = fits and (self.until is None or letter.died_at < self.until)
        return fits and (self.group is None or letter.fingerprint == self.group)

    @property
    def start(self) -> str:
        """The stream id from which letters can match."""
        return "-" if self.since is None else f"{_milliseconds(self.since)}-0"

    @property
    def end(self) -> str:
        """The stream id before which letters can match, as a range's end; `+` for no bound."""
        return "+" if self.until is None else f"({_milliseconds(self.until)}-0"

    @property
    def sparse(self) -> bool:
        """Whether it asks for more than a time, so that most letters may be looked at in vain without a table."""
        asked = (self.reason, self.event, self.user, self.message_id, self.group)
        return any(value is not None for value in asked)

    @property
    def in_group(self) -> Self:
        """The same for letters whose group is known: in one for what is other, it does not follow from the letter."""
        other = self.group is not None and self.group.startswith(OTHER)
        return replace(self, group=None) if other else self

    def describe(self) -> dict[str, Any]:
        """It as JSON, dates in ISO 8601: what a job and a URL carry."""
        shown: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("since", "until"):
            shown[name] = shown[name] and shown[name].isoformat()
        return shown | {"ids": None if self.ids is None else sorted(self.ids)}

    @classmethod
    def parse(cls, described: Mapping[str, Any]) -> Self:
        """Read what `describe` wrote, or a part of it.

        Raises:
            ValueError: a date is none.
        """
        known = {one.name: described[one.name] for one in fields(cls) if described.get(one.name) is not None}
        for name in ("since", "until"):
            if name in known:
                known[name] = datetime.fromisoformat(known[name])
        if "ids" in known:
            known["ids"] = frozenset(known["ids"])
        return cls(**known)


ALL = Filter()


def _milliseconds(at: datetime) -> int:
    """The first millisecond since 1970 that is not before `at`: deaths are known to the millisecond."""
    return max(0, -((_EPOCH - at) // _MS))
