from datetime import UTC, datetime
from math import inf, isnan, nan

import pytest

from pombo.producer.quickbot.numerals import epoch_ms, length_of, number_of


def same(one: float, other: float) -> bool:
    """Equal, or both no number."""
    return one == other or (isnan(one) and isnan(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0), ("  \n", 0), ("\ufeff7\u00a0", 7), ("42", 42), ("-5", -5), ("+5", 5), (".5", 0.5), ("5.", 5),
        ("1e3", 1000), ("1E-2", 0.01), ("0x10", 16), ("0XfF", 255), ("0b11", 3), ("0o17", 15), ("00012", 12),
        ("Infinity", inf), ("-Infinity", -inf), ("1e400", inf), ("0x" + "f" * 300, inf),
        ("-0x1", nan), ("0x", nan), ("0b2", nan), ("1_000", nan), ("1,5", nan), ("infinity", nan), ("nan", nan),
        ("12abc", nan), ("1e", nan), (".", nan), ("٣", nan), ("\x1c5", nan), ("--1", nan),
    ],
)  # fmt: skip
def test_numbers(text: str, expected: float) -> None:
    """A text is the number that `Number()` makes of it (each row is what node answers)."""
    assert same(expected, number_of(text))


def at(*parts: int) -> float:
    """A moment of UTC in milliseconds."""
    return datetime(*parts, tzinfo=UTC).timestamp() * 1000  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", at(2024, 1, 1)),
        ("2024-03", at(2024, 3, 1)),
        ("2024-03-04", at(2024, 3, 4)),
        ("2024-3-4", at(2024, 3, 4)),
        ("2024-03-04T05:06", at(2024, 3, 4, 5, 6)),
        ("2024-03-04T05:06:07Z", at(2024, 3, 4, 5, 6, 7)),
        ("2024-03-04T05:06:07.089Z", at(2024, 3, 4, 5, 6, 7) + 89),
        ("2024-03-04T05:06:07.0899999Z", at(2024, 3, 4, 5, 6, 7) + 89),
        ("2024-03-04T05:06:07+03:00", at(2024, 3, 4, 2, 6, 7)),
        ("2024-03-04T05:06:07-0330", at(2024, 3, 4, 8, 36, 7)),
        ("2024-03-04 05:06", at(2024, 3, 4, 5, 6)),
        ("2024-03-04T24:00:00Z", at(2024, 3, 5)),
        ("2024-02-30", at(2024, 3, 1)),
        ("3/4/2024", at(2024, 3, 4)),
        ("03/04/2024 05:06:07", at(2024, 3, 4, 5, 6, 7)),
        ("Dec 17, 1995", at(1995, 12, 17)),
        ("December 17, 1995 03:24:00", at(1995, 12, 17, 3, 24)),
        ("17 Dec 1995", at(1995, 12, 17)),
        ("Mon, 25 Dec 1995 13:30:00 GMT", at(1995, 12, 25, 13, 30)),
        ("Mon, 25 Dec 1995 13:30:00 +0430", at(1995, 12, 25, 9)),
        (" 2024-03-04 ", at(2024, 3, 4)),
        ("2024-13-01", nan),
        ("2024-01-32", nan),
        ("2024-01-00", nan),
        ("25:00", nan),
        ("2024-01-01T25:00:00Z", nan),
        ("2024-01-01T24:00:01Z", nan),
        ("2024-01-01T10:60:00Z", nan),
        ("hello", nan),
        ("", nan),
        ("2" * 100, nan),
    ],
)
def test_dates(text: str, expected: float) -> None:
    """A text is the moment that `Date.parse()` makes of it in UTC (each row is what node answers)."""
    assert same(expected, epoch_ms(text))


def test_lengths() -> None:
    """A character outside the basic plane has two units."""
    assert [0, 3, 2] == [length_of(text) for text in ("", "abc", "😀")]
