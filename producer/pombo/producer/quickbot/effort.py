"""Effort: what evaluating one request may cost, so that no flow and no text holds up the others."""

COSTLIEST = 400_000
"""Units of one request; a unit is a step of a pattern, some 0.4 microseconds."""
CHARACTERS = 25
"""That are compared as text in the time of a unit."""
RANGES = 16
"""Of a class in a pattern, such as the two of `[a-z_]`, that a character is held against in the time of a unit."""
COMPARISON = 10
"""Units that every comparison costs at least."""
READING = 3
"""Units for each character of a pattern, and for each step of its program."""


class Exhausted(Exception):  # noqa: N818 -- an outcome's name
    """The effort is spent."""


class Effort:
    """An account of units, from which each step takes."""

    def __init__(self, units: int = COSTLIEST) -> None:
        self._left = units

    def spend(self, units: int) -> None:
        """Take units; raise `Exhausted` when there are not so many."""
        self._left -= units
        if self._left < 0:
            raise Exhausted("takes too long")

    def compare(self, left: str | None, right: str | None) -> None:
        """Take what a comparison of two texts costs."""
        self.spend(COMPARISON + (len(left or "") + len(right or "")) // CHARACTERS)
