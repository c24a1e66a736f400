"""What the suites saw, kept as files for the report on reliability: one a fault, the newest run's."""

import os
import re
from pathlib import Path
from typing import Any, Final

import orjson

from support.oracle import Findings

FOLDER: Final = Path(os.environ.get("POMBO_RESULTS", Path(__file__).resolve().parents[2] / ".results"))
"""Where the files are; left out of the repository, since `docs/reliability.md` is written from them."""
FAILED: Final = "Failed tests"
"""Section of the tests that failed, whatever they had recorded by then."""


def record(
    section: str, fault: str, seen: str, *, runs: int = 1, findings: Findings | None = None, **figures: float
) -> None:
    """Keep what one test saw, in the place of what it saw before.

    Args:
        section: heading under which the report shows it: `Our processes`, `Redis`, `Segment`, `The machine`.
        fault: what was done, in a few words that no other test uses: `worker killed -9 amid a request`.
        seen: what happened, in a sentence with its figures.
        runs: how often it was done.
        findings: what the oracle judged, if it did.
        figures: measured numbers by name, the unit last: `recovered_worst_s=8.7`.
    """
    document: dict[str, Any] = {"section": section, "fault": fault, "seen": seen, "runs": runs, "figures": figures}
    if findings is not None:
        document["oracle"] = findings.counts
    FOLDER.mkdir(exist_ok=True)
    _file(section, fault).write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def record_end(test: str, why: str | None) -> None:
    """Keep that a test failed, and why; or (None) that it does no more."""
    if why is None:
        _file(FAILED, test).unlink(missing_ok=True)
    else:
        record(FAILED, test, why[:1000])


def _file(section: str, fault: str) -> Path:
    name = re.sub(r"[^a-z0-9]+", "-", f"{section} {fault}".lower()).strip("-")
    return FOLDER / f"{name[:200]}.json"
