"""Job words: a job's counts and checkpoint for people; pure, but for a look whether its file is on this machine."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pombo.ops import wording
from pombo.ops.jobboard import JobView
from pombo.shared.clock import iso, moment
from pombo.shared.deadletters.letter import is_id, order
from pombo.shared.settings import Settings

COUNTS: Final[Mapping[str, str]] = {
    "moved": "events put back into the queue",
    "discarded": "events deleted for good",
    "letters": "letters written to the file",
    "removed": "letters discarded after that",
    "restored": "letters put back",
    "present": "letters that had never left",
    "older": "left: accepted more than 24 h ago",
    "skipped": "left: no single event that could be sent",
    "unsafe": "left: Segment may have them, or they died of something else",
    "repeated": "left: redriven after an outage before",
    "unreadable": "left: of another version of pombo",
    "bad": "lines of no use left out",
}
_PHASES: Final[Mapping[str, str]] = {
    "writing": "writing the file", "closing": "giving the file its name",
    "removing": "discarding what the file holds", "complete": "complete",
}  # fmt: skip


class Count(NamedTuple):
    """One thing that a job counts."""

    name: str
    words: str
    value: int


def counts(meta: Mapping[str, Any]) -> list[Count]:
    """What the job counts, those that are nothing left out."""
    return [Count(name, words, int(meta[name])) for name, words in COUNTS.items() if meta.get(name)]


def checkpoint(job: JobView) -> list[tuple[str, str]]:
    """Where the job would go on after a crash, as labels and words."""
    meta = job.meta
    told: list[tuple[str, str]] = []
    if meta.get("throttle"):
        told.append(("Rate asked for", f"at most {meta['throttle']:g} a second"))
    if meta.get("phase"):
        told.append(("Phase", _PHASES.get(str(meta["phase"]), str(meta["phase"]))))
    if meta.get("file"):
        told.append(("File", f"{meta['file']}, next line {meta.get('line', 1):,}"))
    told += [(label, words) for label, name in _PLACES if (words := _place(str(meta.get(name) or "")))]
    if meta.get("bytes"):
        told.append(("Written", wording.size(meta["bytes"])))
    if (pending := meta.get("pending")) and "ids" in pending:
        told.append(("Under way", f"a step of {wording.plural(len(pending['ids']), 'letter')}"))
    return told


_PLACES: Final = (("Goes on behind", "next"), ("Goes up to", "end"))


def _place(stream_id: str) -> str:
    """A place among the letters by the time of death; "" for the start."""
    bare = stream_id.removeprefix("(")
    if not is_id(bare) or not order(bare)[0]:
        return ""
    return f"what died at {iso(moment(order(bare)[0]))}"


def file_here(settings: Settings, job: JobView) -> str | None:
    """The name of the file that the job made, if it lies in this machine's folder of exports."""
    path, host = job.meta.get("path"), job.meta.get("host")
    if not path or not job.meta.get("complete") or host != socket.gethostname():
        return None
    here = Path(str(path))
    return here.name if here.parent == settings.export_folder and here.is_file() else None
