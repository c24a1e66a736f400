"""Letter views: one dead letter as its page shows it, with values or without."""

import difflib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from pombo.ops import wording
from pombo.ops.console.cutjson import shallow, unturned
from pombo.ops.console.masking import masked_event
from pombo.shared.deadletters import Attempt, DeadLetter
from pombo.shared.deadletters.kind import normalised
from pombo.shared.errors import InvalidEvent

LOCKED: Final = ("messageId", "timestamp")
"""By these Segment knows an event again: they are not in the form."""
MOST_CHANGES: Final = 30
"""Names of changed members that the trail is told."""
_INDENT: Final = orjson.OPT_INDENT_2


@dataclass(frozen=True, slots=True)
class LetterView:
    """A letter, and whether what it says of people is shown."""

    letter: DeadLetter
    revealed: bool = False

    @property
    def payload(self) -> Any:
        """The event; a text for what is none, which may be shown to those alone who see everything."""
        if self.letter.event:
            shown = shallow(self.letter.event)
            return shown if self.revealed else masked_event(shown)
        if not self.revealed:
            return f"{wording.size(len(self.letter.payload))} that are no event"
        return self.letter.show()["payload"]

    @property
    def answer(self) -> str | None:
        """Segment's last answer: as it came, else without numbers, ids and quoted values."""
        return self.letter.header.answer if self.revealed else self.letter.kind.answer

    @property
    def attempts(self) -> list[Attempt]:
        """The history, the latest first."""
        return [self._attempt(one) for one in reversed(self.letter.header.history)]

    def _attempt(self, one: Attempt) -> Attempt:
        shown = one.copy()
        if "note" in one and not self.revealed:
            shown["note"] = normalised(one["note"])
        return shown

    @property
    def earlier(self) -> int:
        """Attempts of which no more than the number is known."""
        return max(0, self.letter.header.attempts - len(self.letter.header.history))

    @property
    def editable(self) -> bool:
        """Whether there is one event to edit."""
        return self.letter.events == 1 and self.letter.header.reason != "corrupt"

    @property
    def draft(self) -> str:
        """The event for the form: all but what is locked."""
        if self.letter.event:
            # Of one that is nested too deep to be written anew, all as it is.
            with suppress(orjson.JSONEncodeError):
                return indented(_open(self.letter.event))
        shown = self.letter.show()
        return shown["payload"] if shown["payload_encoding"] == "text" else ""

    @property
    def locked(self) -> dict[str, str]:
        """What is locked, with its values."""
        return {name: str(self.letter.event[name]) for name in LOCKED if name in self.letter.event}


def parsed(text: str) -> dict[str, Any]:
    """The event that a form holds.

    Raises:
        InvalidEvent: it is no JSON object; the message says where.
    """
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidEvent("", "invalid_json", f"this is no JSON: {error.msg} ({place})") from None
    if not isinstance(event, dict):
        raise InvalidEvent("", "invalid_json", "this is no JSON object: an event stands in { }")
    return event


def indented(value: Any, options: int = 0) -> str:
    """JSON for people."""
    return unturned(orjson.dumps(value, option=_INDENT | options).decode())


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines by which two events differ, as (`+`, `-` or ` `, text), without what is locked.

    Some lines around them are told, too; `…` is what lies between.
    """
    before, after = (indented(shallow(_open(event)), orjson.OPT_SORT_KEYS).splitlines() for event in (old, new))
    _, *lines = [*difflib.unified_diff(before, after, n=2, lineterm="")][2:] or [""]
    return [(" ", "…") if line.startswith("@@") else (line[:1], line[1:]) for line in lines]


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The paths of members that differ, without their values; not what is locked."""
    return [*dict.fromkeys(_changes(_open(old), _open(new), ""))][:MOST_CHANGES]


def _open(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in LOCKED}


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from _changes(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{path}.{name}" if path else name)
    elif old != new:
        yield path


_ABSENT: Final = object()
