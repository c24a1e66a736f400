"""The oracle can fail: each kind of fault, made by hand, is found; and a sound run is not blamed."""

from datetime import UTC, datetime
from typing import Any

import pytest

from support.oracle import Findings, Issued, judge

T0 = 1_800_000_000.0


def at(moment: float) -> str:
    return datetime.fromtimestamp(T0 + moment, UTC).isoformat(timespec="milliseconds")


def issued(*names: str, outcome: str = "accepted") -> list[Issued]:
    """Events named `user.number`."""
    return [Issued(name, name.partition(".")[0], outcome, T0) for name in names]


def arrivals(*names: str, fate: str = "kept", request: int = 1) -> list[dict[str, Any]]:
    return [{"message_id": n, "user": n.partition(".")[0], "fate": fate, "request": request} for n in names]


def request(n: int, *names: str, begun: float = 0, ended: float | None = 0.1, **more: Any) -> dict[str, Any]:
    row = {"n": n, "at": at(begun), "finished_at": None if ended is None else at(ended), "status": 200, "action": None}
    return {**row, "message_ids": list(names), **more}


def test_sound_run() -> None:
    """A run in which all arrives once and in order has no faults; a dead event counts as accounted for."""
    found = judge([issued("a.1", "a.2", "b.1"), issued("c.1")], arrivals("b.1", "a.1", "c.1"), dead=["a.2"])
    assert {} == found.faults
    assert (4, 4, 3, 1) == (found.issued, found.accepted, found.kept, found.dead)
    found.assert_sound()


def test_lost() -> None:
    """An accepted event that neither arrived nor died is lost."""
    assert {"lost": ["a.2"]} == judge([issued("a.1", "a.2")], arrivals("a.1")).faults


def test_kept_twice() -> None:
    """An event that Segment kept twice, or that arrived and died, is counted twice."""
    found = judge([issued("a.1", "a.2")], arrivals("a.1", "a.1", "a.2"), dead=["a.2"])
    assert {"twice": ["a.1", "a.2"]} == found.faults


def test_out_of_order() -> None:
    """A first arrival after a later event of the same user is out of order; other users do not matter."""
    bots = [issued("a.1", "b.1", "a.2", "a.3", "b.2")]
    assert {"out_of_order": ["a.2"]} == judge(bots, arrivals("a.1", "b.1", "b.2", "a.3", "a.2")).faults


def test_later_arrivals_keep_no_order() -> None:
    """Only first arrivals count: what is sent again may come late."""
    again = arrivals("a.1", fate="duplicate", request=2)
    requests = [request(1, "a.1", action="reset_after", status=None), request(2, "a.1")]
    assert {} == judge([issued("a.1", "a.2")], arrivals("a.1", "a.2") + again, requests=requests).faults


def test_spurious() -> None:
    """What nobody issued is spurious, and so is what a receipt had refused."""
    bots = [issued("a.1"), issued("a.2", outcome="unavailable")]
    assert {"spurious": ["a.2", "x.1"]} == judge(bots, arrivals("a.1", "a.2", "x.1")).faults


def test_dead_letter_of_nobody() -> None:
    """A dead letter that nobody issued is spurious too."""
    assert {"spurious": ["x.1"]} == judge([issued("a.1")], arrivals("a.1"), dead=["x.1"]).faults


@pytest.mark.parametrize("outcome", ["unconfirmed", "unheard"])
@pytest.mark.parametrize("arrived", [(), ("a.2",)])
def test_unconfirmed_may_arrive(arrived: tuple[str, ...], outcome: str) -> None:
    """An unconfirmed event is neither lost nor spurious, and so is one whose bot died before it heard."""
    found = judge([issued("a.1"), issued("a.2", outcome=outcome)], arrivals("a.1", *arrived))
    assert ({}, 1) == (found.faults, found.unconfirmed)


