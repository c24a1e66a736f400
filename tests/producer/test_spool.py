"""The spool itself: files, processes, kills and bounds."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pombo.producer.spool import Spool, SpooledSource, check_folder, read_spool, spool_path
from pombo.producer.spooled import OVERHEAD, Eventlike, Holding, Sent
from pombo.producer.spoolfile import Line
from pombo.producer.spoollock import SpoolLock
from pombo.producer.spoolrows import Attempt
from pombo.shared.errors import SpoolError

LIMIT = 1 << 30
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@dataclass
class Event:
    body: bytes
    type: str = "track"
    hash: int = 7


class Removing:
    """An event in whose midst somebody removes a file."""

    body = b"x"
    type = "track"

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def hash(self) -> int:
        self._path.unlink()
        return 7


def events(number: int, size: int = 10) -> list[Event]:
    return [Event(f"{at:0{size}}".encode()) for at in range(number)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return spool_path(tmp_path / "spool", "pombo")


@pytest.fixture
def spool(path: Path) -> Spool:
    return Spool(path, now=lambda: 1234.5)


def put(
    spool: Spool, what: Sequence[Eventlike], source: str = "bot", limit: int = LIMIT, sent: Sent | None = None
) -> int:
    count = 0 if sent is None else len(what)
    return spool.put(source, what, limit=limit, wait_s=5.0, sent=sent, sent_events=count)


@contextmanager
def without_descriptors() -> Iterator[None]:
    """Let this process open no more files; it keeps those it has."""
    import resource  # Not on Windows, where the rest of these tests run.

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def bodies(spool: Spool, source: str = "bot") -> list[bytes]:
    head = spool.peek(source, after=0, most=1 << 30, most_bytes=1 << 30)
    return [] if head is None else [event.body for event in head.events]


class TestKeeping:
    def test_holds_what_was_put(self, spool: Spool) -> None:
        """What was put is there, whole and in order, also for others who look."""
        assert 3 == put(spool, events(3))
        head = Spool(spool.path).peek("bot", after=0, most=10, most_bytes=1000)
        assert head is not None
        assert [(event.body, "track", 7) for event in events(3)] == [
            (event.body, event.type, event.hash) for event in head.events
        ]

    def test_holding(self, spool: Spool) -> None:
        """A source's events are counted at once, in every process, and only its own."""
        other = Spool(spool.path)
        assert (None, None) == (spool.holding("bot"), other.holding("bot"))
        put(spool, events(3))
        assert (Holding(3), None) == (other.holding("bot"), other.holding("other"))

    def test_left_by_the_dead(self, path: Path) -> None:
        """Who looks for events of one source notices every few seconds what others left, and has it drained."""
        put(Spool(path), events(1), "other")
        woken: list[float] = []
        now = [1234.5]
        spool = Spool(path, now=lambda: now[0])
        spool.on_put = lambda: woken.append(now[0])
        for now[0] in (1234.5, 1235.0, 1250.0):
            assert spool.holding("bot") is None
        assert [1234.5, 1250.0] == woken

    def test_totals(self, spool: Spool) -> None:
        """Totals are those of all sources, 0 where there is no spool."""
        before = spool.totals()
        put(spool, events(3))
        put(spool, events(2), "other")
        assert ((0, 0), (5, 50)) == (before, spool.totals())

    def test_for_people(self, spool: Spool) -> None:
        """Each source is told with its events, bytes, age, and what it is stuck for."""
        put(spool, events(3))
        put(spool, events(2), "another")
        spool.stick("bot", "unknown_source")
        assert [
            SpooledSource("another", 2, 20, 1234.5, None),
            SpooledSource("bot", 3, 30, 1234.5, "unknown_source"),
        ] == read_spool(spool.path)

    def test_reading_makes_no_file(self, spool: Spool) -> None:
        """Whoever looks leaves no trace, before the first event and after the last process."""
        assert [] == read_spool(spool.path)
        assert not spool.path.parent.exists()
        put(spool, events(1))
        spool.rest()
        assert 1 == len(read_spool(spool.path))
        assert ["pombo.sqlite3"] == [found.name for found in spool.path.parent.iterdir()]

    @posix
    def test_modes(self, spool: Spool) -> None:
        """Folder and files are for their owner's eyes alone: events are about people."""
        put(spool, events(1))
        spool.lock()
        modes = {stat.S_IMODE(found.stat().st_mode) for found in spool.path.parent.iterdir()}
        assert (0o700, {0o600}) == (stat.S_IMODE(spool.path.parent.stat().st_mode), modes)

    def test_deleted_meanwhile(self, spool: Spool) -> None:
        """A spool that is deleted is empty, and made again for the next event."""
        put(spool, events(3))
        for found in spool.path.parent.iterdir():
            found.unlink()
        spool.path.parent.rmdir()
        assert (None, (0, 0), []) == (spool.holding("bot"), spool.totals(), spool.waiting())
        put(spool, events(1))
        assert 1 == len(read_spool(spool.path))

    @posix
    def test_deleted_in_the_midst(self, spool: Spool) -> None:
        """Events that were written while somebody removed the files are not called kept."""
        put(spool, events(1))
        for suffix in ("-wal", ""):
            removing = Removing(Path(f"{spool.path}{suffix}"))
            with pytest.raises(SpoolError, match="removed"):
                put(spool, [removing])
            Path(f"{spool.path}-wal").unlink(missing_ok=True)
            spool.path.unlink(missing_ok=True)
            put(spool, events(2))
            assert 2 == len(bodies(spool))


