"""Whose turn it is among the chunks of a delivery."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.worker.parts import Chunk, Entry, Part, chunks
from pombo.worker.rotation import Rotation


def part(number: int, size: int) -> Part:
    """A part with so many events, each with its partition and place as its body."""
    bodies = [b"%d/%d" % (number, place) for place in range(size)]
    made = Part(number, "lease", f"record{number}", [Entry("1000-0", 1, 1, bodies)])
    made.mark("0" * size)
    return made


def whole(*sizes: int) -> Chunk:
    """A chunk with a part of each size."""
    (chunk,) = chunks([part(number, size) for number, size in enumerate(sizes)], 0)
    return chunk


def turn(rotation: Rotation) -> list[bytes]:
    """The events of the chunk whose turn it is."""
    chunk = rotation.next()
    return chunk.bodies() if chunk else []


def test_one_after_the_other() -> None:
    """What is finished leaves; the next in order follows, and asking twice changes nothing."""
    rotation = Rotation([whole(1), whole(2)])
    assert [b"0/0"] == turn(rotation) == turn(rotation)
    rotation.finish()
    assert [b"0/0", b"0/1"] == turn(rotation)
    rotation.finish()
    assert [] == turn(rotation)


def test_halves_of_a_refused_one_follow_at_once() -> None:
    """The first half is next, before everything else, and then the second."""
    chunk = whole(2, 2)
    rotation = Rotation([chunk, whole(1)])
    rotation.next()
    rotation.cut(chunk.halves())
    assert [b"0/0", b"0/1"] == turn(rotation)
    rotation.finish()
    assert [b"1/0", b"1/1"] == turn(rotation)


def test_others_come_before_what_failed() -> None:
    """Pieces of other partitions have their turn; within a partition the first one is waited for."""
    chunk = whole(2, 2)
    rotation = Rotation([chunk])
    rotation.next()
    rotation.yield_turn(chunk.pieces())
    first = rotation.next()
    assert first is not None
    assert [b"0/0", b"0/1"] == first.bodies()
    rotation.yield_turn(first.pieces())
    assert [b"1/0", b"1/1"] == turn(rotation)
    rotation.yield_turn()
    assert [b"0/0"] == turn(rotation)
    rotation.yield_turn()
    assert [b"1/0", b"1/1"] == turn(rotation)
    rotation.finish()
    assert [b"0/0"] == turn(rotation)
    rotation.finish()
    assert [b"0/1"] == turn(rotation)


def test_parts_and_what_is_behind_them() -> None:
    """A part is told once, however many chunks hold some of it; those that do are found."""
    chunk = whole(2, 2)
    first, second = chunk.parts
    rotation = Rotation([*chunk.singles()])
    assert [first, second] == rotation.parts
    assert [[b"1/0"], [b"1/1"]] == [one.bodies() for one in rotation.behind([second])]


_ENDINGS = st.sampled_from(["accepted", "refused", "failed"])


@settings(deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.lists(_ENDINGS, max_size=200))
def test_nothing_overtakes_and_everything_has_its_turn(sizes: list[int], endings: list[str]) -> None:
    """Whatever ends how: events of a partition go in order, each once, and all of them."""
    rotation = Rotation([whole(*sizes)])
    sent: dict[bytes, list[int]] = defaultdict(list)
    for ending in [*endings, *["accepted"] * sum(sizes)]:
        chunk = rotation.next()
        if chunk is None:
            break
        parts = {one for other in rotation for one in other.parts}
        heads = {one: next(other for other in rotation if one in other.parts) for one in parts}
        assert all(heads[one] is chunk for one in chunk.parts)
        if ending == "accepted" or (ending == "refused" and chunk.events == 1):
            for body in chunk.bodies():
                number, _, place = body.partition(b"/")
                sent[number].append(int(place))
            rotation.finish()
        elif ending == "refused":
            rotation.cut(chunk.halves())
        else:
            rotation.yield_turn(chunk.pieces() if chunk.events > 1 else ())
    assert {b"%d" % number: [*range(size)] for number, size in enumerate(sizes)} == sent


@given(st.integers(2, 6))
def test_turns_are_fair(count: int) -> None:
    """As long as all fail, each partition's first chunk is tried once a round."""
    rotation = Rotation(whole(*[1] * count).singles())
    rounds = []
    for _ in range(3 * count):
        rounds.append(turn(rotation))
        rotation.yield_turn()
    assert [[b"%d/0" % number] for number in range(count)] * 3 == rounds
