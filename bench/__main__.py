"""`make bench`: measure pombo beside its peers, and say it in a table, in JSON and in docs/benchmarks.md."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import orjson
from rich.console import Console

from bench import capacity, peers, report
from bench.corpus import load
from bench.figures import figures
from bench.plan import FULL, QUICK, Plan
from bench.sections import SECTIONS
from bench.setting import setting
from bench.stage import Stage, TrialError
from pombo.shared.errors import PomboError

_RESULTS = peers.ROOT / "bench" / "results.json"
_DOCUMENT = peers.ROOT / "docs" / "benchmarks.md"
_SCALING = peers.ROOT / "docs" / "scaling.md"
_JSON = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def main() -> int:
    """Measure; 0 when all aims are met, 1 when one is not, 2 when nothing can be measured. `--quick` judges nothing."""
    told = _arguments()
    if not sys.platform.startswith("linux"):
        _say("", "this needs Linux, whose kernel says what a worker's processes use")
        return 2
    found = peers.find(told.peers)
    if found.missing:
        _say("", f"{', '.join(found.missing)}: not installed, and left out; `make bench` installs them")
        if not told.quick:
            return 2
    try:
        return _measure(told, found)
    except (PomboError, TrialError, OSError) as error:
        _say("", str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measure pombo beside its peers and its limits.")
    parser.add_argument("--quick", action="store_true", help="only show that it works: seconds instead of minutes")
    parser.add_argument(
        "--only", type=_names, default=list(SECTIONS), metavar="NAME[,NAME]",
        help=f"these sections alone, and no page: {', '.join(SECTIONS)}",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go; default: bench/results.json")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="where the page goes; default: docs/benchmarks.md")
    parser.add_argument(
        "--peers", type=Path, metavar="FOLDER", default=peers.HOME, help="where the peers are installed"
    )
    return parser.parse_args()


def _names(told: str) -> list[str]:
    names = told.split(",")
    if unknown := [name for name in names if name not in SECTIONS]:
        raise argparse.ArgumentTypeError(f"there is no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    return names


def _measure(told: argparse.Namespace, found: peers.Peers) -> int:
    plan, corpus = QUICK if told.quick else FULL, load()
    program = os.environ.get("POMBO_SERVER_BIN")
    with Stage(corpus, found, Path(program) if program else None) as stage:
        chapters = [_chapter(name, stage, plan) for name in told.only]
        where = setting(corpus, plan, stage)
    report.show(Console(width=None if sys.stdout.isatty() else 160), chapters)
    # Figures of a quick run, or of a part, are no record: they go only where somebody asks for them.
    whole = not told.quick and told.only == list(SECTIONS)
    results, document = (told.json or _RESULTS, told.docs or _DOCUMENT) if whole else (told.json, told.docs)
    if results:
        results.write_bytes(orjson.dumps(report.as_json(where, chapters), option=_JSON))
    if document:
        document.write_text(report.document(where, chapters), "utf-8")
    if whole and not told.docs:
        medians = {one.line.key: one.pombo.median for chapter in chapters for one in chapter.figures}
        _SCALING.write_text(capacity.page(capacity.Costs.of(medians), medians, where.describe()), "utf-8")
    return 0 if told.quick else int(_missed(chapters))


def _chapter(name: str, stage: Stage, plan: Plan) -> report.Chapter:
    section, begun = SECTIONS[name], time.monotonic()
    runs = section.measure(stage, plan, partial(_say, name))
    _say(name, f"took {time.monotonic() - begun:.0f} s")
    return report.Chapter(name, section.title, figures(runs, section.lines), section.method(plan))


def _missed(chapters: Sequence[report.Chapter]) -> bool:
    return any(one.missed for chapter in chapters for one in chapter.figures)


def _say(section: str, words: str) -> None:
    sys.stderr.write(f"bench: {section + ': ' if section else ''}{words}\n")


if __name__ == "__main__":
    sys.exit(main())
