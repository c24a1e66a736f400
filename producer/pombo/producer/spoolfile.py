"""The spool's database: its form, its connections, and what its errors mean.

One SQLite database per folder and namespace, shared by all processes that use the folder. It is in WAL mode, so that
reading waits for nobody, and each commit is on the disk when it returns.

| table | a row is |
|---|---|
| `events` | one event; `id` is the order in which they came |
| `attempts` | "events `first` to `last` of this source were sent under this token, outcome unknown" |
| `sources` | one source: its totals, and what it is stuck for |
"""

import errno
import os
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pombo.shared.errors import SpoolError

VERSION = 1
BUSY_S = 5.0
"""Seconds to wait for another process's write, unless the caller has less."""
MARGIN = 16 << 20
"""Bytes of the disk that are left free, so that a full spool can still be drained; on small disks an eighth."""
_JOURNAL_PAGES = 256
"""Pages of the journal after which they are copied to their places."""
_PAGE = 4096
_OPENING_PAUSE_S = 0.01
_TOO_MANY_FILES = {errno.EMFILE, errno.ENFILE}
_PAUSES_S = (0.0003, 0.003)
"""Shortest and longest pause between two looks whether others have done writing."""

_SCHEMA = """
CREATE TABLE sources (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  events INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  stuck TEXT
);
CREATE TABLE events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  source INTEGER NOT NULL,
  spooled_at REAL NOT NULL,
  hash INTEGER NOT NULL,
  type TEXT NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX events_of_source ON events (source);
CREATE TABLE attempts (
  source INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  session TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  PRIMARY KEY (source, first)
) WITHOUT ROWID;
"""


class Line:
    """One connection to the database for one kind of work: opened when needed, shared by threads.

    1. `reading` and `writing` open it; a database that was deleted meanwhile is noticed and left.
    2. An error of SQLite closes it, so that the next use begins anew, and is told as a `SpoolError`.
    3. Before a fork it is closed: SQLite's connections must not cross one.
    """

    def __init__(self, path: Path, *, busy_s: float = BUSY_S) -> None:
        self._path = path
        self._busy_s = busy_s
        self.lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, ...] = ()

    def reading(self) -> sqlite3.Connection | None:
        """The connection, None where there is no database; for one who holds the lock."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self.close()
            return None
        if self._database is None or self._file[:2] != (found.st_dev, found.st_ino):
            self.close()
            self._open()
        return self._database

    @contextmanager
    def plain(self) -> Iterator[sqlite3.Connection | None]:
        """Use the connection without a transaction; None where there is no database."""
        with self.lock, self._told():
            yield self.reading()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """Read one moment's state; None where there is no database."""
        with self.lock, self._told():
            database = self.reading()
            if database is None:
                yield None
                return
            database.execute("BEGIN")
            try:
                yield database
            finally:
                if database.in_transaction:
                    database.execute("COMMIT")

    @contextmanager
    def write(self, wait_s: float = BUSY_S, *, make: bool = False) -> Iterator[sqlite3.Connection]:
        """Change the database in one step, on the disk at the end; with `make` also one that is not there yet.

        `wait_s` is for how long the steps of other threads and processes may be waited for.
        """
        ends = time.monotonic() + wait_s
        with self._mine(wait_s), self._told():
            database = self.reading()
            if database is None:
                if not make:
                    raise FileNotFoundError(errno.ENOENT, "it is gone")
                database = self._make()
            self._begin(database, ends)
            try:
                yield database
                database.execute("COMMIT")
                self._check_place()
            except BaseException:
                with suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _mine(self, wait_s: float) -> Iterator[None]:
        if not self.lock.acquire(timeout=max(wait_s, 0.0)):
            raise locked(self._path)
        try:
            yield
        finally:
            self.lock.release()

    def _begin(self, database: sqlite3.Connection, ends: float) -> None:
        """Begin to write, as soon as nobody else does.

        SQLite's own waiting looks every 100 ms in the end, and would hardly ever meet the gap between two commits.
        """
        database.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    database.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not is_busy(error) or time.monotonic() >= ends:
                        raise
                time.sleep(random.uniform(*_PAUSES_S))
        finally:
            database.execute(f"PRAGMA busy_timeout = {int(self._busy_s * 1000)}")

    def _check_place(self) -> None:
        """Make sure that what was written was not removed in that moment; the journal may go before the database."""
        with suppress(FileNotFoundError):
            if self._found() == self._file:
                return
        raise FileNotFoundError(errno.ENOENT, "it was removed")

    def _found(self) -> tuple[int, ...]:
        """What stands under the names of database and journal."""
        places = [os.stat(self._path), os.stat(f"{self._path}-wal")]
        return tuple(number for place in places for number in (place.st_dev, place.st_ino))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if not is_busy(error):
                self.close()
            raise explained(self._path, error) from error

    def _make(self) -> sqlite3.Connection:
        """Make folder and database, for their owner's eyes only: events are about people."""
        folder = self._path.parent
        if not folder.is_dir():
            missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for one in missing:
                _sync(one.parent)
        self._open()
        assert self._database is not None
        return self._database

    def _open(self) -> None:
        # An empty one may have been made by another process a moment ago; its mode is also the journal's.
        new = not self._path.exists() or not self._path.stat().st_size
        database = sqlite3.connect(self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False)
        try:
            if new:
                # By name: closing any other descriptor of the file would end SQLite's locks in this process.
                self._path.chmod(0o600)
            _prepare(database, self._path, self._busy_s)
            database.execute("SELECT name FROM sources LIMIT 1").fetchone()  # Opens the journal.
            self._file = self._found()
        except BaseException:
            database.close()
            raise
        self._database = database

    def close(self) -> None:
        """Close the connection; the next use opens one."""
        with self.lock:
            database, self._database = self._database, None
            if database is not None:
                with suppress(sqlite3.Error):
                    database.close()

    def renew(self) -> None:
        """Begin anew in a forked child."""
        self.lock = threading.RLock()
        self._database = None


