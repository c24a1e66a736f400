"""The verdict: what is wrong and what to type, as lines for a terminal with more or less room."""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.text import Text

from pombo.ops.cli.failures import one_line
from pombo.ops.problems import Problem, Severity, headline
from pombo.ops.wording import plural

MARKS: Final[Mapping[Severity, str]] = {"critical": "✗", "warning": "!", "note": "·"}
STYLES: Final[Mapping[Severity, str]] = {"critical": "bold red", "warning": "yellow", "note": "dim"}
ALIKE: Final = 3
"""Problems of one kind that are told one by one; more are one problem of many sources."""
WIDEST: Final = 120
"""Columns beyond which a sentence is hard to read."""
_INDENT: Final = "  "


def verdict(found: Sequence[Problem], *, width: int, room: int | None = None) -> list[Text]:
    """What is wrong, the worst first, each problem with the command that ends it.

    Args:
        found: as `problems` orders them.
        width: columns.
        room: lines; None is no limit. Where there is too little, problems first lose their reasons and then
            give way altogether; the last line says how many are missing.
    """
    said = headline(found)
    style = "bold green" if said == "All well" else STYLES[found[0].severity]
    told = together(found)
    return [Text(said, style), *_fitted(told, min(width, WIDEST), None if room is None else room - 1)]


def together(found: Sequence[Problem]) -> list[Problem]:
    """The same problems, those that many sources have as one, in the place of the first."""
    alike: defaultdict[tuple[str, str], list[Problem]] = defaultdict(list)
    for one in found:
        if one.source is not None:
            alike[one.severity, one.what].append(one)
    merged = {id(many[0]): _merged(many) for many in alike.values() if len(many) > ALIKE}
    hidden = {id(one) for many in alike.values() if len(many) > ALIKE for one in many[1:]}
    return [merged.get(id(one), one) for one in found if id(one) not in hidden]


def line(problem: Problem, width: int) -> Text:
    """A problem on one line: what, then the command, which is not cut, and of the reason what there is room for."""
    subject = f"{MARKS[problem.severity]} {_subject(problem)}"
    does = f" → {problem.action.command or problem.action.words}"
    room = width - len(subject) - len(does) - 2
    why = one_line(problem.why)
    if room >= len(why):
        subject = f"{subject}: {why}"
    elif room > ALIKE * len(_INDENT):
        subject = f"{subject}: {why[: room - 1]}…"
    told = Text(subject, STYLES[problem.severity]).append(does, "bold")
    told.truncate(width, overflow="ellipsis")
    return told


def lines(problem: Problem, width: int) -> list[Text]:
    """A problem in full: a sentence, broken where it must be, and the command on a line of its own, to copy."""
    words = f"{MARKS[problem.severity]} {_subject(problem)}: {one_line(problem.why)} → {problem.action.words}"
    rows = textwrap.wrap(words, max(20, width), subsequent_indent=_INDENT, break_long_words=True)
    told = [Text(row) for row in rows]
    told[0].stylize(STYLES[problem.severity], 0, len(_subject(problem)) + 2)
    if problem.action.command:
        told.append(Text(f"{_INDENT * 2}{problem.action.command}", "bold"))
    return told


def _fitted(told: Sequence[Problem], width: int, room: int | None) -> list[Text]:
    full = [lines(one, width) for one in told]
    if room is None or sum(map(len, full)) <= room:
        return [row for rows in full for row in rows]
    return [*_cut(told, full, width, max(0, room))]


def _cut(told: Sequence[Problem], full: Sequence[Sequence[Text]], width: int, room: int) -> Iterator[Text]:
    """In full as long as every other one still has a line; then a line each, then their number."""
    for number, (one, rows) in enumerate(zip(told, full, strict=True)):
        others = len(told) - number - 1
        if room <= 1 and others:
            if room == 1:
                yield Text(f"{_INDENT}and {plural(others + 1, 'more problem')}: `pombo status --all`", "dim")
            return
        if room < 1:
            return
        shown = rows if len(rows) + others <= room else [line(one, width)]
        yield from shown
        room -= len(shown)


def _subject(problem: Problem) -> str:
    return one_line(f"{problem.source} — {problem.what}" if problem.source else problem.what)


def _merged(many: Sequence[Problem]) -> Problem:
    first, names = many[0], [str(one.source) for one in many]
    shown = f"{', '.join(names[:ALIKE])} and {len(names) - ALIKE:,} more"
    why = f"{plural(len(many), 'source')}, {shown}; {first.source}: {first.why}"
    return replace(first, source=None, why=why)
