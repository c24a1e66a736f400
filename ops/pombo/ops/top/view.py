"""The view: what an operator looks at in `top`, and what each key makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from pombo.ops.top.rates import Rates, Row

Page = Literal["sources", "source", "help"]
Verb = Literal["pause", "resume"]
TROUBLE: Final = "trouble"
SORTS: Final = (TROUBLE, "source", "queued", "oldest", "in/s", "out/s", "dead")
"""What the sources can be ordered by: trouble, or a column."""
LEAP: Final = 10
"""Lines that a page key moves by."""
_MOVES: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -LEAP, "pagedown": LEAP}
_ENDS: Final = {"home": 0, "g": 0, "end": -1, "G": -1}


class Change(NamedTuple):
    """Something that an operator wants done to a source."""

    verb: Verb
    source: str


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at."""

    page: Page = "sources"
    selected: str | None = None
    """A source's name; None, or one that is not there, is the first one."""
    sort: str = TROUBLE
    wanted: str = ""
    """Only sources whose name or state holds this are shown."""
    typing: bool = False
    """Whether keys go into `wanted`."""
    asked: Change | None = None
    """What waits for a yes."""
    scroll: int = 0
    """Lines of a long page that are above the screen."""
    said: str = ""
    """What became of the last change."""

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The sources that are shown, in their order; `rows` are all, those in trouble first."""
        wanted = self.wanted.casefold()
        found = [row for row in rows if wanted in row.view.name.casefold() or wanted in row.view.state]
        return found if self.sort == TROUBLE else sorted(found, key=lambda row: _weight(row, self.sort))

    def chosen(self, shown: Sequence[Row]) -> Row | None:
        """The source that is selected; None when there is none at all."""
        for row in shown:
            if row.view.name == self.selected:
                return row
        return shown[0] if shown else None


class Pressed(NamedTuple):
    """What a key brings: another view, and whether something has to be done."""

    view: View
    quits: bool = False
    change: Change | None = None


def press(view: View, key: str, shown: Sequence[Row]) -> Pressed:
    """Take a key.

    Args:
        view: as it was.
        key: as `Keyboard` names it.
        shown: the sources that `view` shows, in their order.
    """
    if key == "quit":
        return Pressed(view, quits=True)
    if view.asked is not None:
        return _answered(view, view.asked, key)
    view = replace(view, said="")
    if view.typing:
        return Pressed(_typed(view, key))
    if key in {"q", "Q"} and view.page == "sources":
        return Pressed(view, quits=True)
    if view.page == "sources":
        return Pressed(_listed(view, key, shown))
    return Pressed(_paged(view, key, shown))


def _answered(view: View, asked: Change, key: str) -> Pressed:
    view = replace(view, asked=None)
    return Pressed(view, change=asked) if key in {"y", "Y", "enter"} else Pressed(replace(view, said="nothing changed"))


def _typed(view: View, key: str) -> View:
    if key in {"enter", "down", "up"}:
        return replace(view, typing=False)
    if key == "escape":
        return replace(view, typing=False, wanted="")
    if key == "backspace":
        return replace(view, wanted=view.wanted[:-1])
    if key == "clear":
        return replace(view, wanted="")
    return replace(view, wanted=view.wanted + key) if len(key) == 1 else view


def _listed(view: View, key: str, shown: Sequence[Row]) -> View:
    if key in _MOVES or key in _ENDS:
        return _moved(view, key, shown)
    if key in {"enter", "right", "l"}:
        chosen = view.chosen(shown)
        return view if chosen is None else replace(view, page="source", selected=chosen.view.name, scroll=0)
    if key == "/":
        return replace(view, typing=True)
    if key == "escape":
        return replace(view, wanted="")
    if key in {"s", "S"}:
        step = 1 if key == "s" else -1
        return replace(view, sort=SORTS[(SORTS.index(view.sort) + step) % len(SORTS)])
    return _common(view, key, shown)


def _paged(view: View, key: str, shown: Sequence[Row]) -> View:
    if key in {"escape", "left", "h", "q", "Q", "backspace"} or (view.page == "help" and key in {"?", "enter"}):
        return replace(view, page="sources", scroll=0)
    if key in _MOVES:
        return replace(view, scroll=max(0, view.scroll + _MOVES[key]))
    if key in _ENDS:
        return replace(view, scroll=0 if _ENDS[key] == 0 else 1 << 16)
    return _common(view, key, shown)


def _common(view: View, key: str, shown: Sequence[Row]) -> View:
    if key == "?":
        return replace(view, page="help", scroll=0)
    chosen = view.chosen(shown) if view.page != "help" else None
    if key == "p" and chosen is not None:
        return replace(view, selected=chosen.view.name, asked=Change(_verb(chosen), chosen.view.name))
    return view


def _verb(row: Row) -> Verb:
    """What p offers: to end a pause or a park, else to pause."""
    flow = row.view.flow
    return "resume" if flow.paused or flow.parked is not None else "pause"


def _moved(view: View, key: str, shown: Sequence[Row]) -> View:
    if not shown:
        return view
    chosen = view.chosen(shown)
    now = next((at for at, row in enumerate(shown) if row is chosen), 0)
    at = _ENDS[key] if key in _ENDS else min(max(0, now + _MOVES[key]), len(shown) - 1)
    return replace(view, selected=shown[at].view.name)


def _weight(row: Row, sort: str) -> tuple[float, str]:
    """The most first; by name upwards."""
    ledger, rates = row.view.ledger, row.rates or Rates()
    weights = {
        "source": 0.0, "queued": ledger.queued, "oldest": row.view.oldest_age_s or 0.0, "in/s": rates.accepted,
        "out/s": rates.delivered, "dead": ledger.dead,
    }  # fmt: skip
    return -weights[sort], row.view.name
