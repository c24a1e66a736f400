"""The quick check and the models agree on every event, good or bad."""

import copy
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pombo.shared.errors import InvalidEvent
from pombo.shared.events import BaseEvent, parse
from pombo.shared.prepared import MAX_BYTES, prepare, prepare_by_model
from pombo.shared.shapes import DROPPED, FIELDS, PASSED, SHAPES

NOW = datetime(2026, 11, 21, 19, 0, 50, 834123, UTC)


class Text(str):
    __slots__ = ()


class Plan(StrEnum):
    GOLD = "gold"


class Odd(Enum):
    NAN = math.nan
    INF = Decimal("Infinity")
    CUT = "\ud83d"
    MANY = ({"a": 1.5},)
    SET = frozenset({1})


@dataclass
class Item:
    price: Any


texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["", "a", "null", "\ud83d\ude00", "\ude00\ud83d", "a\nb", Text("sub"), Text("\ud800"), Plan.GOLD, Odd.CUT]
)
offsets = st.none() | st.sampled_from([UTC, timezone(timedelta(hours=-3)), timezone(timedelta(seconds=-4321))])
moments = st.datetimes(timezones=offsets) | st.sampled_from([datetime.min, datetime.max, NOW])
numbers = (
    st.integers(-(2**65), 2**65)
    | st.sampled_from([2**64, 2**64 - 1, -(2**63), -(2**63) - 1])
    | st.floats()
    | st.decimals()
    | st.sampled_from([Decimal("sNaN"), Decimal("1E+400"), Decimal("1E-400"), Decimal("-0E+7")])
)
odd = st.sampled_from([b"x", {1}, object(), timedelta(1), 1j, Item, *Odd])
scalars = st.none() | st.booleans() | numbers | texts | moments | st.dates() | st.times() | st.uuids()
keys = texts | st.integers(0, 3)


def wrapped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(texts, inner, max_size=4)
    return (
        st.lists(inner, max_size=4)
        | objects
        | st.lists(inner, max_size=3).map(tuple)
        | objects.map(OrderedDict)
        | objects.map(MappingProxyType)
        | st.dictionaries(keys, inner, max_size=2)
        | inner.map(Item)
    )


sane = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | moments
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False, places=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
anything = st.recursive(scalars | odd, wrapped, max_leaves=10)
by_kind = {
    str: st.text(min_size=1, max_size=9) | texts | st.sampled_from(["m" * n for n in (99, 100, 101)]),
    dict: st.dictionaries(st.text(max_size=8), sane, max_size=5) | st.dictionaries(keys, anything, max_size=3),
    datetime: moments | moments.map(datetime.isoformat) | st.just("2026-11-21T19:00:50.123456789Z"),
}
seldom = st.sampled_from([False] * 7 + [True])
foreign = [*sorted(DROPPED | PASSED), "propertes", "traits", "properties", "user_id", "groupId"]


@st.composite
def events(draw: st.DrawFn) -> dict[Any, Any]:
    """Events that are mostly right: now and then a field is missing, odd, misspelt or foreign."""
    shape = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    chosen = st.lists(st.sampled_from(sorted(shape.names.items())), max_size=6, unique_by=lambda pair: pair[1])
    event: dict[Any, Any] = {"type": shape.type, "userId": "u1", **dict.fromkeys(shape.required, "x")}
    for spelling, name in draw(chosen):
        event.pop(name, None)
        event[spelling] = draw(anything if draw(seldom) else by_kind[FIELDS[name].kind])
    if draw(seldom):
        event[draw(st.sampled_from(foreign) | keys)] = draw(anything)
    if draw(seldom):
        del event[draw(st.sampled_from(list(event)))]
    return event


def outcome(way: Any, event: Any, **options: Any) -> tuple[Any, ...]:
    try:
        prepared = way(event, now=NOW, new_id=lambda: "m1", **options)
    except InvalidEvent as error:
        return ("refused", error.field, error.code, error.message)
    return (
        "accepted",
        prepared.message_id,
        prepared.type,
        prepared.ordering_key,
        orjson.loads(prepared.body),
    )


@given(events(), st.booleans(), st.none() | texts)
@settings(deadline=None, max_examples=600)
def test_prepare_agrees_with_the_models(event: dict[Any, Any], strict: bool, ordering_key: str | None) -> None:
    """Any event is accepted by both with equal JSON, or refused by both for the same field and reason."""
    expected = outcome(prepare_by_model, event, strict=strict, ordering_key=ordering_key)

    assert expected == outcome(prepare, event, strict=strict, ordering_key=ordering_key)


@given(st.dictionaries(texts | st.sampled_from(["type", *foreign, *FIELDS]), anything, max_size=6))
@settings(deadline=None)
def test_they_agree_on_rubbish(event: dict[Any, Any]) -> None:
    """Even what hardly resembles an event meets the same refusal, and no other error."""
    assert outcome(prepare_by_model, event) == outcome(prepare, event)


@given(events(), st.dictionaries(st.text(max_size=5), anything, max_size=2))
@settings(deadline=None)
def test_preparing_changes_nothing_of_the_callers(event: dict[Any, Any], properties: dict[str, Any]) -> None:
    """The caller's event is afterwards what it was, whatever came of it."""
    try:
        before = copy.deepcopy(event)
    except TypeError:  # A mapping proxy cannot be copied.
        assume(False)

    outcome(prepare, event)

    assert repr(before) == repr(event) or "object object" in repr(event)


@given(events())
@settings(deadline=None)
def test_accepted_bodies_are_what_the_queue_needs(event: dict[Any, Any]) -> None:
    """An accepted body is one line of UTF-8 JSON within the limit, with its messageId first."""
    try:
        prepared = prepare(event, now=NOW)
    except InvalidEvent:
        return

    assert len(prepared.body) <= MAX_BYTES
    assert b"\n" not in prepared.body
    assert prepared.body.startswith(b'{"messageId":')
    assert orjson.loads(prepared.body.decode())["messageId"] == prepared.message_id
    assert prepared.ordering_key == prepared.ordering_key.encode().decode() != ""


@given(events())
@settings(deadline=None)
def test_a_model_is_prepared_like_its_event(event: dict[Any, Any]) -> None:
    """What the models accept makes the same JSON from the model as from the dict."""
    try:
        model = parse(event)
    except InvalidEvent:
        return

    assert isinstance(model, BaseEvent)
    assert outcome(prepare, event) == outcome(prepare, model)


@pytest.mark.parametrize("levels", [97, 98, 99, 100, 250, 254, 255, 400])
@pytest.mark.parametrize(
    "wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, Item], ids=["list", "tuple", "dict", "item"]
)
def test_they_agree_on_the_deepest_nesting(levels: int, wrap: Any) -> None:
    """The limit of nesting is the same on both ways, below what the JSON writer could do."""
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    event = {"type": "identify", "userId": "u", "traits": {"deep": value}}

    expected = outcome(prepare_by_model, event)

    assert expected == outcome(prepare, event)
    assert ("accepted" if levels <= 98 else "refused") == expected[0]
