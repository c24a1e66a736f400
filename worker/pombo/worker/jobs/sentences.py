"""What a job did, in one sentence; pure functions of its meta."""

from collections.abc import Callable, Mapping
from typing import Any

Meta = Mapping[str, Any]

_PASSED = (
    ("skipped", "{} skipped, as no single event that could be sent is in there"),
    ("older", "{} left, as they were accepted more than 24 hours ago, and Segment may count such a one twice"),
    ("unsafe", "{} left, as Segment may have got them, or they died of something else"),
    ("repeated", "{} left, as they were redriven after an outage before"),
    ("unreadable", "{} of another version of pombo left alone"),
)


def told(meta: Meta) -> str:
    """What the job did so far, as a sentence without a full stop."""
    main = _KINDS.get(str(meta.get("kind")), _redriven)(meta)
    passed = [words.format(f"{meta[name]:,}") for name, words in _PASSED if meta.get(name)]
    return "; ".join([main, *passed])


def lasts(meta: Meta) -> bool:
    """Whether what the job did stays done when it ends before its end: half of a file does not."""
    return meta.get("kind") not in _FILES or bool(meta.get("complete"))


def letters(number: int) -> str:
    """So many dead letters."""
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def _redriven(meta: Meta) -> str:
    return f"{letters(meta.get('moved', 0))} redriven"


def _discarded(meta: Meta) -> str:
    events, number = meta.get("discarded", 0), meta.get("done", 0)
    return f"{letters(number)} discarded" + ("" if events == number else f", {events:,} events in all")


def _exported(meta: Meta) -> str:
    number, path = meta.get("letters", 0), meta.get("path")
    if not number:
        return "no dead letter exported"
    if meta.get("phase") == "dropped":
        return f"no dead letter exported: the half of a file, with {letters(number)}, was deleted"
    if not meta.get("complete"):
        return f"{letters(number)} written to a file that is not complete"
    main = f"{letters(number)} exported to {path} on {meta.get('host')} ({meta.get('bytes', 0):,} bytes)"
    return f"{main}, and {meta.get('removed', 0):,} of them discarded" if meta.get("discards") else main


def _imported(meta: Meta) -> str:
    bad, first = meta.get("bad", 0), meta.get("first_bad", ())
    main = f"{letters(meta.get('restored', 0))} put back" + (f" from {meta['file']}" if "file" in meta else "")
    present, before = meta.get("present", 0), meta.get("before", 0)
    main += f"; {present:,} were there already" if present else ""
    main += f"; {before:,} had been put back before, and were not put back again" if before else ""
    told = "; ".join(f"line {line['line']}: {line['error']}" for line in first)
    return f"{main}; {bad:,} line{'' if bad == 1 else 's'} of no use left out ({told})" if bad else main


def _retained(meta: Meta) -> str:
    old = meta.get("letters")
    return f"retention: {_exported(meta)}" if old else "no dead letter older than the source's retention"


def _recovered(meta: Meta) -> str:
    return f"{letters(meta.get('moved', 0))} of the outage redriven"


_FILES = frozenset({"export", "retention"})
"""Kinds of jobs that make a file first."""
_KINDS: dict[str, Callable[[Meta], str]] = {
    "redrive": _redriven,
    "discard": _discarded,
    "export": _exported,
    "import": _imported,
    "retention": _retained,
    "automatic_redrive": _recovered,
}
