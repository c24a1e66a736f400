"""Amounts as people give them: spans of time, moments and sizes."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from pombo.shared.errors import ConfigurationError

_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SECONDS: Final = {"d": 86_400, "h": 3600, "m": 60}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS: Final = "kmgt"


def parse_span(text: str, option: str) -> float:
    """Read a span such as 45m, 2h, 3d, or a number of seconds; in seconds.

    Raises:
        ConfigurationError: it is neither; the message names the option.
    """
    span = _SPAN.fullmatch(text.strip())
    try:
        seconds = timedelta(**{_UNITS[span[2]]: float(span[1])}).total_seconds() if span else float(text)
    except (ValueError, OverflowError):
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise ConfigurationError(f"{option} {text!r} is no span; give one such as 45m, 2h, 30d, or seconds")
    return seconds


def parse_since(text: str, now: datetime | None = None, *, option: str = "--since") -> datetime:
    """Read a moment: ISO 8601 (without a zone: this machine's), or a span before now such as 45m, 2h, 3d.

    Raises:
        ConfigurationError: it is neither; the message names the option.
    """
    span = _SPAN.fullmatch(text.strip())
    try:
        if span:
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[span[2]]: float(span[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"{option} {text!r} is no moment; give ISO 8601 (2026-11-21T19:00) or a span such as 45m, 2h, 3d"
        ) from None


def span(seconds: float) -> str:
    """Seconds as `parse_span` reads them: `30d`, `2h`, `90`."""
    if seconds <= 0 or seconds % 60:
        return f"{seconds:g}" if seconds < 1e6 else repr(seconds)
    unit, size = next((unit, size) for unit, size in _SECONDS.items() if seconds % size == 0)
    return f"{seconds / size:.0f}{unit}"


def parse_size(text: str, option: str) -> int:
    """Read a size such as 256 MiB, 1.5 GB, or a number of bytes; in bytes.

    Raises:
        ConfigurationError: it is none; the message names the option.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(found[1]) > 18:
        raise ConfigurationError(f"{option} {text!r} is no size; give one such as 256 MiB, 1 GB, or bytes")
    power = _POWERS.index(found[2].lower()) + 1 if found[2] else 0
    return round(float(found[1]) * float(1024 if found[3] else 1000) ** power)


def size(count: int) -> str:
    """Bytes as `parse_size` reads them, without loss: `256 MiB`, `1500`."""
    for power in range(len(_POWERS), 0, -1):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power} {_POWERS[power - 1].upper()}iB"
    return str(count)
