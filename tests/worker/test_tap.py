"""What a worker tells of a source that somebody watches: all, or a fair part, and how much it left out."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pombo.shared.deadletters import LetterHeader
from pombo.shared.tail import Seen
from pombo.worker.parts import Entry, Part, chunks
from pombo.worker.sieve import Sieve
from pombo.worker.store import Letter
from pombo.worker.tap import MOST, Tap
from support.world import body

NOON = 1_767_268_800_000


def entry(number: int, ids: Sequence[str]) -> Entry:
    return Entry(f"{NOON + number}-0", 10, 10, [body(one) for one in ids])


def part(ids: Sequence[str], done: str = "") -> Part:
    made = Part(3, "w:t", "r", [entry(0, ids)])
    made.mark(done or "0" * len(ids))
    return made


def told(tap: Tap) -> list[tuple[str, str]]:
    return [(one.fate, one.message_id) for one in tap.take()]


def test_the_life_of_events() -> None:
    """Accepted when read, then delivered or deduplicated or dead, with the reason and Segment's answer."""
    tap, some = Tap(), part(["a", "b", "c"], "010")
    tap.accepted(3, some.entries)
    tap.deduplicated(some, NOON + 5)
    (chunk,) = chunks([some], 0)
    first, _ = chunk.halves()
    tap.delivered(first, NOON + 6)
    header = LetterHeader("rejected_by_segment", 3, "2026-01-01T00:00:00.000Z", 400, "no such event", 1)
    tap.dead([Letter(some, 2, "rejected_by_segment", header.dump())], NOON + 7)
    found = tap.take()
    assert [
        ("accepted", "a"), ("accepted", "b"), ("accepted", "c"), ("deduplicated", "b"), ("delivered", "a"),
        ("dead", "c"),
    ] == [(one.fate, one.message_id) for one in found]  # fmt: skip
    assert "rejected_by_segment 400 no such event" == found[-1].note
    assert [] == tap.take()


def test_what_is_read_again_is_told_once() -> None:
    """A lane forgets what it read ahead while a gate is shut, and reads it again."""
    tap = Tap()
    for _ in range(3):
        tap.accepted(0, [entry(1, ["a"]), entry(2, ["b"])])
    tap.accepted(1, [entry(1, ["c"])])
    assert [("accepted", "a"), ("accepted", "b"), ("accepted", "c")] == told(tap)


def test_an_unreadable_batch_is_told() -> None:
    """It has no messageId, but a fate and a reason."""
    tap = Tap()
    tap.buried(2, b"\x00garbage", "corrupt: no frame", NOON)
    (one,) = tap.take()
    assert ("dead", "", 2, "corrupt: no frame") == (one.fate, one.message_id, one.partition, one.note)


def everything(tap: Tap, ids: Sequence[str]) -> list[Seen]:
    """What is told of events that are read, and then delivered, with a look between."""
    some = part(ids)
    tap.accepted(3, some.entries)
    found = tap.take()
    tap.delivered(chunks([some], 0)[0], NOON + 1)
    return [*found, *tap.take()]


@given(st.integers(0, 3000), st.integers(0, 10**6))
def test_it_tells_no_more_than_its_most(count: int, seed: int) -> None:
    """Whatever passes by; and what is told and what was left out is all there was."""
    tap = Tap()
    tap.accepted(0, [entry(1, [f"{seed}-{number}" for number in range(count)])])
    found = tap.take()
    assert len(found) <= MOST
    assert (count > 0) == bool(found) or count > MOST
    if found:
        assert count == len(found) + sum(one.left_out for one in found)
    if count <= MOST:
        assert count == len(found)


def test_many_copies_of_one_event_are_bounded_too() -> None:
    """No level lets part of them through: the rest is left out."""
    tap = Tap()
    tap.accepted(0, [entry(1, ["same"] * 1000)])
    assert len(tap.take()) <= MOST


@given(st.integers(150, 2500), st.integers(0, 10**6))
def test_fates_of_an_event_stay_together(count: int, seed: int) -> None:
    """Whose delivery is told was told as accepted: at one level the same events pass, at a higher one some of them."""
    ids = [f"{seed}-{number}" for number in range(count)]
    found = everything(Tap(), ids)
    accepted = {one.message_id for one in found if one.fate == "accepted"}
    delivered = {one.message_id for one in found if one.fate == "delivered"}
    assert delivered <= accepted or accepted <= delivered


def test_it_opens_again() -> None:
    """After a flood everything is told again, level by level."""
    tap, number = Tap(), 2
    tap.accepted(0, [entry(1, [f"m{n}" for n in range(2000)])])
    tap.take()
    while tap._sieve.level:
        tap.take()
        number += 1
        assert number < 30
    tap.accepted(0, [entry(number, [f"n{n}" for n in range(MOST)])])
    assert MOST == len(tap.take())


@given(st.binary(max_size=40), st.integers(0, 24))
def test_levels_nest(message_id: bytes, level: int) -> None:
    """What passes a level passes every one below it."""
    sieve = Sieve(MOST)
    sieve.level = level
    if sieve.passes(message_id):
        for below in range(level):
            sieve.level = below
            assert sieve.passes(message_id)
