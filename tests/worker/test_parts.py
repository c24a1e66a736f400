"""Entries, parts, and the chunks that make requests."""

from collections.abc import Callable
from itertools import pairwise
from math import ceil, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.shared.deadletters import Attempt
from pombo.worker.packing import MAX_REQUEST_BYTES, MAX_REQUEST_EVENTS
from pombo.worker.parts import Chunk, Entry, Part, after, chunks, ranges
from pombo.worker.patience import Failures

ATTEMPT: Attempt = {"at": "2026-01-01T00:00:00.000Z", "status": 500, "outcome": "failed"}


def part(number: int, *sizes: int, length: int = 0) -> Part:
    """A part with an entry for each size, all its events still to do; bodies are unique."""
    entries, total = [], 0
    for position, size in enumerate(sizes):
        bodies = [b"%d/%d".ljust(length, b".") % (number, total + n) for n in range(size)]
        entries.append(Entry(f"{1000 + position}-0", 10, sum(map(len, bodies)), bodies))
        total += size
    made = Part(number, f"w:{number}", f"record{number}", entries)
    made.mark("0" * total)
    return made


def whole(*sizes: int) -> Chunk:
    """A chunk of one part for each size."""
    (chunk,) = chunks([part(number, size) for number, size in enumerate(sizes)], 0)
    return chunk


def bisect(chunk: Chunk, refuses: Callable[[bytes], bool]) -> tuple[list[bytes], list[bytes], int]:
    """Send, bisect what is refused, first half first: accepted and dead bodies, further requests."""
    accepted: list[bytes] = []
    dead: list[bytes] = []
    pending, requests = [chunk], -1
    while pending:
        now = pending.pop()
        requests += 1
        if not any(map(refuses, now.bodies())):
            accepted += now.bodies()
        elif now.events == 1:
            dead += now.bodies()
        else:
            pending += now.halves()[::-1]
    return accepted, dead, requests


# -- entries and parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry_id", "next_id"),
    [
        ("5-0", "5-1"),
        ("1700000000000-9", "1700000000000-10"),
        ("0-18446744073709551614", "0-18446744073709551615"),
    ],
)
def test_after_is_the_very_next_id(entry_id: str, next_id: str) -> None:
    """Nothing fits between an id and the one right behind it."""
    assert next_id == after(entry_id)


def test_part_lists_the_events_of_its_entries() -> None:
    """A part's events are those of its entries, one after the other."""
    made = part(0, 2, 1, 3)
    assert [b"0/0", b"0/1", b"0/2", b"0/3", b"0/4", b"0/5"] == made.bodies
    assert [1000, 1000, 1001, 1002, 1002, 1002] == [made.accepted_ms(index) for index in range(6)]
    with pytest.raises(IndexError):
        made.accepted_ms(6)


def test_mark_takes_over_the_bitmap() -> None:
    """What the bitmap shows as finished is no longer to do."""
    made = part(0, 5)
    made.mark("01101")
    assert [0, 3] == made.todo
    made.mark("11111")
    assert [] == made.todo


@settings(deadline=None)
@given(st.sets(st.integers(0, 60)))
def test_ranges_cover_exactly_the_indices(indices: set[int]) -> None:
    """Ranges are inclusive, ascending, apart from each other, and hold the indices and nothing else."""
    found = ranges(sorted(indices))
    assert sorted(indices) == [index for start, stop in found for index in range(start, stop + 1)]
    assert all(earlier[1] + 1 < later[0] for earlier, later in pairwise(found))


# -- chunks --------------------------------------------------------------------------------------------------


def test_no_events_make_no_chunk() -> None:
    """Parts without anything to do make no request."""
    finished = part(0, 3)
    finished.mark("111")
    assert [] == chunks([], 0)
    assert [] == chunks([finished], 0)


def test_chunk_leaves_out_what_is_done() -> None:
    """Only unfinished events travel, part by part in order."""
    first, second, third = part(0, 3), part(1, 2), part(2, 2)
    first.mark("101")
    second.mark("11")
    (chunk,) = chunks([first, second, third], 4)
    assert [b"0/1", b"2/0", b"2/1"] == chunk.bodies()
    assert ([first, third], 3, 4) == (chunk.parts, chunk.events, chunk.sends)


_parts = st.lists(
    st.tuples(st.lists(st.integers(1, 100), min_size=1, max_size=5), st.sampled_from([10, 900, 30_000])),
    max_size=9,
)


@settings(deadline=None)
@given(_parts)
def test_chunks_respect_the_limits_and_keep_the_order(shapes: list[tuple[list[int], int]]) -> None:
    """Chunks hold every event once, in order, and none is larger than a request may be."""
    parts = [part(number, *sizes, length=length) for number, (sizes, length) in enumerate(shapes)]
    made = chunks(parts, 1)
    assert [body for one in parts for body in one.bodies] == [body for chunk in made for body in chunk.bodies()]
    for chunk in made:
        assert 1 <= chunk.events <= MAX_REQUEST_EVENTS
        assert len(b",".join(chunk.bodies())) <= MAX_REQUEST_BYTES
        assert all(indices for _, indices in chunk.slices)
        assert len(chunk.parts) == len({id(one) for one in chunk.parts})


