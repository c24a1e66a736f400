"""Job words: a job's counts and checkpoint for people; pure, but for a look whether its file is on this machine."""

import socket
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pombo.ops import wording
from pombo.ops.jobboard import JobView
from pombo.shared.clock import moment
from pombo.shared.deadletters.letter import is_id, order
from pombo.shared.settings import Settings

COUNTS: Final[Mapping[str, str]] = {
    "moved": "events put back into the queue",
    "discarded": "events deleted for good",
    "letters": "letters written to the file",
    "removed": "letters discarded after that",
    "restored": "letters put back",
    "present": "letters that were there already",
    "before": "letters put back from this file before; left as they are",
    "older": "left: accepted more than 24 h ago",
    "skipped": "left: no single event that could be sent",
    "unsafe": "left: Segment may have them, or they died of something else",
    "repeated": "left: redriven after an outage before",
    "unreadable": "left: of another version of pombo",
    "bad": "lines of no use left out",
}
_PHASES: Final[Mapping[str, str]] = {
    "writing": "writing the file", "closing": "giving the file its name",
    "removing": "discarding what the file holds", "complete": "complete", "dropped": "given up, and its half deleted",
}  # fmt: skip


class Count(NamedTuple):
    """One thing that a job counts."""

    name: str
    words: str
    value: int


def counts(meta: Mapping[str, Any]) -> list[Count]:
    """What the job counts, those that are nothing left out."""
    return [Count(name, words, int(meta[name])) for name, words in COUNTS.items() if meta.get(name)]


class Mark(NamedTuple):
    """One thing that a job knows of where it is."""

    label: str
    words: str
    at: datetime | None = None
    """The moment that the words end with."""


def checkpoint(job: JobView) -> list[Mark]:
    """What the job was told, and, until it finished, where it would go on after a crash."""
    meta = job.meta
    told: list[Mark] = []
    if meta.get("throttle"):
        told.append(Mark("Rate asked for", f"at most {meta['throttle']:g} a second"))
    if meta.get("file"):
        told.append(Mark("File", str(meta["file"])))
    if meta.get("bytes"):
        told.append(Mark("Written", wording.size(meta["bytes"])))
    return told if job.status == "finished" else told + _place(meta)


def _place(meta: Mapping[str, Any]) -> list[Mark]:
    told: list[Mark] = []
    if meta.get("phase"):
        told.append(Mark("Phase", _PHASES.get(str(meta["phase"]), str(meta["phase"]))))
    if meta.get("line"):
        told.append(Mark("Next line", f"{meta['line']:,}"))
    for label, name in (("Goes on behind", "next"), ("Goes up to", "end")):
        if (at := _death(str(meta.get(name) or ""))) is not None:
            told.append(Mark(label, "what died", at))
    if (pending := meta.get("pending")) and "ids" in pending:
        told.append(Mark("Under way", f"a step of {wording.plural(len(pending['ids']), 'letter')}"))
    return told


def _death(stream_id: str) -> datetime | None:
    """When the letter at a place died; None for the start."""
    bare = stream_id.removeprefix("(")
    return moment(order(bare)[0]) if is_id(bare) and order(bare)[0] else None


def file_here(settings: Settings, job: JobView) -> str | None:
    """The name of the file that the job made, if it lies in this machine's folder of exports."""
    path, host = job.meta.get("path"), job.meta.get("host")
    if not path or not job.meta.get("complete") or host != socket.gethostname():
        return None
    here = Path(str(path))
    return here.name if here.parent == settings.export_folder and here.is_file() else None
