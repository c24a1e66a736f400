"""Which record batches share a request."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pombo.shared.batches import SEPARATOR
from pombo.worker.packing import (
    MAX_CLAIM_EVENTS,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_EVENTS,
    Share,
    Waiting,
    filled,
    pack,
    take,
)
from pombo.worker.parts import Entry, Part, chunks

_entries = st.lists(
    st.tuples(st.integers(1, 100), st.integers(30, 40_000)) | st.tuples(st.integers(1, 3000), st.integers(30, 900_000)),
    max_size=30,
)
_many = st.lists(_entries, max_size=12)
_limits = st.integers(1, MAX_REQUEST_EVENTS)


def waiting(sizes: Sequence[Sequence[tuple[int, int]]]) -> list[Waiting]:
    return [Waiting(number, entries) for number, entries in enumerate(sizes)]


def events(request: Sequence[Share]) -> int:
    return sum(share.events for share in request)


def size(request: Sequence[Share]) -> int:
    """Bytes of a request's events, without the separator that each share keeps for a neighbour behind it."""
    return sum(share.bytes for share in request) - 1


def test_nothing_waiting_is_nothing_sent() -> None:
    """Partitions without entries make no request."""
    assert [] == pack([])
    assert [] == pack([Waiting(0, []), Waiting(1, [])])


def test_thin_partitions_share_a_request() -> None:
    """Partitions with little travel together, the largest first."""
    (request,) = pack([Waiting(3, [(1, 100)]), Waiting(1, [(2, 200), (1, 100)]), Waiting(2, [(1, 100)])])
    assert [Share(1, 2, 3, 302), Share(2, 1, 1, 101), Share(3, 1, 1, 101)] == request


def test_full_partitions_go_side_by_side() -> None:
    """Partitions that fill a request have one each."""
    full = [(100, 100_000)] * 5
    requests = pack([Waiting(0, full), Waiting(1, full), Waiting(2, [(1, 100)])])
    assert [[0, 2], [1]] == [[share.partition for share in request] for request in requests]
    assert 4 == requests[0][0].entries


def test_limits_of_a_request_are_exact() -> None:
    """An entry that reaches a limit exactly still fits, one byte or one event more does not."""
    fits = Waiting(0, [(500, 237_499), (500, 237_500)])
    assert Share(0, 2, 1000, MAX_REQUEST_BYTES + 1) == take(fits)
    assert 1 == take(Waiting(0, [(500, 237_499), (500, 237_501)])).entries
    assert 1 == take(Waiting(0, [(500, 10), (501, 10)])).entries


@pytest.mark.parametrize("entry", [(1, 475_001), (1, 3_200_000), (1001, 100), (2501, 100), (9000, 9_000_000)])
def test_entry_over_the_limits_is_served_alone(entry: tuple[int, int]) -> None:
    """An entry larger than any limit goes by itself, so that nothing gets stuck behind it."""
    requests = pack([Waiting(0, [entry, (1, 1)]), Waiting(1, [(1, 1)])], max_events=10)
    assert [[0], [1]] == [[share.partition for share in request] for request in requests]
    assert 1 == requests[0][0].entries


def test_one_partition_claims_a_thousand_events_at_most() -> None:
    """The claim script stays short though a request may hold more."""
    (request,) = pack([Waiting(0, [(100, 5000)] * 30), Waiting(1, [(100, 5000)] * 30)])
    assert [MAX_CLAIM_EVENTS, MAX_CLAIM_EVENTS] == [share.events for share in request]


@pytest.mark.parametrize(
    ("expected", "entries", "max_events"),
    [
        ("drained", [(100, 1000)] * 3, 2500),
        ("events", [(100, 1000)] * 11, 2500),
        ("bytes", [(10, 100_000)] * 5, 2500),
        ("pace", [(10, 100)] * 3, 20),
    ],
)
def test_what_ended_a_requests_packing(expected: str, entries: list[tuple[int, int]], max_events: int) -> None:
    """A request is drained unless entries of its partitions had to stay behind; then it says which limit they met."""
    waiting = [Waiting(0, entries), Waiting(1, [(1, 10)])]
    first, *_ = pack(waiting, max_events=max_events)
    assert expected == filled(first, waiting, max_events=max_events)


def test_burst_lowers_the_limit() -> None:
    """Under a small burst requests are small, one entry at least."""
    requests = pack(waiting([[(4, 40)] * 5, [(4, 40)] * 5, [(20, 200)]]), max_events=10)
    assert [[(2, 1, 20)], [(0, 2, 8)], [(1, 2, 8)]] == [
        [(share.partition, share.entries, share.events) for share in request] for request in requests
    ]


