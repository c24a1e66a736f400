"""Values: what callers put into an event, and what JSON can carry of it.

| given | written |
|---|---|
| str | itself; the two halves of a cut emoji are joined, a lone half becomes U+FFFD; keys likewise |
| bool, None, list, dict and their subclasses | themselves |
| int | itself, from -2**63 to 2**64 - 1 |
| float, Decimal | a number, a Decimal with its own digits; refused: NaN, Infinity, overflow of a double |
| datetime | ISO-8601 in UTC with microseconds and `Z`; a naive one is taken as UTC |
| date, time, UUID | their ISO or canonical text |
| Enum | its value |
| tuple, other Mapping, dataclass, pydantic model | a list; an object |
| bytes, set, generator, timedelta, … | refused, as is a key that is no str, or nesting over `MAX_DEPTH` |

`is_plain` looks without changing, `clean` rewrites or refuses by path, `dumps` writes what either has passed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from math import isfinite
from types import NoneType
from typing import Any
from uuid import UUID

import orjson

from pombo.shared.errors import InvalidEvent

MAX_DEPTH = 100
"""Levels of objects and lists, the event itself being the first (orjson writes 254)."""

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
_MAX_PATH = 200
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_SCALARS = frozenset({str, int, bool, NoneType, UUID, datetime, date, Decimal})


def is_plain(container: dict[str, Any] | list[Any], depth: int = 1) -> bool:
    """Tell whether `dumps` writes a container as `clean` would, or raises; False means: not sure.

    orjson writes NaN as null and, up to 3.13.0, crashes on tuples nested some thousand levels deep: both are
    found here, and so are subclasses. Integers, keys and surrogates are left to orjson, which refuses them.
    """
    if depth > MAX_DEPTH:
        return False
    values: Iterable[Any] = container.values() if isinstance(container, dict) else container
    if _SCALARS.issuperset(map(type, values)):
        return True
    for value in values:
        kind = type(value)
        if kind in _SCALARS:
            continue
        if kind is float:
            if not isfinite(value):
                return False
        elif (kind is not dict and kind is not list) or not is_plain(value, depth + 1):
            return False
    return True


def dumps(value: object) -> bytes:
    """Write compact JSON on one line; raise `orjson.JSONEncodeError` for what orjson refuses."""
    return orjson.dumps(value, default=_text_of, option=_OPTIONS)


def clean(value: object, path: str, depth: int = 2) -> Any:
    """Copy a value into what `dumps` writes faithfully, or raise `InvalidEvent` with the culprit's path.

    `path` names the value in the refusal; `depth` is the level that a container would have, an event's fields
    having 2. The copy shares nothing mutable with the value. Of keys that mending makes equal the last stays.
    """
    cleaner = _CLEANERS.get(type(value))
    if cleaner is not None:
        return cleaner(value, path, depth)
    if isinstance(value, Enum):
        return clean(value.value, path, depth)
    for kind, cleaner in _CLEANERS.items():
        if isinstance(value, kind):
            return cleaner(value, path, depth)
    return clean(_unwrapped(value, path), path, depth)


def mend(text: str) -> str:
    """Join surrogate pairs into their character and turn lone surrogates into U+FFFD."""
    if text.isascii():
        return str.__str__(text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def stamp(moment: datetime) -> str:
    """Write an instant as ISO-8601 in UTC with microseconds and `Z`; a naive one is taken as UTC."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC) if moment.utcoffset() else moment.replace(tzinfo=UTC)
    return datetime.isoformat(moment, "T", "microseconds")[:-6] + "Z"


def written(moment: datetime) -> str | orjson.Fragment:
    """What `dumps` writes as `stamp(moment)`, four times as quickly for an instant that is now."""
    if moment.tzinfo is UTC and moment.microsecond:
        return orjson.Fragment(orjson.dumps(moment, option=orjson.OPT_UTC_Z))
    return stamp(moment)


