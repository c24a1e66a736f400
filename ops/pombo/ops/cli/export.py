"""Dead letters as a file: complete or not there, and for its owner's eyes alone."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import orjson

from pombo.ops.cli.failures import ReaderGoneError
from pombo.ops.cli.letters import read_letters
from pombo.ops.cli.session import Session
from pombo.shared.deadletters import Filter


async def export_to(session: Session, wanted: Filter, limit: int | None, path: Path | None) -> int:
    """Write letters as NDJSON to `path`, or to stdout; return how many.

    A file is written beside its name first; without any letter none is made.
    """
    if path is None:
        try:
            return await _write(session, wanted, limit, sys.stdout.buffer)
        except BrokenPipeError:
            raise ReaderGoneError from None
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: ASYNC230
            count = await _write(session, wanted, limit, file)
        if count:
            draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return count


async def _write(session: Session, wanted: Filter, limit: int | None, file: BinaryIO) -> int:
    count = 0
    async for letter in read_letters(session, wanted, limit, []):
        file.write(orjson.dumps(letter.show(), option=orjson.OPT_APPEND_NEWLINE))
        count += 1
    file.flush()
    return count