@settings(deadline=None)
@given(_many, _limits)
def test_packing_keeps_its_promises(sizes: list[list[tuple[int, int]]], max_events: int) -> None:
    """Each partition with entries is in one request with a prefix of them, and no request breaks a limit."""
    ready = waiting(sizes)
    requests = pack(ready, max_events=max_events)
    served = sorted(share.partition for request in requests for share in request)
    assert [one.partition for one in ready if one.entries] == served
    for request in requests:
        assert request
        oversized = len(request) == 1 and request[0].entries == 1
        assert oversized or (events(request) <= max_events and size(request) <= MAX_REQUEST_BYTES)
        for share in request:
            prefix = sizes[share.partition][: share.entries]
            assert share.entries >= 1
            assert share.events == sum(count for count, _ in prefix)
            assert share.bytes == sum(raw + 1 for _, raw in prefix)


def parts_of(requests: Sequence[Sequence[Share]], lengths: Sequence[Sequence[Sequence[int]]]) -> list[list[Part]]:
    """Claimed parts of planned requests: events of these lengths, by partition and entry."""
    made = []
    for request in requests:
        parts = []
        for share in request:
            taken = lengths[share.partition][: share.entries]
            entries = [Entry(f"{n}-0", 1, 1, [b"x" * length for length in entry]) for n, entry in enumerate(taken)]
            part = Part(share.partition, "l", "r", entries)
            part.mark("0" * len(part.bodies))
            parts.append(part)
        made.append(parts)
    return made


def raw(entry: Sequence[int]) -> tuple[int, int]:
    """Events and bytes of an entry, as its record batch counts them."""
    return len(entry), sum(entry) + len(SEPARATOR) * (len(entry) - 1)


def test_small_events_fill_one_request() -> None:
    """Twelve hundred entries of one event of 498 bytes: what is taken of them is one request, not one and a rest."""
    lengths = [[[498]] * 1200]
    requests = pack([Waiting(0, [raw(entry) for entry in lengths[0]])])
    ((part,),) = parts_of(requests, lengths)
    (chunk,) = chunks([part], 0)
    assert 951 == chunk.events


def test_request_that_is_full_to_the_byte_is_one() -> None:
    """What is taken at the very limit is still sent at once."""
    lengths = [[[237_499], [237_500]]]
    ((part,),) = parts_of(pack([Waiting(0, [raw(entry) for entry in lengths[0]])]), lengths)
    (chunk,) = chunks([part], 0)
    assert MAX_REQUEST_BYTES == len(b",".join(chunk.bodies()))


_lengths = st.lists(
    st.one_of(
        st.lists(st.lists(st.integers(30, 32_000), min_size=1, max_size=8), max_size=30),
        st.builds(lambda length, count: [[length]] * count, st.integers(400, 9000), st.integers(1, 1200)),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=40)
@given(_lengths)
def test_every_request_is_one_chunk(lengths: list[list[list[int]]]) -> None:
    """What was packed for a request is sent as one, so that no partition waits for the rest of its own claim."""
    requests = pack(waiting([[raw(entry) for entry in entries] for entries in lengths]))
    assert [1] * len(requests) == [len(chunks(parts, 0)) for parts in parts_of(requests, lengths)]


@settings(deadline=None)
@given(_many, _limits)
def test_packing_draws_level_results_for_the_same_partitions(
    sizes: list[list[tuple[int, int]]], max_events: int
) -> None:
    """The order in which partitions are listed does not matter."""
    ready = waiting(sizes)
    assert pack(ready, max_events=max_events) == pack(ready[::-1], max_events=max_events)


@settings(deadline=None)
@given(_entries.filter(bool))
def test_take_is_as_long_as_the_limits_allow(entries: list[tuple[int, int]]) -> None:
    """What is left out would not have fitted."""
    share = take(Waiting(0, entries))
    if share.entries < len(entries):
        more_events, more_bytes = entries[share.entries]
        assert share.events + more_events > MAX_CLAIM_EVENTS or share.bytes + more_bytes > MAX_REQUEST_BYTES


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(1, 100), st.integers(30, 9_000)), min_size=1, max_size=8), max_size=20))
def test_requests_are_well_filled(sizes: list[list[tuple[int, int]]]) -> None:
    """First fit: no two requests are so empty that one could take the other's smallest share."""
    requests = pack(waiting(sizes))
    for earlier, later in pairwise(requests):
        smallest = min(later, key=lambda share: (share.bytes, share.events))
        room = events(earlier) + smallest.events > MAX_REQUEST_EVENTS
        assert room or size(earlier) + 1 + smallest.bytes > MAX_REQUEST_BYTES
