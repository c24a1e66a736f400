"""messageIds: what pombo gives to an event that has none.

They are UUIDs of version 7 (RFC 9562): the millisecond of their making, a counter of 26 bits, and 48 bits of the
system's randomness, drawn anew every millisecond. So those of one record batch look alike, and compress to a third of
what random ones take; and neither a fork nor a machine's snapshot that is resumed twice repeats them.
"""

import os
from functools import lru_cache
from itertools import count
from time import time_ns

# On Linux the call that keeps Python's lock: else another thread could make the caller wait for it.
_random = getattr(os, "getrandom", os.urandom)
_next = count(int.from_bytes(os.urandom(3))).__next__


@lru_cache(maxsize=1)
def _moment(milliseconds: int) -> tuple[str, str]:
    """What all ids of a millisecond begin and end with."""
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}-7", _random(6).hex()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_moment.cache_clear)


def new_message_id() -> str:
    """A UUID (version 7) as text of 36 characters, unlike any other of any process."""
    begin, end = _moment(time_ns() // 1_000_000)
    number = _next()
    return "%s%03x-%04x-%s" % (begin, number >> 14 & 0xFFF, number & 0x3FFF | 0x8000, end)  # noqa: UP031 - twice as quick
