"""Who counts as alive, on a scripted clock."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.membership import PACE, Membership, Pace

MISSING_S, TAKEOVER_S, FORGET_S = PACE.missing, PACE.takeover, PACE.forget


def test_whoever_beats_is_alive() -> None:
    """A worker whose beat moves stays alive; one whose beat stands still dies after the takeover time."""
    members = Membership()
    for second in range(20):
        members.observe({"a": second, "b": 7}, second)
    assert {"a"} == members.live(19)
    assert (False, True) == (members.dead("a", 19), members.dead("b", 19))


def test_silence_counts_from_the_last_move() -> None:
    """A silent worker is given nothing after some beats, and is dead after the takeover time."""
    members = Membership()
    members.observe({"a": 1}, 100)
    members.observe({"a": 1}, 100 + MISSING_S - 0.001)
    assert {"a"} == members.live(100 + MISSING_S - 0.001)
    assert set() == members.live(100 + MISSING_S)
    assert [False, True] == [members.dead("a", 100 + t) for t in (TAKEOVER_S - 0.001, TAKEOVER_S)]


def test_any_change_of_the_beat_is_life() -> None:
    """A beat that went backwards moved as well: the counter is compared for equality."""
    members = Membership()
    members.observe({"a": 500}, 0)
    members.observe({"a": 1}, 7)
    assert {"a"} == members.live(9)


def test_newcomer_counts_as_alive() -> None:
    """Who is seen for the first time, and of whose silence nothing is told, gets the full times."""
    members = Membership()
    members.observe({"old": 99_999}, 1000)
    assert {"old"} == members.live(1002)
    assert [False, True] == [members.dead("old", t) for t in (1007, 1008)]


def test_newcomer_believes_what_is_told_of_a_silence() -> None:
    """A silence that began before we came counts, but never so much that we need see none of it ourselves."""
    members = Membership()
    members.observe({"quiet": 1, "long": 1, "odd": 1}, 100, {"quiet": 4.0, "long": 9999.0, "odd": -5.0})
    assert {"odd"} == members.live(100)
    assert [False, True] == [members.dead("quiet", t) for t in (103.9, 104)]
    assert [False, True] == [members.dead("long", t) for t in (100 + MISSING_S - 0.001, 100 + MISSING_S)]
    assert [False, True] == [members.dead("odd", t) for t in (107.9, 108)]


def test_who_left_the_fleet_is_not_alive() -> None:
    """A worker that said goodbye is no longer assigned anything."""
    members = Membership()
    members.observe({"a": 1, "b": 1}, 0)
    members.observe({"b": 2}, 1)
    assert {"b"} == members.live(1)


def test_leases_of_strangers_wait_the_takeover_time() -> None:
    """A lease of a worker that is not in the fleet is taken over after watching it for the takeover time."""
    members = Membership()
    assert [False, False, True] == [members.dead("ghost", t) for t in (50, 50 + TAKEOVER_S - 0.001, 50 + TAKEOVER_S)]


def test_stranger_that_appears_is_watched_anew() -> None:
    """Absence that ended counts for nothing when the worker is gone again."""
    members = Membership()
    members.dead("a", 0)
    members.observe({"a": 1}, 7)
    members.observe({}, 7.5)
    assert [False, False, True] == [members.dead("a", t) for t in (8, 15.9, 16)]


def test_worker_that_leaves_is_watched_from_then_on() -> None:
    """A worker that left the fleet with leases in hand keeps them for the takeover time."""
    members = Membership()
    members.observe({"a": 1}, 0)
    members.observe({}, 5)
    assert [False, True] == [members.dead("a", t) for t in (5, 13)]


def test_excuse_starts_silences_anew() -> None:
    """After Redis was away nobody is dead, and nobody forgotten, for the time it was away."""
    members = Membership()
    members.observe({"a": 1}, 0)
    members.dead("ghost", 0)
    members.excuse(100)
    assert {"a"} == members.live(102)
    assert (False, False) == (members.dead("a", 107), members.dead("ghost", 107))
    assert set() == members.silent(107)
    assert (True, True) == (members.dead("a", 108), members.dead("ghost", 108))


def test_long_silence_is_forgotten() -> None:
    """A dead worker is named for forgetting after a minute, the living never."""
    members = Membership()
    for second in range(61):
        members.observe({"alive": second, "dead": 1}, second)
    assert set() == members.silent(FORGET_S - 0.001)
    assert {"dead"} == members.silent(FORGET_S)


def test_forgotten_worker_may_come_back() -> None:
    """A worker that was forgotten and beats again is alive again."""
    members = Membership()
    members.observe({"a": 1}, 0)
    members.observe({}, 61)
    members.observe({"a": 1}, 62)
    assert {"a"} == members.live(62)


def test_a_worker_stops_before_it_is_taken_over() -> None:
    """The fence leaves room for a beat and a request's first byte before anyone takes over."""
    assert 2 * PACE.beat <= PACE.fence
    assert 2 * PACE.beat <= PACE.takeover - PACE.fence
    assert 2 * PACE.beat <= PACE.missing < PACE.fence
    assert PACE.takeover < PACE.forget


def test_pace_comes_from_outside() -> None:
    """A fleet may be told to notice faster or slower."""
    members = Membership(Pace(beat=0.1, fence=0.4, missing=0.3, takeover=0.6, forget=2.0))
    members.observe({"a": 1}, 0)
    assert ({"a"}, set()) == (members.live(0.29), members.live(0.3))
    assert (False, True) == (members.dead("a", 0.59), members.dead("a", 0.6))
    assert ({"a"}, set()) == (members.silent(2.0), members.silent(1.9))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.dictionaries(st.sampled_from("abc"), st.integers(0, 3))), max_size=30))
def test_nobody_is_alive_and_dead_at_once(steps: list[tuple[float, dict[str, int]]]) -> None:
    """The living are in the fleet, not dead, and beat lately, whatever is seen."""
    members, now = Membership(), 0.0
    moved: dict[str, tuple[int, float]] = {}
    for pause, beats in steps:
        now += pause
        members.observe(beats, now)
        moved = {w: (b, moved[w][1]) if w in moved and moved[w][0] == b else (b, now) for w, b in beats.items()}
        expected = {worker for worker, (_, since) in moved.items() if now - since < TAKEOVER_S}
        assert {worker for worker, (_, since) in moved.items() if now - since < MISSING_S} == members.live(now)
        assert not any(members.dead(worker, now) for worker in members.live(now))
        assert all(members.dead(worker, now) for worker in moved.keys() - expected)
        assert members.silent(now) <= moved.keys() - expected
