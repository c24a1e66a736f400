"""The frame: one screen of `top`, cut to the terminal's size; what is least needed goes first."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from pombo.ops.cli.failures import one_line
from pombo.ops.top.closer import source_page
from pombo.ops.top.columns import COLUMNS, figure
from pombo.ops.top.guide import help_page
from pombo.ops.top.rates import Rates, Row
from pombo.ops.top.scene import Scene
from pombo.ops.top.table import cut, rest, source_lines, worker_lines
from pombo.ops.top.view import TROUBLE, View
from pombo.ops.verdict import verdict
from pombo.ops.wording import plural, size

LEAST_VERDICT: Final = 4
"""Lines that what is wrong may take at least: the headline and three problems. Else it may take a fifth of the
screen; half of it while nothing else is worth looking at."""
STALE: Final = "dim"
_ASKS: Final = {"pause": "what comes is accepted, and waits", "resume": "what waits goes out at once"}


def frame(scene: Scene, width: int, height: int | None = None) -> list[Text]:
    """One screen, as many lines as the terminal has at most; without a height all there is."""
    head, foot = [*_head(scene, width, height)], [*_foot(scene)]
    room = None if height is None else max(0, height - len(head) - len(foot))
    body = [*_body(scene, width, room)]
    if room is not None:
        body = _window(body, room, scene.view)
        body += [Text()] * (room - len(body))
    if scene.stale:
        body = [Text(line.plain, STALE) for line in body]
    lines = [*head, *body, *foot]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines if height is None else lines[:height]


def _head(scene: Scene, width: int, height: int | None) -> Iterator[Text]:
    overview, server, view = scene.overview, scene.overview.redis, scene.view
    if view.page != "sources":
        name = "help" if view.page == "help" else one_line(str(view.selected))
        yield _title(scene, width, f"› {name}")
    else:
        alive = sum(worker.alive(overview.now) for worker in overview.workers)
        limit = f" of {size(server.maxmemory)}" if server.maxmemory else ""
        parts = (
            plural(len(scene.rows), "source"),
            plural(alive, "worker"),
            f"{server.product} {server.version}",
            f"{size(server.used_memory)}{limit}",
            plural(server.clients, "connection"),
        )
        yield _title(scene, width, *parts)
        yield Text(_totals(scene.rows), STALE if scene.stale else "")
    if view.page != "help" or scene.stale:
        found = [one for one in scene.found if view.page != "source" or one.source in {view.selected, None}]
        share = 2 if scene.stale else 5
        yield from verdict(found, width=width, room=None if height is None else max(LEAST_VERDICT, height // share))
    yield Text()


def _title(scene: Scene, width: int, *parts: str) -> Text:
    """The first line, without the last of its parts where they do not fit."""
    told = [f"pombo top  {scene.at:%H:%M:%S}", *parts]
    while len(told) > 2 and len(" · ".join(told)) > width:
        told.pop()
    title = Text(" · ".join(told))
    title.stylize("bold", 0, len("pombo top"))
    return title


def _totals(found: Sequence[Row]) -> str:
    rates = sum((row.rates for row in found if row.rates), Rates())
    ledgers = [row.view.ledger for row in found]
    return (
        f"in {figure(rates.accepted)}/s · out {figure(rates.delivered)}/s · dup {figure(rates.deduplicated)}/s · "
        f"dead {figure(rates.dead)}/s · {sum(one.queued for one in ledgers):,} queued · "
        f"{sum(one.dead for one in ledgers):,} dead · {sum(one.in_flight for one in ledgers):,} in flight"
    )


def _body(scene: Scene, width: int, room: int | None) -> Iterator[Text]:
    view = scene.view
    if view.page == "help":
        yield from help_page()
        return
    shown = view.rows(scene.rows)
    chosen = view.chosen(shown)
    if view.page == "sources":
        yield from _sources_page(scene, shown, chosen, width, room)
    elif chosen is None or chosen.view.name != view.selected:
        yield Text(f"there is no source {one_line(str(view.selected))} any more", "bold red")
    else:
        yield from source_page(scene, chosen, width)


def _sources_page(
    scene: Scene, shown: Sequence[Row], chosen: Row | None, width: int, room: int | None
) -> Iterator[Text]:
    """Sources, then workers, which get a quarter of the room and what sources leave."""
    fleet = worker_lines(scene.overview.workers, scene.overview.now)
    if room is not None:
        spare = room - (len(shown) + 1)
        fleet = cut(fleet, max(room // 4, spare - 1, 3), "worker")
    left = None if room is None else max(2, room - len(fleet) - 1)
    yield from _sources(scene, shown, chosen, width, left)
    yield Text()
    yield from fleet


def _sources(scene: Scene, shown: Sequence[Row], chosen: Row | None, width: int, room: int | None) -> Iterator[Text]:
    if chosen is None:
        nothing = "there are no sources; `pombo sources add NAME --write-key -` makes one"
        if scene.rows:
            nothing = f"none of {plural(len(scene.rows), 'source')} has {scene.view.wanted!r} in its name or state"
        yield Text(nothing, "dim")
        return
    few = shown if room is None or len(shown) < room else _around(shown, chosen, max(1, room - 2))
    selected = chosen.view.name if scene.keys else None
    yield from source_lines(few, COLUMNS, width, selected=selected, sort=scene.view.sort)
    if len(few) < len(shown):
        names = {row.view.name for row in few}
        yield rest([row for row in shown if row.view.name not in names])


def _around(shown: Sequence[Row], chosen: Row, count: int) -> Sequence[Row]:
    """So many sources with the chosen one in the middle, as far as there are some on both sides."""
    at = next(number for number, row in enumerate(shown) if row is chosen)
    start = min(max(0, at - count // 2), max(0, len(shown) - count))
    return shown[start : start + count]


def _window(body: list[Text], room: int, view: View) -> list[Text]:
    """The lines of a page that are on the screen; the last one says that there are more."""
    if view.page == "sources" or len(body) <= room:
        return body[:room]
    start = min(view.scroll, len(body) - room)
    below = len(body) - room - start
    if not below:
        return body[start:]
    return [*body[start : start + room - 1], Text(f"{plural(below + 1, 'more line')}: ↓", "dim")]


def _foot(scene: Scene) -> Iterator[Text]:
    view = scene.view
    if not scene.keys:
        return
    if view.asked is not None:
        asked = f"{view.asked.verb} {one_line(view.asked.source)}?  y: yes, any other key: no"
        yield Text(asked, "bold yellow").append(f"  ({_ASKS[view.asked.verb]})", "not bold")
    elif view.typing:
        yield Text(f"show only: {view.wanted}", "bold").append("▏").append("  ⏎ keep · esc all", "not bold dim")
    elif view.said:
        yield Text(one_line(view.said), "bold")
    else:
        yield Text(_keys(view), "dim")


def _keys(view: View) -> str:
    if view.page == "help":
        return "↑↓ scroll   esc back"
    if view.page == "source":
        return "↑↓ scroll   p pause/resume   ? help   esc back"
    sort = "" if view.sort == TROUBLE else f": {view.sort}"
    only = f": {view.wanted}" if view.wanted else ""
    return f"↑↓ select   ⏎ look closer   p pause   s sort{sort}   / filter{only}   ? help   q quit"
