"""The spool: events on the local disk, while Redis cannot take them.

    from pombo.producer.spool import read_spool, spool_path

An event of the spool is on the disk when `Spool.put` returns. It leaves when Redis has answered for it: `turn` is the
one step in which a drainer notes what it is about to append, and forgets what was appended. So whoever is killed, at
whatever moment, leaves a spool from which the next one repeats the same append under the same token.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection

from pombo.producer import spoolrows as rows
from pombo.producer.rejections import logger
from pombo.producer.spooled import OVERHEAD, Eventlike, Holding, Sent
from pombo.producer.spoolfile import Line, check_space, explained, is_busy, is_damage, margin
from pombo.producer.spoollock import SpoolLock
from pombo.producer.spoolreading import SpooledSource, check_folder, read_spool, spool_path
from pombo.producer.spoolrows import Attempt, Head
from pombo.shared.errors import SpoolError

__all__ = ["Spool", "SpoolError", "SpooledSource", "check_folder", "read_spool", "spool_path"]

LOOK_S = 0.1
"""Seconds that a look may wait in the rare moments in which others are in its way, such as after a crash."""
NOTICE_S = 10.0
"""Seconds between two looks for what other processes left; they are made by flushes, so that an idle process rests."""
_FREE_PAGES = 64
"""Pages without use that an emptied spool may keep."""
_TOTALS = "SELECT total(events), total(bytes) FROM sources"
_OLDEST = "SELECT spooled_at FROM events ORDER BY id LIMIT 1"
_LEFT = "SELECT 1 FROM sources WHERE events > 0 LIMIT 1"


class Spool:
    """One process's way to a spool that it may share with others.

    1. Producers ask `holding` before each flush, and `put` what Redis does not take.
    2. A drainer, one of all processes at a time, looks at the `peek` of each source `waiting`, and takes `turn`s.
    3. Emptied, it gives its disk space back (`shrink`).
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.on_put: Callable[[], None] | None = None
        """Called when there is something to drain."""
        self._now = now
        self._troubled = False
        self._told: set[str] = set()
        # One each, so that the look before a flush waits neither for the disk nor for a drainer that reads.
        self._looks, self._puts, self._drains = Line(path, busy_s=LOOK_S), Line(path), Line(path)
        self._held: dict[str, Holding] = {}
        self._noticed_at = 0.0
        self._totals = (0, 0)
        self._lock = SpoolLock(path.with_suffix(".lock"))

    def holding(self, source: str) -> Holding | None:
        """Tell whether events of a source are in the spool; see `Shelf`.

        A spool that cannot be read for now holds what it held, and one that is damaged holds back nobody.
        """
        line = self._looks
        with line.lock:
            try:
                database = line.reading()
                if database is None:
                    self._held.clear()
                    return None
                row = database.execute("SELECT events, stuck FROM sources WHERE name = ?", (source,)).fetchone()
                left = self._are_others_due() and database.execute(_LEFT).fetchone() is not None
            except Exception as error:
                return self._presumed(source, error)
            found = None if row is None or not row[0] else Holding(row[0], row[1])
            self._remember(source, found)
        if left and self.on_put is not None:  # Not under the line's lock, which a fork takes after the drainer's.
            self.on_put()
        return found

    def _remember(self, source: str, found: Holding | None) -> None:
        self._held.pop(source, None)
        if found is not None:
            self._held[source] = found

    def _are_others_due(self) -> bool:
        """Whether to look for events of any source: their process may have died while this one lives."""
        now = self._now()
        due = not 0 <= now - self._noticed_at < NOTICE_S
        if due:
            self._noticed_at = now
        return due

    def _presumed(self, source: str, error: Exception) -> Holding | None:
        """What to take for held after a look that failed."""
        if is_busy(error):
            return self._held.get(source, Holding(0))
        self._looks.close()
        self._complain(error if isinstance(error, SpoolError) else explained(self.path, error))
        return None if is_damage(error) else self._held.get(source)

    def totals(self) -> tuple[int, int]:
        """Events and their bytes in the spool, of all sources; the last known while it cannot be read. Never raises."""
        with suppress(SpoolError), self._looks.read() as database:
            found = (0, 0) if database is None else database.execute(_TOTALS).fetchone()
            self._totals = int(found[0]), int(found[1])
        return self._totals

    def age_s(self) -> float:
        """Seconds that the oldest event here has waited, 0 without one, and while it cannot be read. Never raises."""
        with suppress(SpoolError), self._looks.read() as database:
            row = None if database is None else database.execute(_OLDEST).fetchone()
            return 0.0 if row is None else max(0.0, self._now() - float(row[0]))
        return 0.0

    def put(
        self,
        source: str,
        events: Sequence[Eventlike],
        *,
        limit: int,
        wait_s: float,
        sent: Sent | None = None,
        sent_events: int = 0,
    ) -> int:
        """Keep the oldest of the events; see `Shelf`."""
        try:
            self._ensure_space(sum(len(event.body) + OVERHEAD for event in events))
            with self._puts.write(wait_s, make=True) as database:
                count = self._fitting(database, events, limit, max(sent_events, 1))
                rows.insert(database, source, events[:count], now=self._now(), sent=sent, sent_events=sent_events)
        except SpoolError as error:
            self._complain(error)
            raise
        if self._troubled:
            self._troubled = False
            logger.info("the spool %s takes events again", self.path)
        if self.on_put is not None:
            self.on_put()
        return count

    def tell(self, source: str, why: str) -> None:
        """Log that events of a source are spooled; see `Shelf`."""
        if source not in self._told:
            self._told.add(source)
            logger.warning("events of source %s are spooled to %s: %s", source, self.path, why)

    def emptied(self) -> None:
        """Log that nothing is left here."""
        if not self._told:
            return
        self._told.clear()
        if self.exists():
            logger.info("the spool %s is empty again: Redis has taken its events", self.path)
        else:
            logger.warning("the spool %s was removed, with what it held", self.path)

    def check(self) -> None:
        """Log a folder that cannot be used."""
        try:
            check_folder(self.path.parent)
        except SpoolError as error:
            self._troubled = True
            logger.warning("%s; events are rejected while Redis is away", error)

    def _complain(self, error: SpoolError) -> None:
        """Log what is wrong, once until something was kept again."""
        if not self._troubled:
            self._troubled = True
            logger.warning("%s", error)

    def _ensure_space(self, needed: int) -> None:
        try:
            check_space(self.path, needed)
        except SpoolError:
            self._checkpoint(self._puts, "RESTART")  # The journal's own room is the last reserve, so it stays.
            check_space(self.path, needed)

    def _fitting(self, database: Connection, events: Sequence[Eventlike], limit: int, least: int) -> int:
        room = limit - rows.used(database)
        count = 0
        for event in events:
            room -= len(event.body) + OVERHEAD
            if room < 0:
                break
            count += 1
        if count < least:
            raise SpoolError(
                f"the spool {self.path} is full: it may hold {limit:,} bytes; see with `pombo doctor` what keeps it "
                "from draining, or raise the producer's spool_bytes"
            )
        return count

    def waiting(self) -> list[str]:
        """The sources that have events here.

        Raises:
            SpoolError: the spool cannot be read; so do all that follow.
        """
        with self._drains.read() as database:
            if database is None:
                return []
            return [name for (name,) in database.execute("SELECT name FROM sources WHERE events > 0 ORDER BY number")]

    def peek(self, source: str, *, after: int, most: int, most_bytes: int) -> Head | None:
        """The oldest events of a source behind the id `after`, `most` of them at most; None if there are none."""
        with self._drains.read() as database:
            if database is None:
                return None
            number = rows.number_of(database, source)
            if number is None:
                return None
            return rows.head(database, number, after=after, most=most, most_bytes=most_bytes)

    def turn(self, source: str, done: Attempt | None, begun: Attempt | None) -> bool:
        """Forget what was appended, and note what is about to be: one step, on the disk when it returns.

        False: another process has done so. The last part of `done` leaves in this step, and what a small disk could
        not note at once before it; until then what is left would go again under its token, which repeats nothing.
        """
        while done is not None and self._lighten(source, done):
            pass
        with self._drains.write() as database:
            number = rows.number_of(database, source)
            if number is None:
                return False
            if (done is not None and not rows.is_noted(database, number, done)) or (
                begun is not None and not rows.is_free(database, number, begun)
            ):
                return False
            if done is not None:
                rows.forget(database, number, done)
                rows.remove(database, number, done.first, done.last)
                database.execute("UPDATE sources SET stuck = NULL WHERE number = ? AND stuck IS NOT NULL", (number,))
            if begun is not None:
                rows.note(database, number, begun)
        return True

    def _lighten(self, source: str, done: Attempt) -> bool:
        """Let the first of many appended events leave; False when the rest can leave in one step."""
        with self._drains.write() as database:
            number = rows.number_of(database, source)
            if number is None or not rows.is_noted(database, number, done):
                return False
            last = rows.prefix(database, number, done, margin(self.path) // 8)
            if last is not None:
                rows.remove(database, number, done.first, last)
        return last is not None

    def drop(self, source: str, attempt: Attempt) -> None:
        """Forget an attempt that is certainly not in Redis: its events go anew, under another token."""
        with self._drains.write() as database:
            number = rows.number_of(database, source)
            if number is not None:
                rows.forget(database, number, attempt)

    def stick(self, source: str, reason: str) -> None:
        """Note what keeps a source's events here, until some leave."""
        with self._drains.write() as database:
            database.execute("UPDATE sources SET stuck = ? WHERE name = ? AND stuck IS NOT ?", (reason, source, reason))

    def shrink(self) -> None:
        """Give the disk space of an emptied spool back.

        A whole `VACUUM` of what is nearly empty takes milliseconds; an incremental one is quadratic in the free pages.
        """
        with self._drains.plain() as database:
            if database is None or database.execute("SELECT 1 FROM sources WHERE events > 0").fetchone() is not None:
                return
            if database.execute("PRAGMA freelist_count").fetchone()[0] > _FREE_PAGES:
                database.execute("VACUUM")
        self._checkpoint(self._drains, "TRUNCATE")

    def _checkpoint(self, line: Line, how: str) -> None:
        """Copy the journal to its places, if nobody is in the way; it costs disk space alone if that fails."""
        with suppress(SpoolError), line.plain() as database:
            if database is not None:
                database.execute("PRAGMA busy_timeout = 0")
                database.execute(f"PRAGMA wal_checkpoint({how})").fetchall()

    def lock(self) -> bool:
        """Take the right to drain; False while another process has it.

        Raises:
            SpoolError: there is no folder any more, or it cannot be written to.
        """
        try:
            with self._drains.lock:  # Held at a fork, so that no child inherits what is being opened.
                return self._lock.take()
        except OSError as error:
            raise explained(self.path, error) from error

    def unlock(self) -> None:
        """Give the right to drain back."""
        with self._drains.lock:
            self._lock.release()

    def exists(self) -> bool:
        """Whether there is a database: it may hold what another process left."""
        return os.path.exists(self.path)  # False also where that cannot be told.

    def rest(self, wait_s: float = 0.0) -> None:
        """Close the producers' connections, but none that is busy for longer than `wait_s`; the next use opens them."""
        for line in (self._looks, self._puts):
            if line.lock.acquire(timeout=wait_s):
                line.close()
                line.lock.release()

    def _lines(self) -> tuple[Line, Line, Line]:
        return self._looks, self._puts, self._drains

    def before_fork(self) -> None:
        """Wait for what is under way, and close all connections: they must not cross a fork."""
        for line in self._lines():
            line.lock.acquire()
            line.close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        for line in self._lines():
            line.lock.release()

    def after_fork_in_child(self) -> None:
        """Begin anew; the right to drain stays with the parent."""
        for line in self._lines():
            line.renew()
        self._told.clear()
        self._lock.release()
