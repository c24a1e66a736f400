"""The sieve: which events are told when there are more than can be told."""

from typing import Final
from zlib import crc32

_FINEST: Final = 24
_WIDER: Final = 4
"""It opens again when so many times fewer than its most come through."""


class Sieve:
    """Let about so many events through in a while; whether one passes depends on its messageId alone.

    Each level lets half as many through, and what passes one passes all below it. So all that happens to an event is
    told, or nothing is, as long as the level stays; and when it rises, what is told is part of what was told.

    Args:
        most: fates in a while.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.level = 0

    def passes(self, message_id: bytes) -> bool:
        """Whether an event is told."""
        return not crc32(message_id) & (1 << self.level) - 1

    def narrow(self) -> bool:
        """Let half as many through from now on; False when that cannot be."""
        if self.level == _FINEST:
            return False
        self.level += 1
        return True

    def turn(self, passed: int) -> None:
        """Begin another while, after one in which so many passed."""
        if self.level and passed * _WIDER <= self.most:
            self.level -= 1
