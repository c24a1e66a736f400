import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.ops.console.cutjson import DEEPER, completed, parsed, shallow

NUMBERS = st.integers(min_value=-(2**63), max_value=2**64 - 1)
"""What 64 bits hold: longer ones are read as the nearest float."""
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), st.data())
def test_what_is_whole_of_a_cut_event_is_read(event: dict[str, Any], data: st.DataObject) -> None:
    """Wherever it was cut, what is read is part of the event, and a whole event is read as it is."""
    text = json.dumps(event, ensure_ascii=False)
    end = data.draw(st.integers(min_value=1, max_value=len(text)))
    assert is_part(parsed(text[:end].encode()), event)
    assert event == parsed(text.encode())


def is_part(some: Any, whole: Any) -> bool:
    """Whether a value lacks nothing but later members of what it is a part of."""
    if isinstance(some, dict):
        return isinstance(whole, dict) and all(
            name in whole and is_part(one, whole[name]) for name, one in some.items()
        )
    if isinstance(some, list):
        return isinstance(whole, list) and all(is_part(a, b) for a, b in zip(some, whole, strict=False))
    return bool(some == whole)


def test_cuts() -> None:
    """A member that was cut is left out with its name; quotes and brackets within texts open nothing."""
    assert '{"a": [1, {}]}' == completed('{"a": [1, {"b": tr')
    assert r'{"a": "\"]}{"}' == completed(r'{"a": "\"]}{", "b": "x')
    assert {"a": 1} == parsed('{"a":1,"b":"é'.encode()[:-1])


@pytest.mark.parametrize("body", [b"", b"\xff", b"hello", b'"text', b"}{"])
def test_what_is_no_json(body: bytes) -> None:
    """Nothing is made up."""
    with pytest.raises(ValueError, match=r"."):
        parsed(body)


def test_what_is_nested_too_deep_to_be_shown_is_cut() -> None:
    """Up to a depth everything is there; behind it a word."""
    assert {"a": [{"b": DEEPER}, 1], "c": None} == shallow({"a": [{"b": [1]}, 1], "c": None}, 3)
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert DEEPER in json.dumps(shallow({"a": deep}), ensure_ascii=False)
