"""A real server on virtual time: the scripts ask the world's clock, and what they publish comes back to the world."""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.resources import files
from typing import Any

from redis.connection import HiredisRespSerializer, UnixDomainSocketConnection
from redis.exceptions import ConnectionError, NoScriptError, ResponseError

from pombo.shared.audit import SourceAudit, audit_source
from pombo.shared.keys import Keys
from pombo.shared.scripts import script
from pombo.shared.sources import Source
from support.servers import scratch, server_program
from support.virtualscript import HEARD, VirtualScript, clock, clock_key, hash_of, virtual_script
from support.waiting import until

_ALL = 1000
_Line: Any = UnixDomainSocketConnection
_pack: Callable[..., Any] = HiredisRespSerializer().pack
Listener = Callable[[str], None]


@cache
def catalogue() -> dict[str, VirtualScript]:
    """Every script by the hash that the product calls it by."""
    folder = files("pombo.shared").joinpath("lua")
    names = [entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua")]
    # Those without a contract of their own are included by others.
    return {script(name).sha: virtual_script(name) for name in names}


class VirtualServer:
    """One connection to a real server, over which all that the world's processes ask goes, one after the other."""

    def __init__(self, path: str) -> None:
        self._line: Any = _Line(path=path, protocol=2)
        self._line.connect()
        self._there: set[str] = set()
        self.known: set[str] = set()
        """Scripts that the processes find loaded; a server that was flushed of them, or restarted, has none."""
        self.listeners: list[Listener] = []

    def reset(self) -> None:
        """Forget all that it holds, and who listens."""
        self.raw("CONFIG", "SET", "maxmemory", "0")
        self.raw("FLUSHALL")
        self.known = set(catalogue())
        self.listeners.clear()

    def close(self) -> None:
        self._line.disconnect()

    def raw(self, *command: Any) -> Any:
        """Run a command as it is."""
        self._line.send_packed_command(_pack(*command))
        return self._line.read_response()

    def run(self, now: float, command: Sequence[Any]) -> Any:
        """Run a command of a simulated process at virtual time `now`; raises what the server answers."""
        match command[0]:
            case "EVALSHA":
                if command[1] not in self.known:
                    raise NoScriptError("No matching script.")
                return self._script(now, command[1], command[2:])
            case "EVAL":
                sha = hash_of(command[1])
                self.known.add(sha)
                return self._script(now, sha, command[2:])
            case "TIME":
                return [b"%d" % part for part in clock(now)]
            case "PUBLISH":
                self._tell([command[1].encode(), command[2].encode()])
                return 0
        return self.raw(*command)

    def _script(self, now: float, sha: str, given: Sequence[Any]) -> Any:
        made = catalogue()[sha]
        if made.sha not in self._there:
            self.raw("SCRIPT", "LOAD", made.text)
            self._there.add(made.sha)
        if made.told:
            count = int(given[0])
            given = [count + 1, *given[1 : count + 1], clock_key(now), *given[count + 1 :]]
        packed = _pack("EVALSHA", made.sha, *given)
        if not made.publishes:
            self._line.send_packed_command(packed)
            return self._line.read_response()
        self._line.send_packed_command([*packed, *_pack("LPOP", HEARD, _ALL)])
        reply = self._reply()
        self._tell(self._line.read_response() or ())
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def _reply(self) -> Any:
        try:
            return self._line.read_response()
        except ResponseError as error:
            return error

    def _tell(self, published: Sequence[bytes]) -> None:
        for message in published[1::2]:
            for listener in list(self.listeners):
                listener(message.decode())

    # -- what happens to servers ----------------------------------------------------------------------------------

    def snapshot(self) -> dict[bytes, bytes]:
        """All that it holds."""
        return {key: self.raw("DUMP", key) for key in self.raw("KEYS", "*")}

    def restore(self, held: dict[bytes, bytes]) -> None:
        """Hold what it once held, and nothing since: as after a failover to a replica that was behind."""
        self.raw("CONFIG", "SET", "maxmemory", "0")
        self.raw("FLUSHALL")
        for key, value in held.items():
            self.raw("RESTORE", key, 0, value)

    def audit(self, source: Source) -> SourceAudit:
        """Recount a source right now, with the product's own audit, which never has to wait here."""
        auditing = audit_source(_Awaitable(self), Keys(), source)  # type: ignore[arg-type]
        try:
            auditing.send(None)
        except StopIteration as end:
            result: SourceAudit = end.value
            return result
        raise AssertionError("the audit waited for something")


class _Awaitable:
    """The server as an asyncio client that answers at once."""

    def __init__(self, server: VirtualServer) -> None:
        self._server = server

    async def execute_command(self, *command: Any) -> Any:
        if command[0] == "EVALSHA":
            self._server.known.add(command[1])
        return self._server.run(0.0, command)


@contextmanager
def virtual_server() -> Iterator[VirtualServer]:
    """A server of one's own, without persistence."""
    with scratch() as folder:
        path, log = folder / "s", folder / "log"
        words = ["--port", "0", "--unixsocket", str(path), "--dir", str(folder), "--save", "", "--logfile", str(log)]
        # Packed hashes keep their order; that of others differs from server to server.
        words += ["--hash-max-listpack-value", "65536", "--hash-max-listpack-entries", "4096"]
        with subprocess.Popen([server_program(), *words], stdin=subprocess.DEVNULL) as process:
            try:
                server = until(partial(_connected, str(path)), "answer of the server")
                assert server is not None
                yield server
                server.close()
            finally:
                process.kill()


def _connected(path: str) -> VirtualServer | None:
    with suppress(ConnectionError):
        return VirtualServer(path)
    return None
