"""Reading an item: its fields by type, or `UnknownItem` with the field's name and no value of the item."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pombo.producer.adapted import UnknownItem
from pombo.shared.errors import InvalidEvent
from pombo.shared.values import MAX_DEPTH, clean, dumps, instant, is_plain

_DEEPER = 4
"""Levels that an item's values may gain on their way into an event."""
_YEAR_0, _YEAR_9999 = 0, 253_402_300_800
"""Seconds since 1970 within which a moment is believed: .NET's empty date is in the year 1."""


class Skip(NamedTuple):
    """Why a known item makes no event."""

    reason: str


def sound(item: object) -> dict[str, Any]:
    """An item whose every value can be written as JSON within an event.

    Raises:
        UnknownItem: it is no object, or holds what JSON cannot carry, or is nested too deep.
    """
    if not isinstance(item, Mapping):
        raise UnknownItem(f"an item is a JSON object, not {type(item).__name__}; send one item a request")
    with suppress(Exception):  # Whatever the quick look stumbles over is named by the thorough one.
        plain = item if type(item) is dict else dict(item)
        if is_plain(plain, 1 + _DEEPER):
            dumps(plain)
            return plain
    return _cleaned(item)


def _cleaned(item: object) -> dict[str, Any]:
    try:
        cleaned = clean(item, "item", 1 + _DEEPER)
        dumps(cleaned)
    except InvalidEvent as refusal:
        where = refusal.field.removeprefix("item").removeprefix(".")
        depth = f" ({MAX_DEPTH - _DEEPER} levels are the most)" if refusal.code == "nested_too_deep" else ""
        raise UnknownItem(refusal.message + depth, where) from None
    except Exception as error:
        raise UnknownItem(f"the item cannot be read ({type(error).__name__}); send it as plain JSON") from None
    return dict(cleaned)


def text(item: Mapping[str, Any], field: str, *, of: str) -> str:
    """A text that has to be there and not empty; `of` calls the item for the refusal."""
    value = optional_text(item, field, of=of)
    if value is None:
        raise UnknownItem(f"this {of} has no {field}, which Blip always sends; see what calls this URL", field)
    return value


def optional_text(item: Mapping[str, Any], field: str, *, of: str) -> str | None:
    """A text that may be absent, null or empty: None then."""
    value = item.get(field)
    if value is not None and not isinstance(value, str):
        raise UnknownItem(f"{field} of this {of} is {type(value).__name__}, not a text; see what calls this URL", field)
    return value or None


def optional_object(item: Mapping[str, Any], field: str, *, of: str) -> dict[str, Any]:
    """An object that may be absent or null: an empty one then."""
    value = item.get(field)
    if value is not None and not isinstance(value, dict):
        raise UnknownItem(
            f"{field} of this {of} is {type(value).__name__}, not an object; see what calls this URL", field
        )
    return value or {}


def moment(*candidates: object) -> datetime | None:
    """The first that is a moment since 1970: ISO 8601, without a zone in UTC."""
    for value in candidates:
        try:
            found = instant(value)
        except (TypeError, ValueError, OverflowError):
            continue
        if _YEAR_0 <= found.timestamp() < _YEAR_9999:
            return found
    return None


def epoch(value: object, per_second: int) -> datetime | None:
    """A moment counted since 1970, as a text of digits or a number, in units of which `per_second` are a second."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = (int(value) if isinstance(value, str) else value) / per_second
        return datetime.fromtimestamp(seconds, UTC) if _YEAR_0 < seconds < _YEAR_9999 else None
    except (ValueError, OverflowError, OSError):
        return None
