"""Numerals and dates in texts, read as JavaScript's `Number()` and `Date.parse` read them.

Where `Date.parse` takes the machine's zone, this takes UTC. Of the many other forms that engines accept, it knows
`M/D/YYYY`, `Month D, YYYY` and `D Month YYYY`, each with an optional weekday, time and zone.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

_SPACE = "\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_TRIMMED = re.compile(f"^[{_SPACE}]+|[{_SPACE}]+$")
_DECIMAL = re.compile(r"[+-]?(?:Infinity|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)")
_RADIX = {"0x": (16, re.compile("[0-9a-fA-F]+")), "0o": (8, re.compile("[0-7]+")), "0b": (2, re.compile("[01]+"))}

_TIME = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<part>[0-9]{1,9}))?)?"
_ZONE = r"(?P<zone>Z|GMT|UTC|(?:GMT|UTC)?[+-][0-9]{2}:?[0-9]{2})"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<named>(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?)"
_DAY = r"(?P<day>[0-9]{1,2})"
_YEAR = r"(?P<year>[0-9]{4})"
_REST = rf"(?:,? +{_TIME}(?: *{_ZONE})?)?"
_WEEKDAY = r"(?:(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat)[a-z]{0,6},? +)?"
_DATES = tuple(
    re.compile(form, re.IGNORECASE | re.ASCII)
    for form in (
        rf"{_YEAR}(?:-(?P<month>[0-9]{{2}})(?:-{_DAY})?)?(?:T{_TIME}{_ZONE}?)?",
        rf"{_YEAR}-(?P<month>[0-9]{{1,2}})-{_DAY}{_REST}",
        rf"(?P<month>[0-9]{{1,2}})/{_DAY}/{_YEAR}{_REST}",
        rf"{_WEEKDAY}{_MONTH} +{_DAY}(?:, *| +){_YEAR}{_REST}",
        rf"{_WEEKDAY}{_DAY} +{_MONTH},? +{_YEAR}{_REST}",
    )
)
_LONGEST = 64
"""Characters of a date; longer texts are none."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number_of(text: str) -> float:
    """The number that a text is: 0 for a blank one, NaN for none."""
    trimmed = _TRIMMED.sub("", text)
    if not trimmed:
        return 0.0
    radix = _RADIX.get(trimmed[:2].lower())
    if radix is not None:
        return _whole(trimmed[2:], *radix)
    return float(trimmed.replace("Infinity", "inf")) if _DECIMAL.fullmatch(trimmed) else nan


def epoch_ms(text: str) -> float:
    """The moment that a text is, in milliseconds since 1970; NaN for none."""
    trimmed = _TRIMMED.sub("", text)
    if len(trimmed) > _LONGEST:
        return nan
    for form in _DATES:
        found = form.fullmatch(trimmed)
        if found is not None:
            return _milliseconds(found.groupdict())
    return nan


def length_of(text: str) -> int:
    """Its length in UTF-16 units, as JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def trimmed(text: str) -> str:
    """The text without what JavaScript's `trim` takes off its ends."""
    return _TRIMMED.sub("", text)


def _whole(digits: str, base: int, form: re.Pattern[str]) -> float:
    if form.fullmatch(digits) is None:
        return nan
    try:
        return float(int(digits, base))
    except OverflowError:
        return inf


def _milliseconds(parts: dict[str, str | None]) -> float:
    named = (parts.get("named") or "")[:3].lower()
    month = _MONTHS.index(named) + 1 if named else int(parts.get("month") or 1)
    day, hour, minute, second = (int(parts[name] or 0) for name in ("day", "hour", "minute", "second"))
    thousandths = int((parts["part"] or "0")[:3].ljust(3, "0"))
    clock = timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=thousandths)
    if day > 31 or minute > 59 or second > 59 or clock > timedelta(days=1) or (parts["day"] and day < 1):
        return nan
    try:
        # As engines do: the 31st of a shorter month is a day of the next one.
        month_start = datetime(int(parts["year"] or 0), month, 1, tzinfo=_zone(parts["zone"]))
        return (month_start + timedelta(days=max(day, 1) - 1) + clock - _EPOCH) / timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return nan


def _zone(text: str | None) -> timezone:
    digits = re.sub("[^0-9+-]", "", text or "")
    if not digits:
        return UTC
    offset = timedelta(hours=int(digits[1:3]), minutes=int(digits[3:5]))
    return timezone(-offset if digits[0] == "-" else offset)
