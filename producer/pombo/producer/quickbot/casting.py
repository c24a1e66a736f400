"""Casting: what becomes of the texts that a flow has for traits and properties.

A flow knows texts only, so `none`, the default, sends `"42"` and `"true"` as the platform itself does. `json` sends
a text that is JSON as what it says. Numbers beyond 2**53 - 1 stay text, as other languages would round them.
"""

from typing import Any, Literal, get_args

import orjson

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import clean

Cast = Literal["none", "json"]

_SAFE = 2**53 - 1


def read_cast(given: object) -> Cast:
    """Take a caller's word; raise `InvalidEvent` if it is none."""
    for cast in get_args(Cast):
        if given == cast:
            return cast  # type: ignore[no-any-return]
    raise InvalidEvent("cast", "cast_unknown", "cast is neither none nor json; leave it out to send texts")


def cast_value(value: Any, cast: Cast) -> Any:
    """A trait's or property's value as it is sent; what is no text stays as it is."""
    return _from_json(value) if cast == "json" and isinstance(value, str) else value


def _from_json(text: str) -> Any:
    try:
        value = orjson.loads(text)
        clean(value, "")
    except (orjson.JSONDecodeError, InvalidEvent):
        return text
    return text if isinstance(value, int | float) and abs(value) > _SAFE else value
