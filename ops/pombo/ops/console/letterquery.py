"""Letter queries: the filter of dead letters as a URL carries it; whom it is about only sealed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from pombo.ops.amounts import parse_since
from pombo.ops.console.people import People
from pombo.ops.console.rendering import url
from pombo.shared.deadletters import REASONS, Filter
from pombo.shared.errors import ConfigurationError

NAMES: Final = ("source", "reason", "event", "user", "message_id", "since", "until", "group")
"""Of a query's parts; those of a filter, too."""
SEALED: Final = "who"
"""The part in which a URL carries `user`."""
LONGEST: Final = 1000
"""Characters of one part."""
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Redis knows no earlier moment."""
_MOMENT: Final = "no moment; give a span such as 45m, 2h or 3d, or a date (2026-11-21T19:00, in UTC unless it says so)"


@dataclass(frozen=True, slots=True)
class LetterQuery:
    """What was asked: as it was written, and the filter that it makes."""

    given: Mapping[str, str]
    """The parts that are not empty."""
    wanted: Filter
    """Of the parts that can be understood."""
    errors: Mapping[str, str]
    """What is wrong with the others."""
    now: datetime
    """When it was asked, by the clock of the letters' Redis."""
    people: People
    """What seals whom it is about."""

    @classmethod
    def parse(cls, asked: Mapping[str, Any], sources: Collection[str], now: datetime, people: People) -> Self:
        """Read the query of a URL, or a form's fields, of which others are passed over."""
        told = {name: str(asked.get(name, "")).strip()[:LONGEST] for name in NAMES}
        given = {name: value for name, value in told.items() if value}
        errors: dict[str, str] = {}
        if asked.get(SEALED) and "user" not in given:
            person = people.open(str(asked[SEALED]))
            if person:
                given["user"] = person[:LONGEST]
            else:
                errors["user"] = "this link no longer tells of whom; give the id again"
        values: dict[str, Any] = dict(given)
        for name in values.keys() & {"since", "until"}:
            try:
                values[name] = _moment(values[name], now)
            except ConfigurationError:
                errors[name] = _MOMENT
        if values.get("reason", REASONS[0]) not in REASONS:
            errors["reason"] = "no such reason"
        if "source" in values and values["source"] not in sources:
            errors["source"] = "no source has this name"
        sound = {name: value for name, value in values.items() if name not in errors}
        return cls(given, Filter(**sound), errors, now, people)

    @property
    def carried(self) -> dict[str, str]:
        """The parts as a URL, or a form that becomes one, carries them."""
        told = {name: value for name, value in self.given.items() if name != "user"}
        return told | ({SEALED: self.people.seal(self.given["user"])} if "user" in self.given else {})

    def url(self, path: str = "/dead", **other: Any) -> str:
        """The path with this query; `other` adds parts, or takes them out with None."""
        return url(path, **{**self.carried, **other})

    def until(self, end: datetime) -> "LetterQuery":
        """The same for letters that died before `end`; moments are no longer relative to now."""
        bound = end if self.wanted.until is None else min(end, self.wanted.until)
        moments = {"until": bound.isoformat()}
        if self.wanted.since is not None:
            moments["since"] = self.wanted.since.isoformat()
        return replace(self, given={**self.given, **moments}, wanted=replace(self.wanted, until=bound))

    @property
    def searches(self) -> bool:
        """Whether it asks for more than a source."""
        return bool(self.given.keys() - {"source"})


def _moment(text: str, now: datetime) -> datetime:
    """A moment: a span before now, or a date, in UTC unless it says so."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = parse_since(text, now)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    if at <= _FIRST:
        raise ConfigurationError(f"{text!r} is before there were letters")
    return at
