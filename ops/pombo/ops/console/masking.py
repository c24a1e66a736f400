"""Masking: an event's shape without what it says of a person, for whoever did not ask to see more."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pombo.shared.values import instant

MASK: Final = "•••"
OPEN: Final = frozenset({"messageId", "type", "event"})
"""Of an event, what names no person; its timestamp too, where it is one."""
_PRIVATE_NAME: Final = re.compile(r"@|\d{5}")
"""A member's name that may itself be somebody's number or address."""


def masked_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event with masks in the place of values; of a text its length stays, of all their kinds."""
    return {_name(name): _member(name, value) for name, value in event.items()}


def _member(name: str, value: Any) -> Any:
    if (name in OPEN and isinstance(value, str)) or (name == "timestamp" and _is_instant(value)):
        return value
    return masked(value)


def masked(value: Any) -> Any:
    """A JSON value with masks in the place of all but null."""
    if isinstance(value, Mapping):
        return {_name(name): masked(member) for name, member in value.items()}
    if isinstance(value, list):
        return [masked(member) for member in value]
    if value is None:
        return None
    if isinstance(value, bool):
        return f"{MASK} (boolean)"
    return f"{MASK} (text, {len(value):,})" if isinstance(value, str) else f"{MASK} (number)"


def _name(name: str) -> str:
    return MASK if _PRIVATE_NAME.search(name) else name


def _is_instant(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return instant(value) is not None
    except (TypeError, ValueError, OverflowError):
        return False