class TestTurns:
    def begin(self, spool: Spool, most: int) -> Attempt:
        head = spool.peek("bot", after=0, most=most, most_bytes=1000)
        assert head is not None
        made = Attempt(head.events[0].id, head.events[-1].id, Sent("s", 1, "i"))
        assert spool.turn("bot", None, made)
        return made

    def test_noted_goes_again_exactly_so(self, spool: Spool) -> None:
        """What was noted as sent is the head until it is settled, however many events are asked for."""
        put(spool, events(5))
        made = self.begin(spool, 2)
        for most in (1, 100):
            head = spool.peek("bot", after=0, most=most, most_bytes=1)
            assert head is not None
            assert (made, 2) == (head.attempt, len(head.events))

    def test_events_before_what_was_noted(self, spool: Spool) -> None:
        """Events in front of what was noted go first, and alone."""
        put(spool, events(2))
        put(spool, events(3), sent=Sent("s", 9, "i"))
        put(spool, events(1))
        counts = []
        for after, attempt in ((0, None), (2, Sent("s", 9, "i")), (5, None)):
            head = spool.peek("bot", after=after, most=100, most_bytes=1000)
            assert head is not None
            assert attempt == (head.attempt.sent if head.attempt else None)
            counts.append(len(head.events))
        assert [2, 3, 1] == counts

    def test_settled_once(self, spool: Spool) -> None:
        """Settled events leave; whoever settles them again changes nothing."""
        put(spool, events(5))
        made = self.begin(spool, 2)
        assert spool.turn("bot", made, None)
        assert not spool.turn("bot", made, None)
        assert (3, 30) == spool.totals()

    def test_begun_once(self, spool: Spool) -> None:
        """Of two who would send the same events one is turned away."""
        put(spool, events(5))
        made = self.begin(spool, 2)
        assert not spool.turn("bot", None, Attempt(made.first, made.last + 2, Sent("other", 1, "i")))
        spool.turn("bot", made, None)
        assert not spool.turn("bot", None, made)

    def test_dropped(self, spool: Spool) -> None:
        """A dropped attempt leaves its events, which are free for another one."""
        put(spool, events(2))
        made = self.begin(spool, 2)
        spool.drop("bot", made)
        head = spool.peek("bot", after=0, most=10, most_bytes=1000)
        assert head is not None
        assert (None, 2) == (head.attempt, len(head.events))
        assert spool.turn("bot", None, Attempt(made.first, made.last, Sent("s", 2, "i")))


class TestBounds:
    def test_bytes(self, spool: Spool) -> None:
        """It takes the oldest events that fit into its bytes, of all sources together, and says when it is full."""
        limit = 5 * (10 + OVERHEAD)
        assert 3 == put(spool, events(3), limit=limit)
        assert 2 == put(spool, events(9), "other", limit=limit)
        with pytest.raises(SpoolError, match="full: it may hold 410 bytes"):
            put(spool, events(1), limit=limit)

    def test_what_was_sent_stays_together(self, spool: Spool) -> None:
        """A flush in doubt is kept whole or not at all."""
        with pytest.raises(SpoolError):
            put(spool, events(3), limit=2 * (10 + OVERHEAD), sent=Sent("s", 1, "i"))
        assert (0, 0) == spool.totals()

    def test_overhead(self, spool: Spool) -> None:
        """What an event costs on the disk beside its body is what is counted for it, or less."""
        put(spool, events(20_000, size=300))
        spool.rest()
        assert spool.path.stat().st_size < 20_000 * (300 + OVERHEAD)

    def test_room_comes_back(self, spool: Spool) -> None:
        """A drained spool gives its disk space back."""
        put(spool, events(5000, size=300))
        made = Attempt(1, 5000, Sent("s", 1, "i"))
        assert spool.turn("bot", None, made)
        assert spool.turn("bot", made, None)
        spool.shrink()
        assert sum(found.stat().st_size for found in spool.path.parent.iterdir()) < 200_000


