"""A Unix-socket proxy in front of the server that cuts, holds back or refuses, as a test says."""

import select
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Rule = Callable[[bytes], str]


def forward(request: bytes) -> str:
    """Hand every reply on."""
    return "pass"


class Proxy:
    """Stand between a producer and the server.

    `rule` gets the request when its reply is there and says `pass`, `cut` (the server did it, the reply is
    lost with the connection) or `hang` (the reply never comes). `refuse` and `listen` switch the address off
    and on.
    """

    def __init__(self, server_url: str, *, listening: bool = True) -> None:
        self._server = urlsplit(server_url).path
        self._folder = tempfile.TemporaryDirectory(prefix="pombo-", dir="/tmp")
        self._path = str(Path(self._folder.name) / "p")
        self.url = f"unix://{self._path}"
        self.rule: Rule = forward
        self.requests: list[bytes] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        if listening:
            self.listen()

    def listen(self) -> None:
        """Take connections."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        listener.listen()
        self._listener = listener
        self._spawn(self._accept, listener)

    def refuse(self) -> None:
        """Cut all connections and take no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            Path(self._path).unlink()
            _end(listener)
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            _end(one)
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._folder.cleanup()

    def _spawn(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.connect(self._server)
            self._sockets += [client, server]
            self._spawn(self._relay, client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        request = b""
        try:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                if client in readable:
                    data = client.recv(1 << 20)
                    if not data:
                        break
                    request += data
                    server.sendall(data)
                if server in readable:
                    data = server.recv(1 << 20)
                    self.requests.append(request)
                    verdict = self.rule(request)
                    request = b""
                    if not data or verdict == "cut":
                        break
                    if verdict == "pass":
                        client.sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            _end(client)
            _end(server)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def first(verdict: str, number: int = 1, word: bytes = b"EVAL") -> Rule:
    """Treat the first `number` commands that hold `word` so, and pass the rest."""
    left = [number]

    def rule(request: bytes) -> str:
        if word not in request or left[0] == 0:
            return "pass"
        left[0] -= 1
        return verdict

    return rule


def always(verdict: str, word: bytes = b"EVAL") -> Rule:
    """Treat every command that holds `word` so."""
    return lambda request: verdict if word in request else "pass"
