"""Where and with what was measured: machine, versions, events and sizes."""

import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.corpus import Corpus
from bench.plan import Plan
from bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Setting:
    """What a reader needs to judge the figures."""

    made_at: str
    machine: str
    versions: dict[str, str]
    corpus: str
    sink: str
    plan: Plan

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def setting(corpus: Corpus, plan: Plan, stage: Stage) -> Setting:
    """Look at this machine."""
    versions = {name: version(name) for name in ("pombo", "redis", "rq")}
    versions |= {"Python": platform.python_version(), "server": str(stage.program.version), **stage.peers.versions()}
    events = f"{len(corpus.events):,} events of {corpus.dialogues:,} {corpus.name}"
    return Setting(datetime.now(UTC).date().isoformat(), _machine(), versions, events, stage.sink_is, plan)


def _machine() -> str:
    parts = [_processor(), f"{os.cpu_count()} cores", _memory(), f"{platform.system()} {platform.machine()}"]
    return ", ".join(filter(None, parts))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"
