"""Blocks: numbers as a line of characters, high ones high."""

from collections.abc import Sequence
from typing import Final

BLOCKS: Final = "▁▂▃▄▅▆▇█"
UNKNOWN: Final = " "


def blocks(values: Sequence[float | None], width: int, *, most: float | None = None) -> str:
    """Values as blocks, the newest on the right: the lowest block is nothing, the highest `most`.

    Args:
        values: none below zero; None is not known, and a space.
        width: characters at most; of more values several share one, which shows the highest of them.
        most: what the highest block stands for; without it the highest value.
    """
    if not values or width < 1:
        return ""
    share = -(-len(values) // width)
    start = len(values) % share
    groups = [values[:start]] if start else []
    groups += [values[at : at + share] for at in range(start, len(values), share)]
    peaks = [max((value for value in group if value is not None), default=None) for group in groups]
    top = most or max((peak for peak in peaks if peak is not None), default=0.0)
    return "".join(UNKNOWN if peak is None else BLOCKS[_level(peak, top)] for peak in peaks)


def _level(value: float, most: float) -> int:
    """What is not nothing is seen, however little it is."""
    if value <= 0 or most <= 0:
        return 0
    return min(len(BLOCKS) - 1, max(1, round(value / most * (len(BLOCKS) - 1))))