class TestTrouble:
    def test_file_for_a_folder(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """A folder that is none is told once, with the remedy, until something is kept."""
        (tmp_path / "spool").write_text("", "utf-8")
        spool = Spool(spool_path(tmp_path / "spool", "pombo"))
        assert spool.holding("bot") is None
        for _ in range(3):
            with pytest.raises(SpoolError, match="POMBO_SPOOL_DIR"):
                put(spool, events(1))
        (tmp_path / "spool").unlink()
        put(spool, events(1))
        assert 1 == len(caplog.records)

    def test_away_for_a_moment(self, spool: Spool) -> None:
        """A spool that cannot be read for now holds what it held, so that nothing overtakes it."""
        put(spool, events(1))
        assert (Holding(1), (1, 10)) == (spool.holding("bot"), spool.totals())
        folder, aside = spool.path.parent, spool.path.parent.with_name("aside")
        folder.rename(aside)
        folder.write_text("", "utf-8")
        assert (Holding(1), None) == (spool.holding("bot"), spool.holding("other"))
        assert (1, 10) == spool.totals()
        folder.unlink()
        aside.rename(folder)
        assert Holding(1) == spool.holding("bot")

    def test_damaged(self, path: Path) -> None:
        """A damaged file is left as it is and named; it holds nobody back."""
        path.parent.mkdir()
        path.write_bytes(b"this is no database" * 100)
        spool = Spool(path)
        assert spool.holding("bot") is None
        with pytest.raises(SpoolError, match="damaged"):
            put(spool, events(1))
        with pytest.raises(SpoolError, match="damaged"):
            read_spool(path)
        assert b"this is no database" * 100 == path.read_bytes()

    @posix
    def test_no_more_files(self, spool: Spool) -> None:
        """A process that may open no more files is told so, instead of being sent to look at the folder's modes."""
        put(spool, events(1))
        spool.rest()
        with without_descriptors(), pytest.raises(SpoolError, match="too many open files"):
            put(spool, events(1))
        assert 1 == put(spool, events(1))

    def test_newer(self, spool: Spool) -> None:
        """A database of a newer version is left as it is and named."""
        put(spool, events(1))
        spool.rest()
        with sqlite3.connect(spool.path) as database:
            database.execute("PRAGMA user_version = 2")
        database.close()
        assert spool.holding("bot") is None
        for use in (lambda: put(spool, events(1)), lambda: read_spool(spool.path)):
            with pytest.raises(SpoolError, match="upgrade pombo"):
                use()

    def test_locked(self, spool: Spool) -> None:
        """A database that another process keeps locked is told within the time; reading goes on."""
        put(spool, events(1))
        database = sqlite3.connect(spool.path, isolation_level=None)
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolError, match="locked by another process"):
            spool.put("bot", events(1), limit=LIMIT, wait_s=0.05)
        assert Holding(1) == spool.holding("bot")
        database.execute("ROLLBACK")
        database.close()
        put(spool, events(1))

    def test_busy_thread(self, spool: Spool) -> None:
        """Another thread of this process is waited for no longer than another process is."""
        put(spool, events(1))
        found: list[SpoolError] = []

        def late() -> None:
            try:
                spool.put("bot", events(1), limit=LIMIT, wait_s=0.05)
            except SpoolError as error:
                found.append(error)

        thread = threading.Thread(target=late)
        with spool._puts.lock:
            thread.start()
            thread.join(30)
        assert ["locked"] == [str(error).split("is ")[1].split()[0] for error in found]

    def test_look_in_the_way(self, spool: Spool) -> None:
        """A look that others are in the way of takes for held what was held, and more rather than less."""
        put(spool, events(1))
        assert (Holding(1), None) == (spool.holding("bot"), spool.holding("other"))
        spool.rest()
        database = sqlite3.connect(spool.path, isolation_level=None)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN EXCLUSIVE")
        assert (Holding(1), Holding(0)) == (spool.holding("bot"), spool.holding("other"))
        database.close()

    def test_check_folder(self, tmp_path: Path) -> None:
        """A folder that can be made is fine, and not made; one below a file is not."""
        check_folder(tmp_path / "a" / "b")
        assert not (tmp_path / "a").exists()
        (tmp_path / "file").write_text("", "utf-8")
        with pytest.raises(SpoolError, match="is no folder"):
            check_folder(tmp_path / "file" / "b")
        with pytest.raises(SpoolError, match="too long"):
            check_folder(tmp_path / ("x" * 300))
        assert ["file"] == [one.name for one in tmp_path.iterdir()]

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
    def test_a_folder_that_takes_no_files(self) -> None:
        """Rights do not tell whether files can be made: of /proc root has all."""
        with pytest.raises(SpoolError, match="/proc takes no files"):
            check_folder(Path("/proc/x"))

    @posix
    @pytest.mark.skipif(os.name == "posix" and os.getuid() == 0, reason="root may write everywhere")
    def test_unwritable(self, tmp_path: Path) -> None:
        """A folder of somebody else is told."""
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(SpoolError, match="takes no files of this user"):
                check_folder(tmp_path)
        finally:
            tmp_path.chmod(0o700)


