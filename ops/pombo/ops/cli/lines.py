"""NDJSON as people have it: read line by line, whatever is in the lines."""

from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

MAX_LINE = 1 << 20
"""Bytes of a line that is looked at; an event has 32,000 at most."""
SHOWN_TEXT = 2_000
"""Characters of a broken line that are kept to show."""

_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """One line that is not blank: an event, or a complaint about the text that is none."""

    number: int
    """From 1."""
    end: int
    """Bytes read up to its end."""
    event: dict[str, Any] | None
    complaint: str = ""
    text: str = ""


def read_lines(stream: BinaryIO) -> Iterator[Line]:
    """Read every line that is not blank; one that is too long or no JSON object is a complaint."""
    end = 0
    for number, (raw, length) in enumerate(_bounded(stream), 1):
        end += length
        text = raw.removeprefix(_BOM) if number == 1 else raw
        if text.strip():
            yield _read(number, end, text, length)


def _bounded(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line's start and its whole length; never more than `MAX_LINE` of it is held."""
    while line := stream.readline(MAX_LINE):
        length, tail = len(line), line
        while len(tail) == MAX_LINE and not tail.endswith(b"\n"):
            tail = stream.readline(MAX_LINE)
            length += len(tail)
        yield line, length


def _read(number: int, end: int, raw: bytes, length: int) -> Line:
    if length > MAX_LINE:
        return _broken(number, end, raw, f"{length:,} bytes long, and an event has 32,000 at most")
    try:
        event = orjson.loads(raw.strip())
    except orjson.JSONDecodeError as error:
        return _broken(number, end, raw, f"no JSON: {error.msg} at character {error.pos + 1}")
    if not isinstance(event, dict):
        return _broken(number, end, raw, "no JSON object")
    return Line(number, end, event)


def _broken(number: int, end: int, raw: bytes, complaint: str) -> Line:
    text = raw[: 4 * SHOWN_TEXT].decode("utf-8", "replace").strip()[:SHOWN_TEXT]
    return Line(number, end, None, complaint, text)
