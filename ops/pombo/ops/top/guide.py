"""The help page of `top`: its keys, and what its words mean."""

from collections.abc import Iterator
from typing import Final

from rich.text import Text

KEYS: Final = (
    ("↑ ↓  j k", "select a source; PgUp, PgDn, Home and End go further"),
    ("⏎", "look closer: its last minutes, partitions, and what Segment answered"),
    ("p", "pause the source, or resume a paused or parked one; it asks first"),
    ("s  S", "order by trouble, source, queued, oldest, in/s, out/s, dead; S: back"),
    ("/", "show only sources with these letters in name or state; esc shows all"),
    ("?", "this page"),
    ("esc", "back"),
    ("q  ^C", "quit"),
)
WORDS: Final = (
    ("parked", "nothing is sent until somebody repairs it; nothing is lost"),
    ("broken", "Segment does not answer; single requests try it, then all go on"),
    ("blocked", "a partition waits for a person: it holds what this pombo cannot read"),
    ("held", "Segment asked to wait so long"),
    ("paused", "somebody paused it"),
    ("queued", "events that wait to be claimed"),
    ("flying", "events that a worker claimed and has not settled"),
    ("oldest", "how long the first event waits"),
    ("drains", "when nothing waits any more, if all goes on as now"),
    ("dead", "events that will not be delivered as they are: `pombo dead list`"),
    ("limit/s", "events a second that the whole fleet may send now"),
)


def help_page() -> Iterator[Text]:
    """All lines of the page."""
    yield Text("Keys", "bold")
    yield from _listed(KEYS)
    yield Text()
    yield Text("Words", "bold")
    yield from _listed(WORDS)


def _listed(rows: tuple[tuple[str, str], ...]) -> Iterator[Text]:
    for name, meaning in rows:
        yield Text(f"  {name:<9}", "bold").append(meaning, "not bold")