def test_lock(tmp_path: Path) -> None:
    """One at a time has the lock, and it can be given back."""
    one, two = SpoolLock(tmp_path / "lock"), SpoolLock(tmp_path / "lock")
    assert (True, True, False) == (one.take(), one.take(), two.take())
    one.release()
    assert two.take()
    two.release()


@posix
def test_lock_of_a_removed_folder(tmp_path: Path) -> None:
    """A lock on a file that was removed holds nobody back, and is none any more."""
    one, two = SpoolLock(tmp_path / "lock"), SpoolLock(tmp_path / "lock")
    assert one.take()
    (tmp_path / "lock").unlink()
    assert (True, False) == (two.take(), one.take())
    two.release()
    assert one.take()
    one.release()


def test_no_fork_while_the_lock_is_taken(spool: Spool) -> None:
    """Who takes the lock holds up a fork, and the other way round: a child that inherited it would keep it."""
    put(spool, events(1))
    thread = threading.Thread(target=spool.lock)
    spool.before_fork()
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    spool.after_fork_in_parent()
    thread.join(30)
    assert not thread.is_alive()
    spool.unlock()


@posix
def test_files_of_two_who_begin_together(path: Path) -> None:
    """Nobody else can read the files, also when another process has just made the empty database."""
    path.parent.mkdir()
    path.touch(0o644)
    spool = Spool(path)
    put(spool, events(1))
    assert {0o600} == {stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}


def test_connection_is_made_anew(path: Path) -> None:
    """An error closes the connection, and the next use begins anew."""
    line = Line(path)
    with line.write(make=True) as database:
        database.execute("INSERT INTO sources (name) VALUES ('bot')")
    with pytest.raises(SpoolError), line.write() as database:
        database.execute("INSERT INTO nowhere VALUES (1)")
    with line.read() as again:
        assert again is not None
        assert [("bot",)] == again.execute("SELECT name FROM sources").fetchall()
    line.close()


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from pombo.producer.spool import Spool
from producer.test_spool import Event
spool = Spool(Path(sys.argv[1]))
number = 0
while True:
    batch = [Event(f"{{sys.argv[2]}}-{{number + at}}".encode()) for at in range(int(sys.argv[3]))]
    spool.put("bot", batch, limit=1 << 30, wait_s=30.0)
    number += len(batch)
    print(number, flush=True)
"""


def writer(path: Path, name: str, batch: int) -> "subprocess.Popen[str]":
    script = textwrap.dedent(WRITER).format(tests=str(Path(__file__).parents[1]))
    command = [sys.executable, "-c", script, str(path), name, str(batch)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]", number: int) -> int:
    """Read until the process has told `number` events; return how many it told."""
    assert process.stdout is not None
    last = 0
    while last < number:
        last = int(process.stdout.readline())
    return last


def test_killed_in_the_midst(path: Path) -> None:
    """Processes that are killed -9 while they write together leave all that they told, whole batches, in order."""
    spool = Spool(path)
    for round_ in range(3):
        processes = [writer(path, f"{round_}.{name}", batch) for name, batch in enumerate((1, 7, 100))]
        for process, number in zip(processes, (5, 35, 500), strict=True):
            told(process, number)
        least = []
        for process in processes:
            process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        for process in processes:
            rest, _ = process.communicate()
            least.append(max(map(int, rest.split()), default=0))
        found = [body.decode().split("-") for body in bodies(spool)]
        for name, (batch, number) in enumerate(zip((1, 7, 100), least, strict=True)):
            mine = [int(at) for writer_, at in found if writer_ == f"{round_}.{name}"]
            assert list(range(len(mine))) == mine
            assert len(mine) >= number
            assert 0 == len(mine) % batch
    assert len(found) == spool.totals()[0] == read_spool(path)[0].events
