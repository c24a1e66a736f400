"""POMBO_HOME as the embedded server uses it: its files, its two locks, and where the socket is.

lock          held by the pombo process that owns the server; contains its pid
data/lock     inherited and so held by the server itself, for as long as that lives, whoever owns it
data/         the append-only file
server.json   product and version of the last server that opened the data
redis.sock    the server's socket
socket        names the socket when its usual path is too long
redis.pid, redis.log
"""

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pombo.ops.serverbinary import ServerProgram, ServerVersion, parse_version
from pombo.shared.connection import SOCKET_NAME, SOCKET_POINTER
from pombo.shared.errors import ConfigurationError

SOCKET_PATH_LIMIT = 100
"""Bytes of the longest socket path used: the kernel takes 107 on Linux and 103 on macOS."""
LOG_LIMIT = 10_000_000
"""Bytes from which the log is set aside at the next start; one older log is kept."""

_PRIVATE = 0o700


class ServerHome:
    """The folder of one embedded server."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.data = self.path / "data"
        self.log = self.path / "redis.log"
        self.pid_file = self.path / "redis.pid"
        self._lock = self.path / "lock"
        self._data_lock = self.data / "lock"
        self._record = self.path / "server.json"
        self._pointer = self.path / SOCKET_POINTER
        self.socket = self._usual_socket()

    def prepare(self) -> None:
        """Make the folders, for their owner alone.

        Raises:
            ConfigurationError: they cannot be made, or the folder belongs to something else.
        """
        with self.explained():
            self.path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self._close_to_others()
            self.data.mkdir(mode=_PRIVATE, exist_ok=True)

    def own(self) -> int:
        """Take the owner's lock and return its descriptor, which holds it until it is closed.

        Raises:
            ConfigurationError: another process has it.
        """
        with self.explained():
            fd = _try_lock(self._lock)
            if fd is None:
                raise ConfigurationError(
                    f"POMBO_HOME {self.path} is in use by {self._owner()}; "
                    "stop that first, or set POMBO_HOME to another folder"
                )
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
            return fd

    def lock_data(self) -> int | None:
        """Take the lock that a server holds for its life, for it to inherit; None if one lives."""
        with self.explained():
            return _try_lock(self._data_lock)

    def server_lives(self) -> bool:
        """Whether a server holds the data."""
        fd = self.lock_data()
        if fd is not None:
            os.close(fd)
        return fd is None

    def server_pid(self) -> int | None:
        """The pid that the server wrote down; only as good as the file."""
        return _read_pid(self.pid_file)

    def is_data_dir(self, path: str) -> bool:
        """Whether a server that says it works in `path` works on this home's data."""
        try:
            return os.path.samefile(path, self.data)
        except OSError:
            return False

    def place_socket(self) -> None:
        """Make the socket's folder, and write down where it is if that is not the usual place.

        The other place depends on the home alone, so that whoever knew it finds the next server there.
        """
        with self.explained():
            if self.socket.parent == self.path:
                self._pointer.unlink(missing_ok=True)
                return
            _make_private(self.socket.parent)
            _replace(self._pointer, f"{self.socket}\n")

    def clear(self) -> None:
        """Remove what a server that no longer lives may have left outside its data."""
        with suppress(OSError):
            self.socket.unlink(missing_ok=True)
            self.pid_file.unlink(missing_ok=True)
            if self.socket.parent != self.path:
                self.socket.parent.rmdir()

    def record(self, program: ServerProgram) -> None:
        """Write down which server opens the data from now on.

        Raises:
            ConfigurationError: it could not read what the last one wrote.
        """
        last = self._recorded()
        if last is not None and not program.version.reads(last):
            raise ConfigurationError(
                f"{program} cannot read {self.data}, which {last} wrote; "
                f"set POMBO_SERVER_BIN to {last} or later, or POMBO_HOME to another folder"
            )
        version = program.version
        if version != last:
            with self.explained():
                _replace(self._record, json.dumps({"product": version.product, "version": version.text}) + "\n")

    def open_log(self) -> int:
        """The log's descriptor, for appending; a large log is set aside first."""
        with self.explained():
            if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
                self.log.replace(self.log.with_name("redis.log.1"))
            return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say an operating system's error as what it means for POMBO_HOME."""
        try:
            yield
        except OSError as error:
            what = f"POMBO_HOME {self.path} cannot be used: {error.strerror or error}"
            raise ConfigurationError(f"{what}; set it to a folder that this user may write") from None

    def _usual_socket(self) -> Path:
        usual = self.path / SOCKET_NAME
        if _fits(usual):
            return usual
        name = "pombo-" + hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        folders = (tempfile.gettempdir(), "/tmp")  # noqa: S108 - TMPDIR may itself be too long
        candidates = [Path(folder) / name / SOCKET_NAME for folder in folders]
        # TMPDIR may have changed since, while whoever uses the server knows the path that was written down.
        known = self._written_socket()
        return known if known and known.parent.name == name else next(filter(_fits, candidates), candidates[-1])

    def _written_socket(self) -> Path | None:
        try:
            return Path(self._pointer.read_text("utf-8").strip())
        except (OSError, ValueError):
            return None

    def _close_to_others(self) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if not mode & 0o077:
            return
        # A folder with other things in it, such as /tmp or /srv/app, may be open for a reason.
        strangers = not self._lock.exists() and {entry.name for entry in self.path.iterdir()} - {"lost+found"}
        if strangers:
            raise ConfigurationError(
                f"POMBO_HOME {self.path} holds other files and is open to other users (mode {mode:o}); "
                "choose an empty folder, or chmod it to 700"
            )
        self.path.chmod(_PRIVATE)

    def _owner(self) -> str:
        pid = _read_pid(self._lock)
        return "another pombo" if pid is None else f"the pombo with pid {pid}"

    def _recorded(self) -> ServerVersion | None:
        """The last server; a damaged record is none, since the server too refuses what it cannot read."""
        try:
            stored = json.loads(self._record.read_text("utf-8"))
            return parse_version(stored["product"], stored["version"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None


def _try_lock(path: Path) -> int | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _read_pid(path: Path) -> int | None:
    try:
        pid = int(path.read_bytes())
    except (OSError, ValueError):
        return None
    return pid if pid > 0 else None


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= SOCKET_PATH_LIMIT


def _make_private(folder: Path) -> None:
    """Make a folder in a place where others write too, and trust it only if it is really ours."""
    folder.mkdir(mode=_PRIVATE, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"{folder} is not a private folder of this user; remove it, or shorten POMBO_HOME")


def _replace(path: Path, text: str) -> None:
    """Write a whole file or nothing, and have it on the disk."""
    new = path.with_name(path.name + ".new")
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
