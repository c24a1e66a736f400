"""Whose turn it is, on a scripted clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pombo.worker.rounds import Round, turn

PERIOD = 60.0


def names(count: int) -> list[str]:
    return [f"s{number}" for number in range(count)]


@pytest.mark.parametrize(
    ("after", "count", "expected"),
    [("", 2, ["a", "b"]), ("b", 2, ["c", "a"]), ("bb", 1, ["c"]), ("z", 9, ["a", "b", "c"]), ("a", 0, [])],
)
def test_a_turn_goes_round(after: str, count: int, expected: list[str]) -> None:
    """Names follow in order and begin anew; nobody has two turns at once, and who is gone leaves no gap."""
    assert expected == turn({"c", "a", "b"}, after, count)


@given(st.sets(st.text("abc", min_size=1, max_size=3), min_size=1), st.integers(1, 5))
def test_everybody_has_a_turn(circle: set[str], count: int) -> None:
    """As many turns as it takes reach all."""
    seen: set[str] = set()
    after = ""
    for _ in range(len(circle)):
        now = turn(circle, after, count)
        after = now[-1]
        seen |= {*now}
    assert circle == seen


def test_the_first_round_takes_no_time() -> None:
    """Who has just started looks at everybody at once, as many at a time as is allowed."""
    going = Round(PERIOD, 4)
    assert [names(10)[:4], names(10)[4:8], names(10)[8:], []] == [list(going.due(names(10), 5.0)) for _ in range(4)]


@pytest.mark.parametrize("count", [0, 1, 7, 60, 1000])
def test_later_rounds_are_even(count: int) -> None:
    """Each second has its share, and the period everybody, once."""
    going = Round(PERIOD, 10_000)
    assert names(count) == list(going.due(names(count), 0.0))
    seen: list[str] = []
    for second in range(60, 120):
        some = list(going.due(names(count), float(second)))
        assert len(some) <= count / PERIOD + 1
        seen += some
    seen += going.due(names(count), 119.999)
    assert names(count) == seen


def test_who_comes_during_a_round_has_a_turn_in_it() -> None:
    """A new name waits no longer than the period for its first look, whenever it comes; one that is gone is no harm."""
    going = Round(PERIOD, 100)
    assert names(4) == list(going.due(names(4), 0.0))
    assert [[], ["s0"]] == [list(going.due(names(4), at)) for at in (60.0, 75.0)]
    assert [["s1", "s2"], ["s3"]] == [list(going.due([*names(4), "new"], at)) for at in (90.0, 108.0)]
    assert ["new"] == list(going.due(["s1", "new"], 120.0))


def test_who_could_not_be_looked_at_is_next() -> None:
    """A name at which the caller failed is handed out again, and a late round catches up."""
    going = Round(PERIOD, 100)
    for name in going.due(names(3), 0.0):
        if name == "s1":
            break
    assert ["s1", "s2"] == list(going.due(names(3), 1.0))
    list(going.due(names(3), 60.0))
    assert names(3) == list(going.due(names(3), 119.0))
