import pytest

from ops.top.looks import look, view
from pombo.ops.top.rates import Rates, Row, rows


def test_rates_are_differences_of_the_ledger() -> None:
    """What moved between two looks by the seconds between them; deaths count whatever became of the letters."""
    before = look(10.0, view("bot", accepted=100, delivered=40, deduplicated=1, died_by_reason={"poison": 1}))
    now = look(12.0, view("bot", accepted=120, delivered=70, deduplicated=3, died_by_reason={"poison": 1, "policy": 1}))
    (row,) = rows(before, now)
    assert Rates(10, 15, 1, 0.5) == row.rates


@pytest.mark.parametrize(
    "before",
    [None, look(10.0), look(10.0, view("bot", incarnation="another", accepted=1)), look(12.0, view("bot"))],
)
def test_nothing_to_compare_with(before: object) -> None:
    """Without an earlier look at the same source there are no rates, rather than wrong ones."""
    (row,) = rows(before, look(12.0, view("bot", accepted=100)))  # type: ignore[arg-type]
    assert row.rates is None


def test_a_counter_that_went_back() -> None:
    """What Redis lost is no negative rate."""
    (row,) = rows(look(1.0, view("bot", accepted=9)), look(2.0, view("bot", accepted=3)))
    assert Rates() == row.rates


def test_what_a_backlog_takes() -> None:
    """The estimate is what waits divided by how fast it shrinks; there is none while it does not."""
    waits = view("bot", queued=90, in_flight=10)
    assert 20.0 == Row(waits, Rates(accepted=5, delivered=8, deduplicated=1, dead=1)).drain_s
    assert Row(waits, Rates(accepted=5, delivered=5)).drain_s is None
    assert Row(waits, Rates(accepted=0.3, delivered=0.1, deduplicated=0.2)).drain_s is None
    assert Row(waits, None).drain_s is None
    assert 0.0 == Row(view("bot"), None).drain_s


def test_trouble_comes_first() -> None:
    """Sources that need somebody come first, then the longest backlogs, then the busiest, then by name."""
    now = look(
        2.0, view("b"), view("a"), view("busy", accepted=5), view("long", queued=7),
        view("paused", flow={"paused": True}),
        view("held", flow={"hold_until": 9_000_000}), view("stuck", flow={"blocked": {"1": "why"}}),
        view("broken", flow={"broken_at": 1}), view("parked", flow={"parked": "why"}),
    )  # fmt: skip
    before = look(1.0, view("busy"))
    expected = ["parked", "broken", "stuck", "held", "paused", "long", "busy", "a", "b"]
    assert expected == [row.view.name for row in rows(before, now)]
