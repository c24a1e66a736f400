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


def letters(number: int) -> str:
    """So many dead letters."""
    return f"{number:,} dead letter{'' if number == 1 else 's'}"


def _redriven(meta: Meta) -> str:
    return f"{letters(meta.get('moved', 0))} redriven"


def _discarded(meta: Meta) -> str:
    events, number = meta["discarded"], meta["done"]
    return f"{letters(number)} discarded" + ("" if events == number else f", {events:,} events in all")


def _exported(meta: Meta) -> str:
    if not meta["letters"]:
        return "no dead letter to export; no file was made"
    where = f"{meta['path']} on {meta['host']}"
    if not meta["complete"]:
        return f"{letters(meta['letters'])} of an export written, which was given up; there is no file"
    main = f"{letters(meta['letters'])} exported to {where} ({meta['bytes']:,} bytes)"
    return f"{main}, and {meta['removed']:,} of them discarded" if meta["discards"] else main


def _imported(meta: Meta) -> str:
    bad = meta["bad"]
    told = f"{letters(meta['restored'])} put back from {meta['file']}"
    first = "; ".join(f"line {line['line']}: {line['error']}" for line in meta["first_bad"])
    return f"{told}; {bad:,} line{'' if bad == 1 else 's'} of no use left out ({first})" if bad else told


def _retained(meta: Meta) -> str:
    if not meta["letters"]:
        return "no dead letter was older than the source's retention"
    return f"retention: {_exported(meta)}"


def _recovered(meta: Meta) -> str:
    return f"{letters(meta['moved'])} of the outage redriven"


_KINDS: dict[str, Callable[[Meta], str]] = {
    "redrive": _redriven,
    "discard": _discarded,
    "export": _exported,
    "import": _imported,
    "retention": _retained,
    "automatic_redrive": _recovered,
}
