"""Which worker should hold which partition: rendezvous hashing with bounded load.

Every worker computes the same answer from the same two sets, without talking. Counts differ by one at most; a
worker that comes or goes moves about its own share.
"""

from collections.abc import Iterable
from hashlib import blake2b


def assign(partitions: Iterable[str], workers: Iterable[str]) -> dict[str, str]:
    """Map each partition to a worker; empty without workers.

    Each partition goes to the worker that scores highest for it among those with room: `floor(p/w)` each, and one
    more for the first `p mod w` that need it.
    """
    names = sorted(set(workers))
    ordered = sorted(set(partitions), key=_order)
    if not names:
        return {}
    floor, spare = divmod(len(ordered), len(names))
    load = dict.fromkeys(names, 0)
    owners: dict[str, str] = {}
    for partition in ordered:
        ranked = sorted(names, key=lambda name: _score(partition, name), reverse=True)
        owner = next(n for n in ranked if load[n] < floor or (load[n] == floor and spare > 0))
        if load[owner] == floor:
            spare -= 1
        load[owner] += 1
        owners[partition] = owner
    return owners


def _score(partition: str, worker: str) -> bytes:
    return blake2b(f"{partition} {worker}".encode(), digest_size=8).digest()


def _order(partition: str) -> bytes:
    return blake2b(partition.encode(), digest_size=8).digest()
