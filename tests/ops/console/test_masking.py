"""Masks: an event's shape stays, and nothing that it says."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.ops.console.masking import MASK, masked, masked_event

PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text("ab@1é", max_size=9)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


@given(VALUES)
def test_a_mask_hides_every_value_and_keeps_the_shape(value: Any) -> None:
    """Objects and arrays are of the same size, null stays, and of the rest there is its kind alone."""

    def check(before: Any, after: Any) -> None:
        if isinstance(before, dict):
            assert [*before] == [*after]
            for name in before:
                check(before[name], after[name])
        elif isinstance(before, list):
            assert len(before) == len(after)
            for one, other in zip(before, after, strict=True):
                check(one, other)
        elif before is None:
            assert after is None
        else:
            assert after.startswith(f"{MASK} (")

    check(value, masked(value))
    orjson.dumps(masked(value))


def test_what_names_no_person_stays_open() -> None:
    """An event's id, type, name and timestamp, where they are what they should be."""
    event = {"messageId": "m1", "type": "track", "event": "Order", "timestamp": "2026-01-02T03:04:05Z", "userId": "u1"}
    assert event | {"userId": f"{MASK} (text, 2)"} == masked_event(event)


@pytest.mark.parametrize(
    ("name", "value"),
    [("event", {"name": "maria"}), ("timestamp", "maria@example.com"), ("timestamp", 5511987654321), ("type", 1)],
)
def test_an_open_field_that_holds_something_else_is_masked(name: str, value: Any) -> None:
    """A name on its own lets nothing through."""
    assert {name: masked(value)} == masked_event({name: value})


@pytest.mark.parametrize("name", ["maria@example.com", "5511987654321"])
def test_a_name_that_is_a_persons_is_masked(name: str) -> None:
    """Members may be called by addresses and numbers."""
    assert {"traits": {MASK: f"{MASK} (boolean)"}} == masked_event({"traits": {name: True}})
