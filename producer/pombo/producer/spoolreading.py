"""Reading spools for people: what they hold, where an event is in them, whether a folder can be used."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pombo.producer.spoolfile import BUSY_S, check_version, explained
from pombo.shared.errors import SpoolError

_FIND = """
SELECT sources.name, events.spooled_at, sources.stuck,
  (SELECT count(*) FROM events AS earlier WHERE earlier.source = events.source AND earlier.id < events.id)
FROM events JOIN sources ON sources.number = events.source
WHERE substr(events.body, 1, ?1) = ?2
"""


@dataclass(frozen=True, slots=True)
class SpooledSource:
    """What a spool holds of one source, for people: since when, and what it is stuck for, if not the weather."""

    source: str
    events: int
    bytes: int
    oldest_at: float
    stuck: str | None


class SpooledEvent(NamedTuple):
    """One event in a spool: since when (unix s), what its source is stuck for, and how many go before it."""

    source: str
    spooled_at: float
    stuck: str | None
    ahead: int


def spool_path(folder: Path, namespace: str) -> Path:
    """The database of a folder and namespace."""
    return folder.expanduser().absolute() / f"{namespace}.sqlite3"


def read_spool(path: Path) -> list[SpooledSource]:
    """Tell what a spool holds, by source; nothing where there is none. Makes no file.

    Raises:
        SpoolError: it cannot be read.
    """
    with _observed(path) as database:
        if database is None:
            return []
        rows = database.execute(
            "SELECT name, events, bytes,"
            " (SELECT spooled_at FROM events WHERE source = number ORDER BY id LIMIT 1), stuck"
            " FROM sources WHERE events > 0 ORDER BY name"
        ).fetchall()
    return [SpooledSource(*row) for row in rows]


def find_spooled(path: Path, start: bytes) -> list[SpooledEvent]:
    """The events of a spool whose bodies begin with `start`. Makes no file.

    Raises:
        SpoolError: it cannot be read.
    """
    with _observed(path) as database:
        if database is None:
            return []
        return [SpooledEvent(*row) for row in database.execute(_FIND, (len(start), start))]


def check_folder(folder: Path) -> None:
    """Make sure that spools can be kept in a folder, which need not be there yet; leaves nothing behind.

    Raises:
        SpoolError: they cannot; the message says why.
    """
    folder = folder.expanduser().absolute()
    try:
        found = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise explained(folder, error) from error
    if not found.is_dir():
        raise SpoolError(f"the spool folder {folder} cannot be used: {found} is no folder; set POMBO_SPOOL_DIR to one")
    try:
        tempfile.TemporaryFile(dir=found).close()  # Rights alone tell little: of /proc, of a read-only disk, of root.
    except OSError as error:
        raise SpoolError(
            f"the spool folder {folder} cannot be used: {found} takes no files of this user ({error.strerror}); "
            "change that, or set POMBO_SPOOL_DIR to another folder"
        ) from error


@contextmanager
def _observed(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Read the database of other processes without making a file; None where there is none.

    Raises:
        SpoolError: it cannot be read.
    """
    try:
        if not path.exists():
            yield None
            return
        # Without a journal nobody writes; reading as usual would make one, and leave it there.
        still = "" if Path(f"{path}-wal").exists() else "&immutable=1"
        name = quote(str(path.absolute()).replace(os.sep, "/"))
        database = sqlite3.connect(f"file:{name}?mode=ro{still}", uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            version = check_version(database, path)
            database.execute("BEGIN")
            yield database if version else None
        finally:
            database.close()
    except (sqlite3.Error, OSError) as error:
        raise explained(path, error) from error
