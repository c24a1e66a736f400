"""Which record batches share a request.

Full partitions send side by side, thin ones share a request. Segment allows 500 KB and 2,500 events a request and
counts raw bytes; 475,000 leaves room for the frame, as its own SDKs do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MAX_REQUEST_BYTES = 475_000
MAX_REQUEST_EVENTS = 2_500
MAX_CLAIM_EVENTS = 1_000
"""Ids that one partition claims at once, so that a claim script stays short."""


Fill = Literal["drained", "events", "bytes", "pace"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a partition could send: `(events, raw bytes)` of its next entries, in order."""

    partition: int
    entries: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Share:
    """What a partition contributes to a request: its next `entries` entries."""

    partition: int
    entries: int
    events: int
    bytes: int


def take(waiting: Waiting, *, max_events: int = MAX_CLAIM_EVENTS, max_bytes: int = MAX_REQUEST_BYTES) -> Share:
    """The longest run of next entries within the limits; one entry at least, so that nothing gets stuck."""
    count = events = size = 0
    for more_events, more_bytes in waiting.entries:
        if count and (events + more_events > max_events or size + more_bytes > max_bytes):
            break
        count, events, size = count + 1, events + more_events, size + more_bytes + 1
    return Share(waiting.partition, count, events, size)


def filled(shares: Sequence[Share], waiting: Sequence[Waiting], *, max_events: int = MAX_REQUEST_EVENTS) -> Fill:
    """What ended a request's packing: nothing more waited in its partitions, or which limit the next entry met.

    Args:
        shares: the request, as `pack` made it.
        waiting: all that it was made from.
        max_events: as for `pack`; below Segment's own it is a pace of ours.
    """
    entries = {one.partition: one.entries for one in waiting}
    cut = [share for share in shares if share.entries < len(entries[share.partition])]
    if not cut:
        return "drained"
    claim = min(max_events, MAX_CLAIM_EVENTS)
    by_events = any(share.events + entries[share.partition][share.entries][0] > claim for share in cut)
    if not by_events:
        return "bytes"
    return "pace" if max_events < MAX_CLAIM_EVENTS else "events"


def pack(waiting: Sequence[Waiting], *, max_events: int = MAX_REQUEST_EVENTS) -> list[list[Share]]:
    """Group partitions into requests: each partition in one, no request over the limits.

    Args:
        waiting: the partitions that are ready; those without entries are left out.
        max_events: lower than Segment's limit where a rate limit's burst is.
    """
    claim = min(max_events, MAX_CLAIM_EVENTS)
    shares = [take(one, max_events=claim) for one in waiting if one.entries]
    shares.sort(key=lambda share: (-share.bytes, share.partition))
    requests: list[list[Share]] = []
    room: list[tuple[int, int]] = []
    for share in shares:
        for number, (events, size) in enumerate(room):
            if share.events <= events and share.bytes <= size:
                requests[number].append(share)
                room[number] = (events - share.events, size - share.bytes)
                break
        else:
            requests.append([share])
            room.append((max_events - share.events, MAX_REQUEST_BYTES - share.bytes))
    return requests
