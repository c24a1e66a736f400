"""Values: what is written for what is given, and the path and code of what cannot be."""

import math
import pickle
from collections import OrderedDict, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from time import tzset
from types import MappingProxyType
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from pombo.shared.errors import InvalidEvent
from pombo.shared.values import MAX_DEPTH, clean, dumps, instant, is_plain, mend, stamp

Point = namedtuple("Point", "x y")


class Money(Decimal):
    def __str__(self) -> str:
        return "R$ 5,00"


class Text(str):
    __slots__ = ()


class Real(float):
    pass


class Whole(int):
    pass


class Plan(StrEnum):
    GOLD = "gold"


class Level(IntEnum):
    HIGH = 3


class Mood(str, Enum):  # noqa: UP042 -- the older way of writing it, still common
    GOOD = "good"


class Odd(Enum):
    NAN = math.nan
    PAIR = (1, date(2026, 1, 2))
    SET = frozenset({1})


@dataclass
class Item:
    price: Decimal
    tags: tuple[str, ...] = ()
    _seen: bool = field(default=True)


class Person(BaseModel):
    name: str
    cpf: str = Field(default="529", exclude=True)


class Broken(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("away")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("away")

    def __len__(self) -> int:
        return 1


def nested(levels: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


def refusal(value: object) -> tuple[str, str]:
    with pytest.raises(InvalidEvent) as caught:
        clean(value, "p")
    return caught.value.field, caught.value.code


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("é", '"é"'),
        (Text("a"), '"a"'),
        (True, "true"),
        (None, "null"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (Whole(4), "4"),
        (0.1, "0.1"),
        (Real(1.5), "1.5"),
        (Decimal("19.90"), "19.90"),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("1E+5"), "1E+5"),
        (Money("5"), "5"),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (date(999, 1, 2), '"0999-01-02"'),
        (time(12, 30), '"12:30:00"'),
        (time(12, 30, tzinfo=UTC), '"12:30:00+00:00"'),
        (datetime(2026, 1, 2), '"2026-01-02T00:00:00.000000Z"'),
        (datetime(999, 1, 2, tzinfo=UTC), '"0999-01-02T00:00:00.000000Z"'),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(seconds=61))), '"2026-01-01T23:58:59.000000Z"'),
        (Plan.GOLD, '"gold"'),
        (Level.HIGH, "3"),
        (Mood.GOOD, '"good"'),
        (Odd.PAIR, '[1,"2026-01-02"]'),
        ((1, (2, [])), "[1,[2,[]]]"),
        (Point(1, 2), "[1,2]"),
        (OrderedDict(a=1), '{"a":1}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ({Mood.GOOD: 1, Text("b"): 2}, '{"good":1,"b":2}'),
        (Item(Decimal("1.0"), ("x",)), '{"price":1.0,"tags":["x"],"_seen":true}'),
        (Person(name="Ana"), '{"name":"Ana"}'),
    ],
)
def test_what_json_carries_is_written(value: object, expected: str) -> None:
    """Every supported type has one form in JSON."""
    assert expected == dumps(clean(value, "p")).decode()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, "not_finite"),
        (-math.inf, "not_finite"),
        (Real("nan"), "not_finite"),
        (Decimal("NaN"), "not_finite"),
        (Decimal("sNaN"), "not_finite"),
        (Decimal("-Infinity"), "not_finite"),
        (Odd.NAN, "not_finite"),
        (Decimal("1E+400"), "number_out_of_range"),
        (2**64, "number_out_of_range"),
        (-(2**63) - 1, "number_out_of_range"),
        (b"x", "not_serialisable"),
        ({1}, "not_serialisable"),
        (Odd.SET, "not_serialisable"),
        (timedelta(1), "not_serialisable"),
        (1j, "not_serialisable"),
        (object(), "not_serialisable"),
        (Item, "not_serialisable"),
        (Broken(), "not_serialisable"),
        (iter([1]), "not_serialisable"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "not_serialisable"),
        ({5: 1}, "key_not_string"),
    ],
)
def test_what_json_cannot_carry_is_refused(value: object, code: str) -> None:
    """A refusal is precise about the reason, at any depth and in any wrapper."""
    assert ("p", code) == refusal(value)
    assert ("p.items[1].price", code) == refusal({"items": ({}, {"price": value})})


