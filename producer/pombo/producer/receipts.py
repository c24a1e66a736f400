"""What became of an event: `Accepted`, `Spooled` or `Rejected`, and the receipt that tells."""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pombo.shared.errors import PomboError

Reason = Literal[
    "invalid",
    "too_large",
    "backlog_full",
    "unavailable",
    "unconfirmed",
    "unknown_source",
    "closed",
    "suppressed",
]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event is in Redis (or was checked and discarded, under `POMBO_DISABLED=1`)."""

    message_id: str


@dataclass(frozen=True, slots=True)
class Spooled:
    """The event is on the local disk and goes to Redis from there."""

    message_id: str


class Rejected(PomboError):  # noqa: N818 - an outcome's name, as users read it
    """The event was not taken.

    `reason` is one of the contract's words, `message` says what happened, where, and what to do, `field` is
    the part of the event that is wrong (in Segment's names), `message_id` the event's, where it has one. Only
    `unconfirmed` may still arrive: send it again with the same message_id, and it is delivered once.
    """

    def __init__(self, reason: Reason, message: str, field: str | None = None, message_id: str | None = None) -> None:
        super().__init__(reason, message, field, message_id)
        self.reason = reason
        self.message = message
        self.field = field
        self.message_id = message_id

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


Outcome = Accepted | Spooled | Rejected

# Taken only by those who must wait; reentrant, because a signal handler may ask in the middle of an ask.
_watching = threading.RLock()


def _renew_lock() -> None:
    global _watching  # noqa: PLW0603 - a child must not inherit a lock that another thread of the parent held
    _watching = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Receipt:
    """Tell what became of one event.

    1. A call makes it; a refused event's receipt is settled at once.
    2. The producer settles it when the event is durable, or will not be.
    3. It is settled once and never changes afterwards.
    """

    __slots__ = ("_outcome", "_watchers", "message_id")

    def __init__(self, message_id: str | None, outcome: Rejected | type[Accepted] | None = None) -> None:
        self.message_id = message_id
        """The event's messageId; None only for an event that was refused before it had one."""
        self._outcome: Rejected | type[Accepted | Spooled] | None = outcome
        self._watchers: tuple[Callable[[], None], ...] = ()

    @property
    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._outcome is not None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome without raising it; None while it is open."""
        outcome = self._outcome
        if outcome is None or isinstance(outcome, Rejected):
            return outcome
        return outcome(self.message_id or "")

    def result(self, timeout: float | None = None) -> Accepted | Spooled:
        """Wait for the outcome, at most `timeout` seconds.

        Raises:
            Rejected: the event was not taken.
            TimeoutError: the outcome is still open; ask again.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"event {self.message_id} has no outcome after {timeout:g} s; ask its receipt again")
        outcome = self.outcome
        if isinstance(outcome, Rejected):
            raise Rejected(*outcome.args)  # A fresh one: threads that ask together must not share a traceback.
        assert outcome is not None
        return outcome

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome, at most `timeout` seconds; tell whether it is known."""
        if self._outcome is None:
            settled = threading.Event()
            self.watch(settled.set)
            return settled.wait(timeout)
        return True

    def watch(self, settled: Callable[[], None]) -> None:
        """Have `settled` called, at least once and in any thread, when the outcome is known."""
        with _watching:
            self._watchers = (*self._watchers, settled)
        if self._outcome is not None:
            settled()

    def settle(self, outcome: Rejected | type[Accepted | Spooled]) -> None:
        """Fix the outcome and tell those who watch; for the producer alone."""
        if self._outcome is None:
            self._outcome = outcome
            for settled in self._watchers:
                settled()
            self._watchers = ()

    def abandon(self, outcome: Rejected) -> None:
        """Fix the outcome in a forked child, where those who watched no longer exist and may hold locks."""
        self._watchers = ()
        self._outcome = self._outcome or outcome

    def __repr__(self) -> str:
        state = "open" if self._outcome is None else repr(self.outcome)
        return f"<Receipt {self.message_id}: {state}>"
