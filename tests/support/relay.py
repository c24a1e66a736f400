"""A relay for end-to-end tests: users whose events come from several processes, each after the receipt of the last."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from support.installation import Bot
from support.oracle import Issued

PAUSE_S = 0.02
"""Between two rounds: the relay is there to be overtaken, not to be a load."""


class Relay:
    """Have bots take turns, from `start` to `stop`.

    Each round every user has one event, from another bot than in the round before, and a round begins when all
    receipts of the last one are known. So the order of a user's events is that of the rounds, whoever issued them.
    """

    def __init__(self, bots: Sequence[Bot], users: int = 9) -> None:
        self._bots = bots
        self._users = [f"shared-u{number:03}" for number in range(users)]
        self._told: list[Issued] = []
        self._ended = threading.Event()
        self._trouble: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="relay")

    def start(self) -> None:
        """Begin the rounds."""
        self._thread.start()

    def stop(self) -> list[Issued]:
        """End after the round under way; all events in the order of their offers."""
        self._ended.set()
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble
        return self._told

    @property
    def rounds(self) -> int:
        """How many are over."""
        return len(self._told) // len(self._users)

    def _work(self) -> None:
        try:
            for number in count():
                if self._ended.wait(PAUSE_S):
                    return
                self._round(number)
        except Exception as error:  # Told by `stop`.
            self._trouble = error

    def _round(self, number: int) -> None:
        bots = len(self._bots)
        hands = [[user for at, user in enumerate(self._users) if (at + number) % bots == bot] for bot in range(bots)]
        for bot, users in zip(self._bots, hands, strict=True):
            bot.child.tell([[user, f"{user}.{number:06}"] for user in users])
        for bot, users in zip(self._bots, hands, strict=True):
            told = bot.child.hear()
            at = time.time()
            self._told += [
                Issued(f"{user}.{number:06}", user, outcome, at, took)
                for user, (outcome, took) in zip(users, told, strict=True)
            ]


def stop_all(bots: Sequence[Bot]) -> list[list[Issued]]:
    """Stop bots together; what each issued."""
    for bot in bots:
        with suppress(ProcessLookupError):
            bot.child.ask_to_end()
    return [bot.finish() for bot in bots]
