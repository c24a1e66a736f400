"""What a run leaves behind, as places to search: files, processes, all that is in a Redis and all that was told it."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from redis import Redis
from redis.exceptions import RedisError

Place = tuple[str, bytes]
_LOOK_S = 0.02


def file_places(folder: Path, *without: Path) -> Iterator[Place]:
    """All files under a folder, by their path in it, and their names; a database of SQLite also by its rows."""
    for path in sorted(folder.rglob("*")):
        if any(path == one or one in path.parents for one in without):
            continue
        name = f"file {path.relative_to(folder)}"
        yield f"name of {name}", str(path.relative_to(folder)).encode()
        if path.is_file():
            data = path.read_bytes()
            yield name, data
            if data.startswith(b"SQLite format 3"):
                yield from _rows(name, path)


def _rows(name: str, path: Path) -> Iterator[Place]:
    """The rows of a database: a long value is cut into pages in its file."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for number, value in enumerate(row):
                    data = value if isinstance(value, bytes) else str(value).encode()
                    yield f"{name} table {table} column {number}", data


def redis_places(redis: Any) -> Iterator[Place]:
    """Every key's name and everything under it, and what the server says of itself and its clients."""
    for number in _databases(redis):
        redis.execute_command("SELECT", number)
        for key in redis.scan_iter(count=1000):
            shown = key.decode("utf-8", "replace")
            yield f"name of key {shown}", key
            for part, value in _values(redis, key):
                yield f"key {shown}{part}", value
    redis.execute_command("SELECT", 0)
    for command in (
        ("INFO",),
        ("CLIENT", "LIST"),
        ("SLOWLOG", "GET", "100000"),
        ("ACL", "LOG"),
        ("PUBSUB", "CHANNELS"),
    ):
        with suppress(RedisError):
            yield f"answer to {' '.join(command[:2])}", repr(redis.execute_command(*command)).encode()


def _databases(redis: Any) -> list[int]:
    return [int(name.removeprefix("db")) for name in redis.info("keyspace")]


def _values(redis: Any, key: bytes) -> Iterator[tuple[str, bytes]]:
    """Each part of a value, with its name in it."""
    match redis.type(key):
        case b"string":
            yield "", redis.get(key) or b""
        case b"hash":
            for field, value in redis.hgetall(key).items():
                yield f" field {field.decode('utf-8', 'replace')}", value
                yield " name of a field", field
        case b"list":
            yield from (("", value) for value in redis.lrange(key, 0, -1))
        case b"set":
            yield from (("", value) for value in redis.smembers(key))
        case b"zset":
            yield from (("", value) for value in redis.zrange(key, 0, -1))
        case b"stream":
            for _, fields in redis.xrange(key):
                yield from ((f" field {field.decode()}", value) for field, value in fields.items())


class Watcher:
    """See the command line and the name of every process that runs until the context ends, all the time."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watcher", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.look()

    def look(self) -> None:
        """See those that run now."""
        for process in (name for name in os.listdir("/proc") if name.isdigit()):
            for file in ("cmdline", "comm"):
                with suppress(OSError):
                    self._seen.add(Path("/proc", process, file).read_bytes())

    def places(self) -> Iterator[Place]:
        """What was seen."""
        for words in sorted(self._seen.copy()):
            yield f"process {words[:200].decode('utf-8', 'replace')!r}", words


class Listener:
    """Hear every command that a Redis runs, those of scripts too, until the context ends."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lines: list[bytes] = []
        pool: Any = redis.connection_pool
        self._connection = pool.get_connection()
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self._thread = threading.Thread(target=self._work, name="listener", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.echo("the end")
        self._thread.join(30)
        self._connection.disconnect()

    def _work(self) -> None:
        while True:
            try:
                line = self._connection.read_response(timeout=None)
            except (RedisError, OSError):
                return
            self._lines.append(line if isinstance(line, bytes) else str(line).encode())
            if b'"the end"' in self._lines[-1]:
                return

    def places(self) -> Iterator[Place]:
        """What was heard, as one; bytes beyond ASCII are what they were."""
        yield "commands of Redis", b"\n".join(self._lines)
        yield "commands of Redis, unescaped", b"\n".join(map(_unescaped, self._lines))


def _unescaped(line: bytes) -> bytes:
    return line.decode("latin-1").encode().decode("unicode_escape", "replace").encode("latin-1", "replace")


def log_events(folder: Path) -> set[str]:
    """The names of all structured log lines under a folder: to prove that what was to be provoked did happen."""
    found = set()
    for path in folder.rglob("*.log"):
        for line in path.read_bytes().splitlines():
            if line.startswith(b"{"):
                with suppress(orjson.JSONDecodeError):
                    found.add(orjson.loads(line).get("event", ""))
    return found