def instant(given: object) -> datetime:
    """Read a datetime or an ISO-8601 text as an aware UTC datetime, a naive one as UTC.

    Raises TypeError for other types, ValueError or OverflowError for what is no such moment.
    """
    moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    if not isinstance(moment, datetime):
        raise TypeError(f"not a moment: {type(given).__name__}")
    return moment.astimezone(UTC) if moment.utcoffset() else moment.replace(tzinfo=UTC)


def member(path: str, key: str) -> str:
    """The path of an object's member: dotted where the key reads like a name, else bracketed and quoted."""
    return f"{path}.{key}" if key.replace("-", "_").isidentifier() else f'{path}["{key}"]'


def shortened(path: str) -> str:
    """Cut a path or key that is too long to show."""
    return path if len(path) <= _MAX_PATH else path[: _MAX_PATH - 1] + "…"


def _text_of(value: object) -> str | orjson.Fragment:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal) and _fits_double(value):
        return orjson.Fragment(Decimal.__str__(value))
    raise TypeError(f"not JSON: {type(value).__name__}")


def _fits_double(number: Decimal) -> bool:
    return number.is_finite() and isfinite(float(number))


def _refusal(path: str, code: str, complaint: str) -> InvalidEvent:
    shown = shortened(path)
    return InvalidEvent(shown, code, f"{shown} {complaint}")


def _clean_text(value: str, path: str, depth: int) -> str:
    return mend(value)


def _as_it_is(value: object, path: str, depth: int) -> object:
    return value


def _clean_int(value: int, path: str, depth: int) -> int:
    number = int.__int__(value)
    if not _MIN_INT <= number <= _MAX_INT:
        raise _refusal(path, "number_out_of_range", "is an integer of more than 64 bits; send it as a string")
    return number


def _clean_float(value: float, path: str, depth: int) -> float:
    number = float.__float__(value)
    if not isfinite(number):
        raise _refusal(path, "not_finite", "is NaN or infinite, which JSON cannot carry; leave it out or send None")
    return number


def _clean_decimal(value: Decimal, path: str, depth: int) -> Decimal:
    if not value.is_finite():
        raise _refusal(path, "not_finite", "is NaN or infinite, which JSON cannot carry; leave it out or send None")
    if not _fits_double(value):
        raise _refusal(path, "number_out_of_range", "does not fit a double; send it as a string")
    return Decimal(value)


def _clean_dict(value: dict[Any, Any], path: str, depth: int) -> dict[str, Any]:
    _check_depth(path, depth)
    return {key: clean(item, member(path, key), depth + 1) for key, item in _members(value, path)}


def _clean_sequence(value: list[Any] | tuple[Any, ...], path: str, depth: int) -> list[Any]:
    _check_depth(path, depth)
    return [clean(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(path, "nested_too_deep", f"is nested over {MAX_DEPTH} levels deep, or holds itself; flatten it")


def _members(value: dict[Any, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, item in dict.items(value):
        if not isinstance(key, str):
            raise _refusal(path, "key_not_string", f"has a key of type {type(key).__name__}; make its keys strings")
        yield mend(key), item


def _unwrapped(value: object, path: str) -> object:
    """Take one step towards plain values; whatever a caller's own class raises becomes a refusal."""
    from pydantic import BaseModel

    try:
        if isinstance(value, datetime):
            return stamp(value)
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, BaseModel):
            return value.model_dump(warnings=False)
        if is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in fields(value)}
    except Exception as error:
        raise _not_serialisable(value, path) from error
    raise _not_serialisable(value, path)


def _not_serialisable(value: object, path: str) -> InvalidEvent:
    complaint = f"is of type {type(value).__name__}, which JSON cannot carry; send a string, number, list or dict"
    return _refusal(path, "not_serialisable", complaint)


_CLEANERS: dict[type, Callable[[Any, str, int], Any]] = {
    str: _clean_text,
    bool: _as_it_is,
    int: _clean_int,
    float: _clean_float,
    NoneType: _as_it_is,
    dict: _clean_dict,
    list: _clean_sequence,
    tuple: _clean_sequence,
    Decimal: _clean_decimal,
}
