"""One running server: started or found, asked who it is, ended."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from redis.exceptions import BusyLoadingError, RedisError

from pombo.ops.serverbinary import ServerProgram, ServerVersion, not_runnable, parse_version
from pombo.ops.serverhome import ServerHome
from pombo.shared.connection import connect

_POLL_S = 0.02
_LOG_LINE = re.compile(r"^\d+:\w .*?\d\d:\d\d:\d\d\.\d+ ([-.*#]) (.*)$")
_ALWAYS_SAID = "Memory overcommit must be enabled"
_LOG_TAIL = 10_000
_LINES_SHOWN = 2


@dataclass(frozen=True)
class Answer:
    """What a server that answers says of itself."""

    pid: int
    version: ServerVersion


class Patience:
    """Wait in small steps, until nothing has happened for `timeout_s` seconds."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._started = False
        self.renew()

    def renew(self) -> None:
        """Something has happened: the seconds begin anew."""
        self._deadline = time.monotonic() + self._timeout_s

    def left(self) -> bool:
        """Whether to look (again); waits a moment unless it is the first time."""
        if self._started:
            time.sleep(_POLL_S)
            return time.monotonic() < self._deadline
        self._started = True
        return True


class ServerProcess:
    """A server that holds a home's data: our own child, or one that outlived its owner."""

    def __init__(
        self, home: ServerHome, pid: int, child: subprocess.Popen[bytes] | None = None, log_start: int = 0
    ) -> None:
        self.pid = pid
        self.adopted = child is None
        self._home = home
        self._child = child
        self._log_start = log_start

    @classmethod
    def spawn(cls, home: ServerHome, program: ServerProgram, lock: int) -> "ServerProcess":
        """Start `program` out of reach of the terminal's signals; it inherits the data's lock."""
        output = home.open_log()
        try:
            log_start = os.fstat(output).st_size
            child = subprocess.Popen(  # noqa: S603 - the operator's own choice of program
                [program.path, *_arguments(home)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={name: value for name, value in os.environ.items() if not name.startswith("POMBO_")},
                pass_fds=(lock,),
                start_new_session=True,
                umask=0o077,
            )
        except OSError as error:
            raise not_runnable(program.path, error) from None
        finally:
            os.close(output)
        return cls(home, child.pid, child, log_start)

    def lives(self) -> bool:
        """Whether it still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return _exists(self.pid) and self._home.server_lives()

    def end(self, timeout_s: float) -> bool:
        """Have it flush and end, kill it when that takes over `timeout_s` seconds; return whether it did."""
        if self.lives():
            _send(os.kill, self.pid, signal.SIGTERM)
        killed = not self._wait_for_end(timeout_s)
        self.bury()
        return killed

    def bury(self) -> None:
        """Kill what is left of its process group, such as a child that rewrites the file, and reap it."""
        _send(os.killpg, self.pid, signal.SIGKILL)
        if self._child is not None:
            self._child.wait()

    def last_words(self) -> str:
        """What it last wrote to the log, warnings if there are any, and where the log is; one line."""
        words = ""
        with suppress(OSError), open(self._home.log, encoding="utf-8", errors="replace") as file:
            file.seek(self._log_start)
            words = _gist(file.read()[-_LOG_TAIL:].splitlines())
        return f"{words} (see {self._home.log})"

    def _wait_for_end(self, timeout_s: float) -> bool:
        patience = Patience(timeout_s)
        while patience.left():
            if not self.lives():
                return True
        return False


def server_url(home: ServerHome) -> str:
    """The URL of the home's socket."""
    return f"unix://{quote(str(home.socket))}"


def ask(home: ServerHome) -> Answer | Literal["loading"] | None:
    """Ask the server on the home's socket who it is; None if none answers that works on this home's data."""
    try:
        with connect(server_url(home)) as client:
            client.ping()
            info = client.info("server")
            folder = client.config_get("dir")["dir"]
    except BusyLoadingError:
        return "loading"
    except (RedisError, OSError):
        return None
    if not home.is_data_dir(folder):
        return None
    return Answer(int(info["process_id"]), _version(info))


def _gist(lines: list[str]) -> str:
    warnings: list[str] = []
    notices: list[str] = []
    for line in filter(None, map(str.strip, lines)):
        if _ALWAYS_SAID in line:
            continue
        match = _LOG_LINE.match(line)
        # What has no mark was printed before the log was set up: a refused option, a missing library.
        severe = match is None or match[1] == "#"
        (warnings if severe else notices).append(match[2] if match else line)
    return " / ".join((warnings or notices)[-_LINES_SHOWN:])


def _arguments(home: ServerHome) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": home.socket,
        "unixsocketperm": "700",
        "dir": home.data,
        "pidfile": home.pid_file,
        "logfile": home.log,
        "loglevel": "notice",
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "yes",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


def _version(info: dict[str, object]) -> ServerVersion:
    # Valkey also gives the version of Redis that it is compatible with.
    if "valkey_version" in info:
        return parse_version("valkey", str(info["valkey_version"]))
    return parse_version("redis", str(info["redis_version"]))


def _send(send: Callable[[int, int], None], pid: int, number: int) -> None:
    # A pid that is another user's by now is no server of ours.
    with suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
