"""What the suites saw, read from the files of `support.results`, and what of it went wrong."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from support.results import FAILED

SIMULATION: Final = "Simulation"
MUTANTS: Final = "Mutants"
SURVIVED: Final = "survived"


class Oracle(BaseModel):
    """What the oracle of the real processes counted (`support.oracle.Findings.counts`)."""

    model_config = ConfigDict(frozen=True)
    issued: int
    accepted: int
    kept: int
    dead: int
    lost: int
    twice: int
    out_of_order: int
    spurious: int
    dropped: int
    needless: int
    sent_again: Mapping[str, int]


class Result(BaseModel):
    """One file of `support.results.record`."""

    model_config = ConfigDict(frozen=True)
    section: str
    fault: str
    seen: str
    runs: int = Field(ge=0)
    figures: Mapping[str, float] = {}
    oracle: Oracle | None = None

    @property
    def excused(self) -> int:
        """Accepted events that Redis itself forgot, or held when it was emptied; so many may be lost."""
        return int(self.figures.get(f"{self.excuse}_events", 0))

    @property
    def excuse(self) -> str:
        """What Redis did with them: `forgot`ten, or `held` and lost at once."""
        return "held" if "held_events" in self.figures else "forgotten"

    @property
    def kills(self) -> int:
        """How often real processes were killed for certain: as counted, or the runs of a fault that is nothing else."""
        return int(self.figures.get("kills", self.runs if re.search("killed -9(?!,)", self.fault) else 0))

    @property
    def again(self) -> Counter[str]:
        """What was sent again, by cause."""
        if self.oracle is not None:
            return Counter(self.oracle.sent_again)
        told = re.search(r"sent again: (.*?)(?:;|$)", self.seen)
        pairs = re.findall(r"(\d+) ([^,]+)", told[1]) if told else ()
        return Counter({cause: int(number) for number, cause in pairs})

    @property
    def blows(self) -> int:
        """Those of a simulation, which tells them in its sentence."""
        told = re.search(r"([\d,]+) blows", self.seen)
        return int(told[1].replace(",", "")) if told else 0

    @property
    def wrong(self) -> list[str]:
        """What went wrong, in a few words each."""
        return [*self._wrong()]

    def _wrong(self) -> Iterator[str]:
        if self.section == FAILED:
            yield "failed"
        if self.section == MUTANTS and self.seen == SURVIVED:
            yield "not found out"
        if number := int(self.figures.get("went_wrong", 0)):
            yield f"{number:,} of {self.runs:,} runs went wrong"
        if self.oracle is None:
            return
        if self.oracle.lost > self.excused:
            yield f"{self.oracle.lost:,} lost" + (f", of {self.excused:,} {self.excuse}" if self.excused else "")
        for kind, words in _FAULTS.items():
            if number := getattr(self.oracle, kind):
                yield f"{number:,} {words}"


_FAULTS: Final = {
    "twice": "kept twice",
    "out_of_order": "out of order",
    "spurious": "never issued, or certainly refused, and there",
    "dropped": "dropped by Segment",
    "needless": "sent again without a cause",
}


@dataclass(frozen=True, slots=True)
class Recovery:
    """How soon all is well again: of which faults, by which of their figures, and by when at the latest."""

    what: str
    section: str
    faults: str
    """A regular expression for the whole name."""
    worst: tuple[str, ...]
    median: str = ""
    limit_s: float | None = None

    def of(self, results: Iterable[Result]) -> "Recovered | None":
        """What was measured; None if nothing was."""
        mine = [one for one in results if one.section == self.section and re.fullmatch(self.faults, one.fault)]
        worst = [one.figures[name] for one in mine for name in self.worst if name in one.figures]
        middle = [one.figures[self.median] for one in mine if self.median in one.figures] or worst
        runs = sum(one.runs for one in mine if not one.figures.keys().isdisjoint(self.worst))
        return Recovered(self, runs, median(middle), max(worst)) if worst else None


@dataclass(frozen=True, slots=True)
class Recovered:
    """Seconds that were measured; the median is that of the runs where it is known, else of the worst of each fault."""

    recovery: Recovery
    runs: int
    median: float
    worst: float

    @property
    def late(self) -> bool:
        """Whether it took longer than is promised."""
        return self.recovery.limit_s is not None and self.worst > self.recovery.limit_s


_ILL = "SCRIPT FLUSH every 100 ms|min-replicas-to-write without a replica|every answer 1 s late|half-open sockets"
RECOVERIES: Final = (
    Recovery(
        "a worker is killed -9: its partitions have an owner, its events are delivered", "Our processes",
        "worker killed -9 amid a request", ("recovered_worst_s",), "recovered_median_s", 15.0,
    ),
    Recovery(
        "a worker is stopped for longer than its lease: another has delivered its events", "Our processes",
        "SIGSTOP .*", ("recovered_s",), limit_s=15.0,
    ),
    Recovery(
        "an idle worker is told to end: it is gone", "Our processes", "SIGTERM while idle", ("gone_worst_s",),
        "gone_median_s", 1.0,
    ),
    Recovery(
        "Redis was killed -9 and is back: bots and workers are at work", "Redis", "killed -9 and started again.*",
        ("recovered_worst_s",), limit_s=5.0,
    ),
    Recovery("Redis was ill and is well: the same", "Redis", _ILL, ("recovered_s",), limit_s=5.0),
    Recovery(
        "Redis was away for bots with a spool: the spool is empty, bots append directly", "Redis",
        ".*, bots with a spool", ("recovered_s",),
    ),
    Recovery(
        "Redis lost something and is back, its sources too: bots accept again", "Redis", ".*",
        ("back_s", "back_worst_s"),
    ),
    Recovery("Segment is well again: something is delivered", "Segment", ".*", ("resumed_s",)),
)  # fmt: skip


def read(folder: Path) -> list[Result]:
    """Read all results of a folder.

    Raises:
        ValueError: there are none, or a file is none.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ValueError(f"no results in {folder}: run `make chaos` and `make e2e` first")
    return [_parsed(path) for path in paths]


def _parsed(path: Path) -> Result:
    try:
        return Result.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"{path} is no result ({where + ': ' if where else ''}{first['msg']}): delete it, and run its suite again"
        ) from None
