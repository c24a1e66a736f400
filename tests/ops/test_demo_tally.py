from collections.abc import Sequence
from typing import cast

import pytest

from pombo.ops.demo.tally import Tally, Verdict, compare
from pombo.ops.simulator import EventRow
from pombo.producer import Accepted, Rejected, Spooled


def rows(*told: str) -> list[EventRow]:
    """Arrivals, each `messageId` or `messageId:fate`."""
    pairs = [one.partition(":") for one in told]
    return [cast("EventRow", {"message_id": name, "fate": fate or "kept"}) for name, _, fate in pairs]


@pytest.mark.parametrize(
    ("arrived", "dead", "expected"),
    [
        (("a1", "b1", "a2", "a3"), (), Verdict(4, 0, 0, 0, 0, 0)),
        (("b1", "a1", "a1:duplicate", "a2", "a2:duplicate", "a3"), (), Verdict(4, 2, 0, 0, 0, 0)),
        (("a1", "a3", "b1"), ("a2",), Verdict(3, 0, 1, 0, 0, 0)),
        (("a1", "a3", "b1"), (), Verdict(3, 0, 0, 1, 0, 0)),
        (("a1", "b1", "a2", "a1", "a3"), (), Verdict(4, 0, 0, 0, 1, 0)),
        (("a2", "a1", "a3", "b1"), (), Verdict(4, 0, 0, 0, 0, 1)),
        (("a3", "a1", "a2", "b1"), (), Verdict(4, 0, 0, 0, 0, 1)),
        (("a3", "a2", "a1", "b1"), (), Verdict(4, 0, 0, 0, 0, 2)),
        (("a1", "b1", "a2", "a3", "stray"), (), Verdict(5, 0, 0, 0, 0, 0)),
        (("a1", "a2:invalid_request", "a3", "b1"), ("a2", "a2"), Verdict(3, 0, 1, 0, 0, 0)),
    ],
)
def test_compare(arrived: Sequence[str], dead: Sequence[str], expected: Verdict) -> None:
    """Lost, doubled and disordered events are found; repeats that Segment recognised and dead letters are none."""
    verdict = compare({"a": ["a1", "a2", "a3"], "b": ["b1"]}, rows(*arrived), dead)

    assert expected == verdict
    assert verdict.well == (not expected.lost and not expected.twice and not expected.disordered)


def test_nothing_is_well() -> None:
    """Without any event no promise was broken."""
    assert compare({}, [], []).well


def test_tally_keeps_the_order_by_user() -> None:
    """What was accepted counts once, by user in order; copies and rejections are counted apart."""
    tally = Tally()
    tally.note("u", "m1", Accepted("m1"), again=False)
    tally.note("v", "m2", Spooled("m2"), again=False)
    tally.note("u", "m3", Accepted("m3"), again=False)
    tally.note("u", "m1", Accepted("m1"), again=True)
    for again in (False, True):
        tally.note("u", "m4", Rejected("backlog_full", "", "full"), again=again)

    assert {"u": ["m1", "m3"], "v": ["m2"]} == tally.accepted
    assert (3, 1, {"backlog_full": 2}) == (tally.events, tally.offered_again, tally.rejected)