def _prepare(database: sqlite3.Connection, path: Path, busy_s: float) -> None:
    """Set a connection up, and make the tables of a new database; several processes may do so at once."""
    ends = time.monotonic() + busy_s
    while True:
        try:
            if check_version(database, path):
                break
            # SQLite does not wait by itself here.
            database.execute("PRAGMA journal_mode = WAL")
            _make_tables(database)
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > ends:
                raise
            time.sleep(_OPENING_PAUSE_S)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA fullfsync = ON")
    database.execute("PRAGMA checkpoint_fullfsync = ON")
    room = margin(path)
    database.execute(f"PRAGMA wal_autocheckpoint = {_journal_bytes(room) // _PAGE}")
    database.execute(f"PRAGMA journal_size_limit = {room // 4}")


def check_version(database: sqlite3.Connection, path: Path) -> int:
    """The version of a database, 0 for an empty one.

    Raises:
        SpoolError: another pombo made it.
    """
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, VERSION}:
        raise SpoolError(
            f"the spool {path} has version {version}, this pombo knows {VERSION}; "
            "upgrade pombo here, the spool is left as it is"
        )
    return version


def _make_tables(database: sqlite3.Connection) -> None:
    if database.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";\n"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            database.execute("ROLLBACK")
        raise


def margin(path: Path) -> int:
    """Bytes of the disk that the spool leaves free; what is drained in one step must fit into a part of it."""
    try:
        return min(MARGIN, shutil.disk_usage(path.parent).total // 8)
    except OSError:
        return MARGIN


def _journal_bytes(room: int) -> int:
    """Bytes of the journal that may wait to be copied to their places."""
    return min(_JOURNAL_PAGES * _PAGE, max(room // 4, 16 * _PAGE))


def check_space(path: Path, needed: int) -> None:
    """Make sure that the disk has room for `needed` more bytes, and enough then to drain the spool.

    Raises:
        SpoolError: it has not.
    """
    try:
        disk = shutil.disk_usage(path.parent)
    except OSError:
        return  # The write itself will tell.
    room = min(MARGIN, disk.total // 8)
    # Written twice: to the journal, and with what waits there to its place.
    if disk.free < room + 2 * needed + _journal_bytes(room):
        raise SpoolError(
            f"the disk of the spool {path} is full: {disk.free:,} bytes are free and {room:,} are kept, "
            "so that the spool can be drained; make room there"
        )


def is_damage(error: BaseException) -> bool:
    """Whether the database can never be read again, or not by this version."""
    return isinstance(error, SpoolError) or _code(error) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_busy(error: BaseException) -> bool:
    """Whether another connection was in the way."""
    return _code(error) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _code(error: BaseException) -> int:
    return getattr(error, "sqlite_errorcode", None) or 0


def locked(path: Path) -> SpoolError:
    """Others were in the way for too long."""
    return SpoolError(
        f"the spool {path} is locked by another process or thread for too long; "
        "look for a slow disk or a stopped process"
    )


def explained(path: Path, error: BaseException) -> SpoolError:
    """Say for people what went wrong and what to do."""
    code = _code(error) & 0xFF
    number = getattr(error, "errno", None)
    what = getattr(error, "strerror", None) or str(error)
    if code == sqlite3.SQLITE_FULL or number in {errno.ENOSPC, errno.EDQUOT}:
        return SpoolError(f"the disk of the spool {path} is full; make room there")
    if is_busy(error):
        return locked(path)
    if is_damage(error):
        return SpoolError(f"the spool {path} is damaged ({what}); move it away, and keep it: it may hold events")
    if number in _TOO_MANY_FILES or (code == sqlite3.SQLITE_CANTOPEN and not _can_open()):
        return SpoolError(
            f"the spool {path} cannot be opened: this process has too many open files; raise its limit (`ulimit -n`), "
            "or look for what it leaves open"
        )
    return SpoolError(
        f"the spool {path} cannot be used: {what}; make POMBO_SPOOL_DIR a folder that this user can write to"
    )


def _can_open() -> bool:
    """Whether this process may open a file: SQLite does not say why it could not."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in _TOO_MANY_FILES
    return True


def _sync(folder: Path) -> None:
    """Have a new entry of a folder outlive a power cut, where folders can be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