def test_chunks_are_cut_at_the_event_limit() -> None:
    """2,500 events travel together, the next one in a request of its own, through the middle of a part."""
    parts = [part(0, 1500), part(1, 1001)]
    assert [2500, 1] == [chunk.events for chunk in chunks(parts, 0)]
    assert [2500] == [chunk.events for chunk in chunks([part(0, 1500), part(1, 1000)], 0)]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_event_over_the_byte_limit_travels_alone(position: int) -> None:
    """An event that no request has room for is sent all the same, by itself."""
    bodies = [b"a", b"b", b"c"]
    bodies[position] = b"x" * (MAX_REQUEST_BYTES + 1)
    made = Part(0, "l", "r", [Entry("1-0", 1, 1, bodies)])
    made.mark("000")
    found = [chunk.bodies() for chunk in chunks([made], 0)]
    assert bodies == [body for one in found for body in one]
    assert [bodies[position]] in found


# -- bisecting -----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_one_bad_event_is_isolated(sizes: list[int], data: st.DataObject) -> None:
    """Bisecting finds one culprit in 2·⌈log₂ n⌉ further requests at most; all others arrive in order."""
    chunk = whole(*sizes)
    bodies = chunk.bodies()
    bad = data.draw(st.sampled_from(bodies))
    accepted, dead, requests = bisect(chunk, lambda body: body == bad)
    assert [bad] == dead
    assert [body for body in bodies if body != bad] == accepted
    assert requests <= 2 * ceil(log2(len(bodies)))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100])
def test_the_bound_holds_for_every_culprit(count: int) -> None:
    """Wherever the culprit stands, the bound holds."""
    most = 0
    for bad in whole(count).bodies():
        accepted, dead, requests = bisect(whole(count), bad.__eq__)
        most = max(most, requests)
        assert (count - 1, [bad]) == (len(accepted), dead)
    assert most <= 2 * ceil(log2(count))


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.data())
def test_any_set_of_bad_events_is_isolated(sizes: list[int], data: st.DataObject) -> None:
    """With many culprits too nothing is lost or doubled, and order holds among the accepted."""
    chunk = whole(*sizes)
    bodies = chunk.bodies()
    bad = data.draw(st.sets(st.sampled_from(bodies)))
    accepted, dead, requests = bisect(chunk, bad.__contains__)
    assert [body for body in bodies if body in bad] == dead
    assert [body for body in bodies if body not in bad] == accepted
    assert requests <= 2 * (len(bodies) - 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_halves_share_out_the_events(sizes: list[int]) -> None:
    """The first half is as large as the second or one larger; together they are the chunk."""
    chunk = whole(*sizes)
    first, second = chunk.halves()
    assert first.events - second.events in {0, 1}
    assert chunk.bodies() == first.bodies() + second.bodies()
    assert all(indices for _, indices in first.slices + second.slices)


def test_halves_inherit_and_then_go_their_own_way() -> None:
    """Sends, history and when trouble began pass on to both halves; what happens to one stays with it."""
    chunk = whole(4)
    chunk.note(ATTEMPT)
    chunk.failures.add(1000, broken=False)
    first, second = chunk.halves()
    first.note(ATTEMPT)
    first.failures.add(2000, broken=True)
    assert [(1, 1), (2, 2), (1, 1)] == [(one.sends, len(one.history)) for one in (chunk, first, second)]
    assert [Failures(1000, 1, 1, 0), Failures(1000, 1, 0, 1), Failures(1000)] == [
        one.failures for one in (chunk, first, second)
    ]
    assert not first.piece


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9))
def test_pieces_are_cut_between_partitions(sizes: list[int]) -> None:
    """A failing request falls apart between its partitions first, and then within one; its events keep their order."""
    whole_chunk = whole(*sizes)
    unfinished = [(whole_chunk, 0)]
    singles: list[bytes] = []
    deepest = 0
    while unfinished:
        chunk, depth = unfinished.pop()
        if chunk.events == 1:
            singles += chunk.bodies()
            deepest = max(deepest, depth)
            continue
        first, second = chunk.pieces()
        assert (True, True) == (first.piece, second.piece)
        assert (len(chunk.slices) > 1) == set(first.parts).isdisjoint(second.parts)
        unfinished += [(second, depth + 1), (first, depth + 1)]
    assert whole_chunk.bodies() == singles
    assert deepest <= ceil(log2(len(sizes))) + ceil(log2(max(sizes)))


def test_singles_are_the_events_one_by_one() -> None:
    """Every event becomes a chunk of its own, in order."""
    chunk = whole(2, 3)
    assert [[body] for body in chunk.bodies()] == [one.bodies() for one in chunk.singles()]


def test_without_leaves_out_lost_parts() -> None:
    """Events of a part that is no longer ours are left out, found by identity; the chunk itself is kept."""
    chunk = whole(2, 3, 1)
    twin = part(1, 3)
    rest = chunk.without([chunk.parts[1], twin])
    assert [b"0/0", b"0/1", b"2/0"] == rest.bodies()
    assert 6 == chunk.events
    assert 0 == chunk.without(chunk.parts).events


def test_lost_parts_are_left_out_in_place() -> None:
    """What a chunk went through stays with it when parts of it are lost."""
    chunk = whole(2, 3)
    chunk.failures.add(1000, broken=False)
    chunk.leave_out([chunk.parts[0]])
    assert ([b"1/0", b"1/1", b"1/2"], 1) == (chunk.bodies(), chunk.failures.total)


def test_history_keeps_the_latest_twenty() -> None:
    """Sends are counted on, while the history keeps its twenty latest attempts."""
    chunk = whole(1)
    for number in range(30):
        chunk.note({**ATTEMPT, "status": number})
    assert (30, list(range(10, 30))) == (chunk.sends, [attempt["status"] for attempt in chunk.history])
