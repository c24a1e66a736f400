"""Telling the workers which partitions have events, so that one of them takes the lease."""

import math

from redis.exceptions import NoScriptError

from pombo.producer.flush import Flush
from pombo.producer.steps import WEATHER, Argument, Ask, Flow
from pombo.shared.clock import Clock
from pombo.shared.keys import Keys
from pombo.shared.scripts import script

EVERY_S = 20.0
"""Seconds after which a partition that gets events is announced again."""
TIMEOUT_S = 0.25
"""Seconds for one announcement: it is a hint, and the next flush waits behind it."""


class Announcements:
    """Remember what one producer announced."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._at: dict[int, float] = {}

    def forget(self) -> None:
        """Announce every partition again: the source is another one now."""
        self._at.clear()

    def make(self, flush: Flush, timeout_s: float = TIMEOUT_S) -> Flow[None]:
        """Announce what is due of an appended flush; the workers' sweep finds what could not be.

        One that takes longer than `timeout_s` costs the connection.
        """
        now = self._clock.monotonic()
        due = [partition for partition in flush.partitions if now - self._at.get(partition, -math.inf) >= EVERY_S]
        if not due:
            return
        announce = script("announce")
        rest: tuple[Argument, ...] = (
            1,
            self._keys.active,
            *(f"{flush.source.name}/{partition}" for partition in due),
        )
        try:
            try:
                yield Ask(("EVALSHA", announce.sha, *rest), timeout_s)
            except NoScriptError:
                yield Ask(("EVAL", announce.text, *rest), timeout_s)
        except WEATHER:
            return
        self._at.update(dict.fromkeys(due, now))
