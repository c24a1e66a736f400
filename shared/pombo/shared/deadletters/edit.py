"""Repairing the event of a dead letter, so that it can be sent again under its own messageId and timestamp."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pombo.shared.deadletters.letter import DeadLetter
from pombo.shared.errors import InvalidEvent, RedriveError
from pombo.shared.prepared import prepare
from pombo.shared.shapes import MAX_MESSAGE_ID
from pombo.shared.values import instant


def edited(letter: DeadLetter, event: Mapping[str, Any]) -> DeadLetter:
    """The letter with another event in it, checked like a producer's; `redrive_page` then moves it in one step.

    Its messageId and timestamp stay, or Segment could not tell that it has the event already: left out, they are put
    back. Only where the letter has none that is sound, one is made: the timestamp is then when it was accepted. It
    stays in its partition, whoever its user is now.

    Raises:
        InvalidEvent: Segment would drop the event, or one of the two is another; the error names the field.
        RedriveError: the letter is a whole record batch that cannot be read, and not one event.
    """
    if letter.events != 1 or letter.header.reason == "corrupt":
        raise RedriveError(f"dead letter {letter.id} is a record batch that cannot be read; there is no event to edit")
    kept = {name: letter.event[name] for name in ("messageId", "timestamp") if _is_sound(name, letter.event)}
    given = {_SPELLINGS.get(name, name): value for name, value in event.items()}
    for name, value in kept.items():
        if name in given and not _same(name, given[name], value):
            raise InvalidEvent(name, f"{name}_changed", f"{name} must stay {value!r}: by it Segment knows the event")
    now = letter.accepted or letter.died_at
    prepared = prepare({**given, **kept}, now=now.astimezone(UTC), strict=False)
    return replace(letter, payload=prepared.body, repaired=True)


_SPELLINGS = {"message_id": "messageId"}


def _is_sound(name: str, event: Mapping[str, Any]) -> bool:
    value = event.get(name)
    if name == "messageId":
        return isinstance(value, str) and 0 < len(value) <= MAX_MESSAGE_ID
    return _instant(value) is not None


def _same(name: str, given: object, kept: object) -> bool:
    if given == kept or name == "messageId":
        return given == kept
    moment = _instant(given)
    return moment is not None and moment == _instant(kept)


def _instant(value: object) -> datetime | None:
    try:
        return instant(value)
    except (TypeError, ValueError, OverflowError):
        return None