def test_paths_quote_what_does_not_read_like_a_name() -> None:
    """Keys with blanks or dots are bracketed, surrogates mended, and endless paths cut."""
    assert refusal({"odd key": {"x-1": math.nan}}) == ('p["odd key"].x-1', "not_finite")
    assert refusal({"a\ud800.": math.nan}) == ('p["a\ufffd."]', "not_finite")
    assert 200 == len(refusal({"k" * 500: math.nan})[0])


@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: MappingProxyType({"a": v})]
)
def test_nesting_has_a_limit(wrap: Any) -> None:
    """The deepest nesting that is accepted is written, and one level more is refused."""
    deepest = clean(nested(MAX_DEPTH - 1, wrap), "p")

    assert is_plain({"p": deepest})
    assert dumps({"p": deepest})
    assert not is_plain({"p": nested(MAX_DEPTH, wrap)})
    assert "nested_too_deep" == refusal(nested(MAX_DEPTH, wrap))[1]
    assert "nested_too_deep" == refusal(nested(50_000, wrap))[1]


def test_circular_references_are_nesting_without_end() -> None:
    """What holds itself is refused instead of followed."""
    circle: dict[str, Any] = {}
    circle["self"] = [circle, circle]

    assert not is_plain(circle)
    assert "nested_too_deep" == refusal(circle)[1]


@pytest.mark.parametrize(
    ("cut", "mended"),
    [
        ("", ""),
        ("é", "é"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
        ("\ufeffa", "\ufeffa"),
    ],
)
def test_cut_emoji_are_mended(cut: str, mended: str) -> None:
    """Two halves make their character, a lone half becomes U+FFFD."""
    assert mended == mend(cut)


@given(st.text(st.characters(exclude_categories=())))
@settings(deadline=None)
def test_mended_text_is_utf8_and_mending_is_idempotent(text: str) -> None:
    """Whatever the text, the result can be sent and sound parts stay as they were."""
    mended = mend(text)

    assert mended == mended.encode().decode()
    assert mended == mend(mended)
    assert len(mended) <= len(text)
    assert text == mended or any("\ud800" <= char <= "\udfff" for char in text)


@given(st.datetimes(timezones=st.none() | st.timezones()))
@settings(deadline=None)
def test_stamps_are_the_same_instant(moment: datetime) -> None:
    """A stamp is UTC with microseconds, and reads back as the moment it came from."""
    utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        expected = utc.astimezone(UTC)
    except OverflowError:
        return

    assert len("2026-11-21T19:00:50.834123Z") == len(stamp(moment))
    assert expected == datetime.fromisoformat(stamp(moment))


def test_plain_means_that_nothing_needs_a_second_look() -> None:
    """Exact JSON types and the four that orjson is taught pass; NaN, tuples and subclasses do not."""
    scalars = ["a", 1, 1.5, True, None, UUID(int=1), date(2026, 1, 2), datetime(2026, 1, 2), Decimal("1.0")]

    assert is_plain({"a": [scalars, {"b": scalars}]})
    for odd in (math.nan, (), Text("a"), Plan.GOLD, Real(1), OrderedDict(), {1}, object(), time(1)):
        assert not is_plain({"a": [odd]})


def test_json_stays_on_one_line() -> None:
    """Record batches are cut at newlines: none may stand in the JSON."""
    assert b"\n" not in dumps({"a\n": ["\n\r\u2028", "\\n"]})


def test_what_is_not_plain_is_not_written() -> None:
    """The writer itself refuses numbers that JSON lacks, rather than writing null."""
    with pytest.raises(orjson.JSONEncodeError):
        dumps([Decimal("NaN")])
    with pytest.raises(orjson.JSONEncodeError):
        dumps([object()])


def test_decimals_are_written_by_their_own_digits() -> None:
    """A Decimal class that prints with a currency still makes a JSON number."""
    assert b"[5,1.10]" == dumps([Money("5"), Decimal("1.10")])


def test_naive_times_are_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own time zone never enters."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/Sao_Paulo")
        tzset()
        written = stamp(datetime(2026, 1, 2)), instant("2026-01-02")
    tzset()

    assert ("2026-01-02T00:00:00.000000Z", datetime(2026, 1, 2, tzinfo=UTC)) == written


def test_refusals_travel_between_processes() -> None:
    """An `InvalidEvent` survives pickling with all it says."""
    error = pickle.loads(pickle.dumps(InvalidEvent("a.b", "not_finite", "a.b is NaN")))

    assert (error.field, error.code, error.message, str(error)) == (
        "a.b",
        "not_finite",
        "a.b is NaN",
        "a.b is NaN",
    )
