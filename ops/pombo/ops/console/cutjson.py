"""Cut JSON: serialised events of which only the beginning was kept, and values made fit to be shown."""

import re
from typing import Any, Final

import orjson

LEVELS: Final = 100
"""Of lists and objects within each other, shown; what writes JSON knows 254, what reads it more."""
DEEPER: Final = "… (nested deeper)"
_TURNS: Final = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that change the direction of what stands behind them, up to the end of the paragraph."""
_CLOSERS: Final = {"{": "}", "[": "]"}


def parsed(body: bytes) -> Any:
    """A serialised event, also when it was cut off: what is whole of it.

    Raises:
        ValueError: it is no JSON, whole or cut.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        return orjson.loads(completed(body.decode("utf-8", "ignore")))


def completed(text: str) -> str:
    """A JSON text that was cut off, up to its last whole value, with what was open closed; "" when none is whole."""
    open_, whole, inside, escaped = "", (0, ""), False, False
    for place, character in enumerate(text):
        if inside:
            inside, escaped = escaped or character != '"', not escaped and character == "\\"
        elif character == '"':
            inside = True
        elif character in _CLOSERS:
            open_ += character
            whole = place + 1, open_
        elif character in "}]":
            open_ = open_[:-1]
            whole = place + 1, open_
        elif character == ",":
            whole = place, open_
    end, still = whole
    return text[:end] + "".join(_CLOSERS[one] for one in reversed(still))


def shallow(value: Any, levels: int = LEVELS) -> Any:
    """The value with a word in the place of what is nested deeper than that many levels."""
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        return DEEPER
    if isinstance(value, list):
        return [shallow(member, levels - 1) for member in value]
    return {name: shallow(member, levels - 1) for name, member in value.items()}


def unturned(text: str) -> str:
    """A JSON text with its marks of direction as escapes: the same JSON, which can turn nothing around on a screen."""
    return _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
