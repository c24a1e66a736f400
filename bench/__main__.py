"""`make bench`: measure pombo beside its peers, and say it in a table, in JSON and in docs/benchmarks.md."""

import argparse
import os
import sys
from pathlib import Path

import orjson
from rich.console import Console

from bench import report
from bench.corpus import load
from bench.figures import figures
from bench.plan import FULL, QUICK
from bench.rounds import Bench
from bench.setting import setting
from bench.stage import ROOT, SDK_PYTHON, Stage, TrialError
from pombo.shared.errors import PomboError

_RESULTS = ROOT / "bench" / "results.json"
_DOCUMENT = ROOT / "docs" / "benchmarks.md"
_JSON = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def main() -> int:
    """Measure; 0 when all aims are met, 1 when one is not, 2 when nothing can be measured. `--quick` judges nothing."""
    told = _arguments()
    sdk_python = told.sdk if told.sdk.exists() else None
    if sdk_python is None:
        _say("Segment's SDK is not installed, and is left out; `make bench` installs it")
        if not told.quick:
            return 2
    try:
        return _measure(told, sdk_python)
    except (PomboError, TrialError, OSError) as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measure pombo beside Segment's SDK and RQ.")
    parser.add_argument("--quick", action="store_true", help="only show that it works: seconds instead of minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the results go; default: bench/results.json")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="where the page goes; default: docs/benchmarks.md")
    parser.add_argument(
        "--sdk", type=Path, metavar="PYTHON", default=SDK_PYTHON, help="an interpreter that has Segment's SDK"
    )
    return parser.parse_args()


def _measure(told: argparse.Namespace, sdk_python: Path | None) -> int:
    plan, corpus = QUICK if told.quick else FULL, load()
    program = os.environ.get("POMBO_SERVER_BIN")
    with Stage(corpus, Path(program) if program else None) as stage:
        runs = Bench(stage, plan, sdk_python, _say).run()
        where = setting(corpus, plan, str(stage.program.version), sdk_python)
    found = figures(runs)
    report.show(Console(width=None if sys.stdout.isatty() else 160), found)
    # A quick run's figures are worth nothing: they go only where somebody asks for them.
    results, document = (told.json, told.docs) if told.quick else (told.json or _RESULTS, told.docs or _DOCUMENT)
    if results:
        results.write_bytes(orjson.dumps(report.as_json(where, found), option=_JSON))
    if document:
        document.write_text(report.document(where, found), "utf-8")
    return 0 if told.quick else int(any(one.met is False for one in found))


def _say(words: str) -> None:
    sys.stderr.write(f"bench: {words}\n")


if __name__ == "__main__":
    sys.exit(main())
