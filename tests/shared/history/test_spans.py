"""Spans of holds, parks, pauses and breakers, joined from what samples saw."""

from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.flow import Flow
from pombo.shared.history.spans import Sight, Span, spans, within


def test_a_state_begins_when_the_flow_says_so() -> None:
    """A park between two samples has its true beginning; its end is when it was seen gone."""
    seen = [Sight(10, "active"), Sight(20, "parked", 13, reason="401"), Sight(30, "parked", 13, reason="401")]
    assert [Span("parked", 13, None, "401")] == spans(seen)
    assert [Span("parked", 13, 40, "401")] == spans([*seen, Sight(40, "active")])


def test_a_pause_begins_when_it_is_seen() -> None:
    """The flow does not say since when a source is paused."""
    assert [Span("paused", 20, None)] == spans([Sight(10, "active"), Sight(20, "paused")])


def test_a_hold_ends_at_its_time() -> None:
    """Not when the next sample looks."""
    seen = [Sight(10, "held", 8, 8, 25), Sight(20, "held", 8, 8, 25), Sight(30, "active", 0, 8, 25)]
    assert [Span("held", 8, 25)] == spans(seen)


def test_a_hold_between_two_samples() -> None:
    """It came and went, and is told all the same, once."""
    seen = [Sight(10, "active"), Sight(20, "active", 0, 12, 15), Sight(30, "active", 0, 12, 15)]
    assert [Span("held", 12, 15)] == spans(seen)


def test_a_breaker_ends_when_it_closed() -> None:
    """The moment is in the flow; the latest trial's failure is its reason."""
    seen = [
        Sight(10, "active"),
        Sight(20, "broken", 14, reason="timeout"),
        Sight(30, "broken", 14, reason="503"),
        Sight(40, "active", closed_at=37),
    ]
    assert [Span("broken", 14, 37, "503")] == spans(seen)


def test_one_state_after_another() -> None:
    """A source that breaks while it is held has two spans side by side."""
    seen = [Sight(10, "held", 5, 5, 12), Sight(20, "broken", 11, 5, 12), Sight(30, "active", closed_at=25)]
    assert [Span("held", 5, 12), Span("broken", 12, 25)] == spans(seen)


def test_what_ended_before_is_left_out() -> None:
    """A chart shows the spans that reach into it."""
    found = [Span("held", 1, 5), Span("held", 6, 12), Span("broken", 14, None)]
    assert found[1:] == within(found, 5)


def test_the_present_is_a_sight() -> None:
    """A flow that was read just now tells its state, since when, and why."""
    flow = Flow(now=50, parked="401", parked_at=40)
    assert Sight(50, "parked", 40, reason="401") == Sight.of(flow)
    assert "active" == Sight.of(Flow(now=50)).state


_SIGHTS = st.lists(
    st.builds(
        Sight,
        at=st.integers(1, 1000),
        state=st.sampled_from(["active", "held", "parked", "paused", "broken"]),
        since=st.integers(0, 1000),
        held_at=st.integers(0, 1000),
        hold_until=st.integers(0, 1000),
        closed_at=st.integers(0, 1000),
    ),
    max_size=12,
    unique_by=lambda sight: sight.at,
)


@given(_SIGHTS)
def test_spans_never_overlap(sights: list[Sight]) -> None:
    """Whatever was seen, spans follow each other in time, and only the last is open."""
    found = spans(sorted(sights))
    assert all(span.until is not None for span in found[:-1])
    edges = [edge for span in found for edge in (span.since, span.until) if edge is not None]
    assert sorted(edges) == edges


@given(_SIGHTS)
def test_the_last_sight_is_the_state_now(sights: list[Sight]) -> None:
    """There is an open span exactly if the last sight saw something else than active."""
    seen = sorted(sights)
    state = seen[-1].state if seen else "active"
    assert ([state] if state != "active" else []) == [span.state for span in spans(seen) if span.until is None]
