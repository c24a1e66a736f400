"""The charts of one source: the last quarter of an hour in lines of blocks, and how Segment answered in it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from rich.text import Text

from pombo.ops.top.blocks import blocks
from pombo.ops.top.columns import figure
from pombo.ops.top.rates import Row
from pombo.ops.wording import age, plural, size
from pombo.shared.history import History
from pombo.shared.history.series import quantile

LABEL: Final = 10
WIDEST: Final = 89
"""Blocks of a chart: a quarter of an hour has so many full slots of 10 s."""
BESIDE: Final = 34
"""Columns for the figures beside a chart."""
_RATES: Final = {"accepted": "in", "delivered": "out", "dead": "dead"}
"""Series that are drawn as rates, and what they are called."""


def charts(history: History | None, row: Row, width: int) -> Iterator[Text]:
    """The last quarter of an hour, as blocks: rates, the two of the flow on one scale, what waits, and its state."""
    room = max(1, min(WIDEST, width - LABEL - BESIDE))
    if history is None or not any(value is not None for value in history.series.accepted[:-1]):
        for name, label in _RATES.items():
            yield _chart(label, "", _now(row, name))
        yield _chart("waiting", "", _waiting(row))
        yield Text("no charts yet: workers take a sample every 10 s, and the console without them", "dim")
        return
    # The last slot is the present one, and not full.
    rates = {name: _per_s(getattr(history.series, name)[:-1], history.width_s) for name in _RATES}
    flow = max(_most(rates["accepted"]), _most(rates["delivered"]))
    for name, label in _RATES.items():
        told = f"{_now(row, name)}, {figure(_most(rates[name]))}/s at most"
        yield _chart(label, blocks(rates[name], room, most=None if name == "dead" else flow), told)
    backlog = history.series.backlog
    yield _chart("waiting", blocks(backlog[:-1], room), _waiting(row))
    if history.states.get(row.view.name):
        yield _chart("state", _states(history, row.view.name, room), "held, broken, parked or paused")
    yield from _answers(history)


def _now(row: Row, name: str) -> str:
    return "-" if row.rates is None else f"{figure(getattr(row.rates, name))}/s now"


def _chart(label: str, drawn: str, told: str) -> Text:
    line = Text(f"{label:<{LABEL}}", "dim")
    return line.append(f"{drawn}  " if drawn else "", "not dim cyan").append(told, "not dim")


def _per_s(counts: Sequence[int | None], width_s: float) -> list[float | None]:
    return [None if count is None else count / width_s for count in counts]


def _most(values: Sequence[float | None]) -> float:
    return max((value for value in values if value is not None), default=0.0)


def _waiting(row: Row) -> str:
    told = f"{plural(row.waiting, 'event')}, {size(row.view.ledger.queued_bytes)}"
    return f"{told}, empty in {age(row.drain_s)}" if row.drain_s else told


def _states(history: History, name: str, room: int) -> str:
    """A letter for each part of the time in which it was kept from sending; a dot where it was not."""
    starts, told = history.at, []
    slots = len(starts) - 1
    share = -(-slots // room)
    # As `blocks` shares them out: the oldest character may stand for less than the others.
    edges = [*([0] if slots % share else []), *range(slots % share, slots + 1, share)]
    for begin, end in pairwise(starts[edge] for edge in edges):
        within = [s for s in history.states[name] if s.since < end and (s.until is None or s.until > begin)]
        told.append(within[-1].state[0] if within else "·")
    return "".join(told)


def _answers(history: History) -> Iterator[Text]:
    """Segment's answers, and how old events were when it took them."""
    counts = [f"{name} {sum(found):,}" for name, found in history.series.requests.items() if sum(found)]
    retries = sum(history.series.retries)
    again = f" · {retries:,} to be sent again" if retries else ""
    yield Text(f"{'answers':<{LABEL}}", "dim").append(f"{' · '.join(counts) or 'none'} in 15 min{again}", "not dim")
    ages = [sum(found) for found in history.series.ages]
    half, most = quantile(ages, 0.5), quantile(ages, 0.99)
    if half is not None and most is not None:
        told = f"half within {_span(half)} of their acceptance, 99 % within {_span(most)}"
        yield Text(f"{'delivered':<{LABEL}}", "dim").append(told, "not dim")


def _span(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else age(seconds)
