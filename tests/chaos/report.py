"""`python -m chaos.report`: `docs/reliability.md`, written from what the suites saw.

What pombo promises is prose, in the template beside this; every figure comes from the results. A run that went wrong,
and a suite that did not run, are named before all figures.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Final

from chaos.seen import MUTANTS, RECOVERIES, SIMULATION, SURVIVED, Oracle, Recovered, Recovery, Result, read
from pombo.shared.losses import WHY
from support.results import FOLDER

TEMPLATE: Final = Path(__file__).with_name("reliability.template.md")
DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
PROCESSES: Final = ("Our processes", "The gateway", "Redis", "Segment", "The machine")
SUITES: Final = {
    (SIMULATION, "every blow at every step"): "make chaos",
    (SIMULATION, "random schedules"): "make chaos",
    (SIMULATION, "random schedules for hours"): "make chaos-long",
    (MUTANTS, ""): "make mutants",
    **{(section, ""): "make e2e" for section in PROCESSES},
}
"""What belongs to a whole report (a section, or one fault of it), and what makes it."""
SEEN_MOST: Final = 220
"""Characters of a cell of what was seen, so that a table can be read."""
FOUND_MOST: Final = 110
_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?"
_DATED = re.compile(rf" (?:at|since|until|between) {_ISO}(?: and [-\d]*[T ]?\d\d:\d\d:\d\d)?(?: UTC)?|{_ISO}")
_TOLD = re.compile(r"; lost [\d,]+, sent again [\d,]+, out of order \d+")
"""What the row's other cells say."""
_DETAILS = re.compile(r"^\d+\.\d{4} |: \{[^{}]*\}|(?<=its lease) \S+")
"""Of a simulated run: the moment, a whole ledger, a token."""
_PATH = re.compile(r"(?<![\w/.:])/(?!v1/|_sim/)[\w.@+-]+/[^\s;,:|`'\"()]*")


KEPT: Final = {
    "kept_always": "killed -9 and started again.*",
    "kept_everysec_kill": "killed -9 with appendfsync everysec",
    "kept_everysec_power": "power lost with appendfsync everysec",
    "kept_none": "restarted without persistence under load",
    "kept_failover": "failover to a replica that was behind.*",
    "kept_cluster": "cluster: slots move.*",
    "kept_flushed": "flushed under load",
}
"""Which faults show what a Redis keeps, by the place in the template."""


# -- the page ---------------------------------------------------------------------------------------------------------


def document(template: str, results: Sequence[Result]) -> str:
    """The whole page.

    Raises:
        ValueError: the template has a place that nothing belongs to.
    """
    results = sorted(results, key=lambda one: (one.section, one.fault))
    places = {
        "verdict": verdict(results),
        "summary": summary(results),
        "recovery": recovery(results),
        "simulated": simulated(results),
        "sections": "\n\n".join(sections(results)),
        "mutants": mutants(results),
        **{place: _kept(results, faults) for place, faults in KEPT.items()},
    }
    try:
        return Template(template).substitute(places)
    except KeyError as unknown:
        raise ValueError(f"the template has a place ${unknown.args[0]}, for which nothing is written") from None


def wrongs(results: Sequence[Result]) -> list[str]:
    """Everything that went wrong, or was late, in a line each."""
    found = [f"{one.section}, {one.fault}: {', '.join(one.wrong)}" for one in results if one.wrong]
    late = [one for one in _recovered(results).values() if one is not None and one.late]
    return found + [f"{one.recovery.what}: {_seconds(one.worst)}, promised {one.recovery.limit_s:g} s" for one in late]


def missing(results: Sequence[Result]) -> list[str]:
    """The suites of which there is nothing."""
    there = {(one.section, one.fault) for one in results} | {(one.section, "") for one in results}
    return [
        f"{': '.join(word for word in suite if word)} (`{command}`)"
        for suite, command in SUITES.items()
        if suite not in there
    ]


