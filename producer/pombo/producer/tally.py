"""How much of what a session appended Redis accepted: what its owner remembers, in case Redis forgets."""

import math

from pombo.producer.flush import SESSION_S, Answer, Flush
from pombo.producer.rejections import logger

SURE_S = SESSION_S / 2
"""Seconds after an append for which Redis must know its session; later it may have ended in peace, by other clocks."""


class Tally:
    """The running total of one session in one incarnation of its source.

    1. `prepare` has a flush tell what Redis accepted before it, as far as Redis must know that itself.
    2. The script compares. What it knows less of was forgotten: it notes that, and answers the new total.
    3. `note` takes the total over. It counts all that was appended, also what was given up in doubt.
    """

    def __init__(self) -> None:
        self._whose: tuple[str, str] | None = None
        self._total = 0
        self._at = -math.inf

    def prepare(self, flush: Flush, now: float) -> None:
        """Have a flush tell the total, unless it belongs to another session, or the last append was long ago."""
        current = self._whose == _whose(flush) and now - self._at < SURE_S
        flush.known = self._total if current else 0

    def note(self, flush: Flush, answer: Answer, now: float) -> None:
        """Take in the answer `ok`; `now` is when it was asked for."""
        self._whose, self._total, self._at = _whose(flush), answer.total, now
        if answer.forgotten:
            logger.warning(
                "Redis forgot %d events of source %s that it had accepted: a failover, a flush, or a restart that lost "
                "its last writes; those not delivered before are lost, and `pombo audit` names them",
                answer.forgotten,
                flush.source.name,
            )


def _whose(flush: Flush) -> tuple[str, str]:
    return flush.sent.session, flush.sent.incarnation