def test_best_outcome_counts() -> None:
    """An id that was refused and then accepted, by whomever, must arrive."""
    bots = [issued("a.1", outcome="unavailable"), issued("a.1")]
    assert {"lost": ["a.1"]} == judge(bots, []).faults


def test_silence_is_no_acceptance() -> None:
    """An event whose receipt never told anything counts as refused."""
    assert {"spurious": ["a.1"]} == judge([issued("a.1", outcome="silent")], arrivals("a.1")).faults


def test_dropped() -> None:
    """An event that Segment took in and dropped is a fault, and lost."""
    found = judge([issued("a.1")], arrivals("a.1", fate="missing_user"))
    assert {"lost": ["a.1"], "dropped": ["a.1"]} == found.faults


def duplicated(first: dict[str, Any], kills: list[float]) -> Findings:
    """The findings about one event that was sent in `first` and again in request 2."""
    rows = arrivals("a.1") + arrivals("a.1", fate="duplicate", request=2)
    requests = [first, request(2, "a.1", begun=20, ended=20.1)]
    return judge([issued("a.1")], rows, requests=requests, kills=[T0 + kill for kill in kills])


def test_needless_duplicate() -> None:
    """An event that is sent again although its first request was answered is sent needlessly."""
    assert {"needless": ["a.1"]} == duplicated(request(1, "a.1"), []).faults


def test_duplicate_after_a_lost_answer() -> None:
    """An answer that was lost explains it."""
    found = duplicated(request(1, "a.1", action="reset_after", status=None), [])
    assert ({}, {"after lost answers": 1}) == (found.faults, found.explained)


@pytest.mark.parametrize("kill", [0.05, 1.0])
def test_duplicate_after_a_kill(kill: float) -> None:
    """A kill while the request was under way, or right after it, explains it."""
    found = duplicated(request(1, "a.1"), [kill])
    assert ({}, {"after kills": 1}) == (found.faults, found.explained)


@pytest.mark.parametrize("kill", [-5.0, 10.0])
def test_duplicate_and_a_kill_at_another_time(kill: float) -> None:
    """A kill at another time explains nothing."""
    assert {"needless": ["a.1"]} == duplicated(request(1, "a.1"), [kill]).faults


def test_duplicate_of_a_request_that_never_ended() -> None:
    """A request that was open when its worker was killed is explained by that."""
    assert {} == duplicated(request(1, "a.1", ended=None), [3.0]).faults


@pytest.mark.parametrize(
    ("span", "explained"), [((-3, -1), True), ((0, 5), True), ((1, 9), True), ((-9, -3), False), ((5, 9), False)]
)
def test_duplicate_of_what_redis_forgot(span: tuple[float, float], explained: bool) -> None:
    """What is sent again after its acknowledgement was forgotten is explained by that, and by no other time."""
    begun, ended = span
    rows = arrivals("a.1") + arrivals("a.1", fate="duplicate", request=2)
    requests = [request(1, "a.1"), request(2, "a.1", begun=20, ended=20.1)]
    found = judge([issued("a.1")], rows, requests=requests, forgotten=[(T0 + begun, T0 + ended)])
    assert explained == (found.explained == {"after Redis forgot": 1})
    assert explained == (not found.faults)


def test_copy_that_came_late() -> None:
    """A request that the network brought after its sender had given it up, and tried again, is nobody's fault."""
    rows = arrivals("a.1") + arrivals("a.1", fate="duplicate", request=2)
    found = judge([issued("a.1")], rows, requests=[request(1, "a.1"), request(2, "a.1", action="late")])
    assert ({}, {"copies that came late": 1}) == (found.faults, found.explained)


def test_verdict_names_the_ids() -> None:
    """A failed verdict says how many and shows the first ids."""
    with pytest.raises(AssertionError, match=r"lost 7, .*'lost': \(7, \['a.0', 'a.1', 'a.2', 'a.3', 'a.4'\]\)"):
        judge([issued(*(f"a.{n}" for n in range(7)))], []).assert_sound()