def verdict(results: Sequence[Result]) -> str:
    """In words, before all figures."""
    found, absent = wrongs(results), missing(results)
    lines = [f"**Not all went well: {len(found)}.**", "", *(f"- {cell(line)}" for line in found)]
    if not found:
        lines = [
            "In what is shown here, nothing accepted was lost but what Redis itself forgot, nothing arrived out of "
            "order, nothing was sent again without a cause, and nothing took longer than promised."
        ]
    if absent:
        lines += ["", f"**Not run, so nothing is said of it:** {'; '.join(absent)}."]
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """All runs in a few sums: those of the simulation, and those of real processes."""
    worlds = [one for one in results if one.section == SIMULATION and "went_wrong" in one.figures]
    real = [one for one in results if one.oracle is not None]
    oracles = [one.oracle for one in real if one.oracle is not None]
    went_wrong, lost = _figure(worlds, "went_wrong"), sum(one.lost for one in oracles)
    runs = f"{sum(one.runs for one in worlds):,}, of which {_bold(went_wrong, 'went wrong')}"
    forgotten = sum(min(one.oracle.lost, one.excused) for one in real if one.oracle is not None)
    none = "0" if not went_wrong else "0 in the runs that went well"
    told = f"{_alarm(lost - forgotten)}{f', and {forgotten:,} that Redis itself forgot' if forgotten else ''}"
    rows = [
        ("runs", runs, f"{sum(one.runs for one in real):,}, in {_plural(len(real), 'test')}"),
        ("steps taken", f"{_figure(worlds, 'steps'):,}", ""),
        ("blows dealt", f"{sum(one.blows for one in worlds):,}", ""),
        ("killed -9", f"{_figure(worlds, 'kills'):,}", f"{sum(one.kills for one in real):,} at least"),
        ("ids issued", f"{_figure(worlds, 'events'):,}", f"{sum(one.issued for one in oracles):,}"),
        ("lost", none, told),
        *((row, none, _alarm(sum(getattr(one, kind) for one in oracles))) for kind, row in _SUMMED.items()),
        ("ledger recounted", f"{_figure(worlds, 'recounts'):,} times, each balanced" if not went_wrong else
         f"{_figure(worlds, 'recounts'):,} times, balanced in the runs that went well", "after each test"),
        ("sent again, with cause", _causes(worlds), _causes(real)),
    ]  # fmt: skip
    worlds_there, real_there = bool(worlds), bool(real)
    shown = [(name, one if worlds_there else "not run", two if real_there else "not run") for name, one, two in rows]
    return table(("", "simulated", "real processes"), shown, numbers=3)


_SUMMED: Final = {"out_of_order": "out of order", "twice": "kept twice", "needless": "sent again without a cause"}


def recovery(results: Sequence[Result]) -> str:
    """How soon all was well again."""
    rows = []
    for asked, one in _recovered(results).items():
        limit = "" if asked.limit_s is None else f"≤ {asked.limit_s:g} s"
        if one is None:
            rows.append((asked.what, "", "not run", "not run", limit))
        else:
            worst = f"**{_seconds(one.worst)}**, late" if one.late else _seconds(one.worst)
            rows.append((asked.what, f"{one.runs:,}", _seconds(one.median), worst, limit))
    return table(("until", "runs", "median", "worst", "promised"), rows, numbers=1)


def simulated(results: Sequence[Result]) -> str:
    """The simulation's campaigns."""
    names = ("steps", "kills", "events", "requests", "recounts")
    mine = [one for one in results if one.section == SIMULATION and "went_wrong" in one.figures]
    rows = [
        (cell(one.fault), f"{one.runs:,}", f"{one.blows:,}", *(f"{int(one.figures.get(n, 0)):,}" for n in names),
         _alarm(int(one.figures["went_wrong"])), _causes([one])) for one in mine
    ]  # fmt: skip
    heads = ("", "runs", "blows", *names, "went wrong", "sent again (cause)")
    return table(heads, rows, numbers=1, last=1) if rows else "Not run."


def sections(results: Sequence[Result]) -> Iterator[str]:
    """A heading and a table for each section of the real processes, those that nobody foresaw at the end."""
    names = [name for name in dict.fromkeys(one.section for one in results) if name not in {SIMULATION, MUTANTS}]
    for name in (*PROCESSES, *(name for name in names if name not in PROCESSES)):
        mine = [one for one in results if one.section == name]
        heads = ("fault", "runs", "ids", "lost", "out of order", "sent again (cause)", "seen")
        shown = table(heads, [_row(one) for one in mine], numbers=1, last=2) if mine else "Not run."
        yield f"### {cell(name)}\n\n{shown}"


def _row(one: Result) -> tuple[str, ...]:
    seen = cell(_TOLD.sub("", one.seen), SEEN_MOST)
    if one.wrong:
        seen = f"**Went wrong: {cell(', '.join(one.wrong))}.** {seen}"
    if one.oracle is None:
        return (cell(one.fault), f"{one.runs:,}", "–", "–", "–", "–", seen)
    ids, out = f"{one.oracle.issued:,}", _alarm(one.oracle.out_of_order)
    return (cell(one.fault), f"{one.runs:,}", ids, _lost(one, one.oracle), out, _causes([one]), seen)


