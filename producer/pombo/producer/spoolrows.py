"""The rows of a spool's database: what they say, and what one statement or two do with them.

Every function works within the transaction that its caller began; a source is named by its `number`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from sqlite3 import Connection
from typing import NamedTuple

from pombo.producer.spooled import OVERHEAD, Eventlike, Sent

_INSERT = "INSERT INTO events (source, spooled_at, hash, type, body) VALUES (?, ?, ?, ?, ?)"
_SIZES = "SELECT id, length(body) FROM events WHERE source = ? AND id BETWEEN ? AND ? ORDER BY id"
_HEAD = "SELECT id, type, hash, body FROM events WHERE source = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?"
_LAST = (1 << 63) - 1
"""The greatest id that SQLite gives, and more events than any spool holds."""


class Stored(NamedTuple):
    """One event as the spool keeps it."""

    id: int
    type: str
    hash: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """An append under way: the events `first` to `last` of a source, and the token under which they go."""

    first: int
    last: int
    sent: Sent


@dataclass(frozen=True, slots=True)
class Head:
    """The oldest events of a source; those of an `attempt` that was made must go again exactly so."""

    events: list[Stored]
    attempt: Attempt | None


def number_of(database: Connection, source: str) -> int | None:
    """The number of a source; None if it never had events here."""
    row = database.execute("SELECT number FROM sources WHERE name = ?", (source,)).fetchone()
    return None if row is None else int(row[0])


def used(database: Connection) -> int:
    """Bytes that the events of all sources take."""
    size, events = database.execute("SELECT total(bytes), total(events) FROM sources").fetchone()
    return int(size) + OVERHEAD * int(events)


def insert(
    database: Connection, source: str, events: Sequence[Eventlike], *, now: float, sent: Sent | None, sent_events: int
) -> None:
    """Add events of a source; the first `sent_events` were sent as `sent`."""
    database.execute("INSERT INTO sources (name) VALUES (?) ON CONFLICT DO NOTHING", (source,))
    number = number_of(database, source)
    assert number is not None
    rows = ((number, now, event.hash, event.type, event.body) for event in events)
    if sent is not None:
        database.executemany(_INSERT, islice(rows, sent_events))
        last = database.execute("SELECT last_insert_rowid()").fetchone()[0]
        note(database, number, Attempt(last - sent_events + 1, last, sent))
    database.executemany(_INSERT, rows)
    _count(database, number, len(events), sum(len(event.body) for event in events))


def head(database: Connection, number: int, *, after: int, most: int, most_bytes: int) -> Head | None:
    """The oldest events behind the id `after`: a noted attempt's, or up to `most` of those before the next one."""
    first = database.execute(_HEAD, (number, after, _LAST, 1)).fetchone()
    if first is None:
        return None
    attempt = _next_attempt(database, number, after)
    if attempt is not None and attempt.first <= first[0]:
        rows = database.execute(_HEAD, (number, after, attempt.last, _LAST))
        return Head([Stored(*row) for row in rows], attempt)
    end = _LAST if attempt is None else attempt.first - 1
    return Head(_within(database.execute(_HEAD, (number, after, end, most)), most_bytes), None)


def _next_attempt(database: Connection, number: int, after: int) -> Attempt | None:
    row = database.execute(
        "SELECT first, last, session, sequence, incarnation FROM attempts"
        " WHERE source = ? AND first > ? ORDER BY first LIMIT 1",
        (number, after),
    ).fetchone()
    return None if row is None else Attempt(row[0], row[1], Sent(row[2], row[3], row[4]))


def _within(rows: Iterable[tuple[int, str, int, bytes]], most_bytes: int) -> list[Stored]:
    """The first of the rows, one at least."""
    taken: list[Stored] = []
    for row in rows:
        event = Stored(*row)
        most_bytes -= len(event.body)
        if most_bytes < 0 and taken:
            break
        taken.append(event)
    return taken


def note(database: Connection, number: int, attempt: Attempt) -> None:
    """Write down that an append is under way."""
    sent = attempt.sent
    database.execute(
        "INSERT INTO attempts (source, first, last, session, sequence, incarnation) VALUES (?, ?, ?, ?, ?, ?)",
        (number, attempt.first, attempt.last, sent.session, sent.sequence, sent.incarnation),
    )


def is_noted(database: Connection, number: int, attempt: Attempt) -> bool:
    """Whether an attempt is still written down."""
    row = database.execute(
        "SELECT 1 FROM attempts WHERE source = ? AND first = ? AND session = ? AND sequence = ?",
        (number, attempt.first, attempt.sent.session, attempt.sent.sequence),
    ).fetchone()
    return row is not None


def is_free(database: Connection, number: int, attempt: Attempt) -> bool:
    """Whether the events of an attempt are there, and in no other attempt."""
    there = database.execute("SELECT 1 FROM events WHERE source = ? AND id = ?", (number, attempt.first)).fetchone()
    noted = database.execute(
        "SELECT 1 FROM attempts WHERE source = ? AND first <= ? AND last >= ?", (number, attempt.last, attempt.first)
    ).fetchone()
    return there is not None and noted is None


def forget(database: Connection, number: int, attempt: Attempt) -> None:
    """Delete the note of an attempt, if it is there."""
    database.execute(
        "DELETE FROM attempts WHERE source = ? AND first = ? AND session = ? AND sequence = ?",
        (number, attempt.first, attempt.sent.session, attempt.sent.sequence),
    )


def prefix(database: Connection, number: int, attempt: Attempt, most_bytes: int) -> int | None:
    """Id of the last event that fits into `most_bytes` with all before it; None if all events of the attempt do."""
    rows = database.execute(_SIZES, (number, attempt.first, attempt.last))
    for last, size in rows:
        most_bytes -= size + OVERHEAD
        if most_bytes < 0 and last < attempt.last:
            rows.close()
            return int(last)
    return None


def remove(database: Connection, number: int, first: int, last: int) -> None:
    """Delete the events `first` to `last`."""
    span = (number, first, last)
    events, size = database.execute(
        "SELECT count(*), total(length(body)) FROM events WHERE source = ? AND id BETWEEN ? AND ?", span
    ).fetchone()
    database.execute("DELETE FROM events WHERE source = ? AND id BETWEEN ? AND ?", span)
    _count(database, number, -events, -int(size))


def _count(database: Connection, number: int, events: int, size: int) -> None:
    database.execute(
        "UPDATE sources SET events = events + ?, bytes = bytes + ? WHERE number = ?", (events, size, number)
    )