def _lost(one: Result, oracle: Oracle) -> str:
    lost = _alarm(oracle.lost) if oracle.lost > one.excused else f"{oracle.lost:,}"
    return f"{lost} of {one.excused:,} {one.excuse}" if one.excused else lost


def mutants(results: Sequence[Result]) -> str:
    """Who found them."""
    mine = [one for one in results if one.section == MUTANTS]
    if not mine:
        return "Not run."
    found = sum(not one.wrong for one in mine)
    told = f"{found} of {len(mine)} were found out."
    rows = [(cell(one.fault), *_finding(one)) for one in mine]
    return (
        f"{told if found == len(mine) else f'**{told}**'}\n\n{table(('broken', 'found by', 'seen'), rows, numbers=3)}"
    )


def _finding(one: Result) -> tuple[str, str]:
    if one.wrong:
        return f"**{SURVIVED}**", ""
    run, _, why = one.seen.partition(": ")
    return f"`{cell(run)}`", cell(_DETAILS.sub("", why), FOUND_MOST)


def _kept(results: Sequence[Result], faults: str) -> str:
    mine = [one for one in results if one.section == "Redis" and re.fullmatch(faults, one.fault)]
    return "; ".join(_loss(one, one.oracle) for one in mine if one.oracle is not None) or "not run"


def _loss(one: Result, oracle: Oracle) -> str:
    if "named_events" in one.figures:
        return (
            f"Redis forgot {one.excused:,} accepted, `audit` named {int(one.figures['named_events']):,}, "
            f"not delivered before: {oracle.lost:,}"
        )
    return f"lost {_lost(one, oracle)}" + ("" if one.excused else f" of {oracle.accepted:,} accepted")


# -- small things -----------------------------------------------------------------------------------------------------


def _recovered(results: Sequence[Result]) -> dict[Recovery, Recovered | None]:
    return {one: one.of(results) for one in RECOVERIES}


def _figure(results: Iterable[Result], name: str) -> int:
    return int(sum(one.figures.get(name, 0) for one in results))


def _causes(results: Iterable[Result]) -> str:
    again: Counter[str] = Counter()
    for one in results:
        again += one.again
    return cell(", ".join(f"{number:,} {cause}" for cause, number in sorted(again.items(), key=_most))) or "0"


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _alarm(number: int) -> str:
    return f"**{number:,}**" if number else "0"


def _bold(number: int, words: str) -> str:
    return f"**{number:,} {words}**" if number else f"0 {words}"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"


def cell(text: str, most: int = 0) -> str:
    """Text as it can stand in a table: one line, without moments and machine's paths, nothing taken for Markdown."""
    plain = _PATH.sub("…", _DATED.sub("", text.replace(f" ({WHY})", "")))
    plain = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    if most and len(plain) > most:
        plain = plain[:most].rpartition(" ")[0].rstrip(" ,;:") + " …"
    if plain.count("`") % 2:
        plain = plain.replace("`", "'")
    for char, safe in (("\\", "\\\\"), ("|", "\\|"), ("*", "\\*"), ("<", "&lt;"), ("](", "]\\(")):
        plain = plain.replace(char, safe)
    return plain


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int, last: int = 0) -> str:
    """A table of Markdown, whose columns from `numbers` on, but for the `last` ones, are of numbers."""
    marks = ["---:" if numbers <= number < len(heads) - last else "---" for number in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, marks, *rows))


# -- files ------------------------------------------------------------------------------------------------------------


def main(folder: Path = FOLDER, page: Path = DOCUMENT, say: Callable[[str], object] = sys.stdout.write) -> int:
    """Write the page; 0 when all is well in it, 1 when something went wrong or was late, 2 when there is no page."""
    try:
        results = read(folder)
        page.write_text(document(TEMPLATE.read_text("utf-8"), results), "utf-8")
    except (ValueError, OSError) as error:
        say(f"{error}\n")
        return 2
    found, absent = wrongs(results), missing(results)
    told = f"{_plural(len(results), 'result')}, {len(found)} not well, {_plural(len(absent), 'suite')} missing"
    lines = (f"{page.name}: {told}", *(f"    {line}" for line in found), *(f"    not run: {line}" for line in absent))
    say("".join(f"{line}\n" for line in lines))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
