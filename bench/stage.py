"""Where the trials run: a folder, a server and a sink of their own, and processes that report in JSON."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from redis.exceptions import RedisError

from bench import nginx
from bench.corpus import Corpus
from bench.peers import ROOT, Peers
from bench.sink import PythonSink, Tally
from bench.trial import PARTITIONS, SOURCE, Result
from pombo.ops.serverbinary import ServerProgram, find_program
from pombo.shared.batches import MAX_EVENTS
from pombo.shared.connection import aconnect, connect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret

_SERVER_OPTIONS = {"--port": "0", "--save": "", "--appendonly": "yes", "--appendfsync": "everysec"}
_WRITE_KEY = "w" * 32
_START_S = 20.0
_TRIAL_S = 300.0
_TAIL = 2000


class TrialError(Exception):
    """A trial, the server or the sink failed; the message has its last words."""


class AnySink(Protocol):
    """What takes Segment's place."""

    url: str

    def take(self) -> Tally:
        """What came since the last time."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Stage:
    """A context that holds server, sink and events, and runs trials one at a time."""

    def __init__(self, corpus: Corpus, peers: Peers, server_bin: Path | None = None) -> None:
        self.program: ServerProgram = find_program(server_bin)
        self.peers = peers
        self._corpus = corpus
        self._stack = ExitStack()
        self._secret = new_secret()
        self.events: str
        """The file of the events, one a line."""
        self.socket: str
        self.redis_url: str
        self.sink: AnySink
        self.sink_is: str
        """What the sink is, and its version."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # In /tmp, because a socket's path is limited to 108 bytes.
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pombo-bench-", dir="/tmp")))
            self.events = str(self.folder / "events")
            self._corpus.write(self.folder / "events")
            self._serve(stack)
            self._sink(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _serve(self, stack: ExitStack) -> None:
        self.socket = str(self.folder / "s")
        options = {**_SERVER_OPTIONS, "--dir": str(self.folder), "--unixsocket": self.socket}
        options["--logfile"] = str(self.folder / "server.log")
        words = [word for option in options.items() for word in option]
        server = subprocess.Popen([self.program.path, *words], stdin=subprocess.DEVNULL)
        stack.callback(end, server)
        self.redis_url = f"unix://{self.socket}"
        self.redis = stack.enter_context(connect(self.redis_url))
        ends = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > ends or server.poll() is not None:
                raise TrialError(f"{self.program} did not start: {_tail(self.folder / 'server.log')}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            return bool(self.redis.ping())
        return False

    def _sink(self, stack: ExitStack) -> None:
        if nginx.program():
            self.sink, self.sink_is = nginx.NginxSink(self.folder / "nginx"), f"nginx {nginx.version()}"
        else:
            self.sink, self.sink_is = PythonSink(), "a Python process, because nginx is not installed"
        stack.callback(self.sink.close)

    # -- trials ---------------------------------------------------------------------------------------------------

    def trial(self, module: str, name: str, *, python: str = sys.executable, **given: object) -> Result:
        """Run one trial in a process of its own.

        Raises:
            TrialError: it failed.
        """
        return self._run([python, "-m", f"bench.{module}", name, json.dumps(given)])

    def node_trial(self, file: str, **given: object) -> Result:
        """Run one trial of `bench/node/`; raises `TrialError`."""
        return self._run([str(self.peers.node), str(ROOT / "bench" / "node" / file), json.dumps(given)])

    def _run(self, argv: Sequence[str]) -> Result:
        with self.beside(argv) as result:
            return result()

    def python(self, code: str, python: str | None = None) -> Result:
        """Run a line of Python in an interpreter of its own; raises `TrialError`."""
        return self._run([python or sys.executable, "-c", code])

    @contextmanager
    def trial_beside(self, module: str, name: str, **given: object) -> Iterator[Callable[[], Result]]:
        """Run one trial while the body runs; what it yields waits for its result."""
        with self.beside([sys.executable, "-m", f"bench.{module}", name, json.dumps(given)]) as result:
            yield result

    @contextmanager
    def beside(self, argv: Sequence[str]) -> Iterator[Callable[[], Result]]:
        """Run a program that prints a result; ended with the body."""
        log, what = self.folder / "log", " ".join(argv[1:4])

        def result() -> Result:
            try:
                output, _ = process.communicate(timeout=_TRIAL_S)
            except subprocess.TimeoutExpired:
                raise TrialError(f"trial {what} took over {_TRIAL_S:g} s:\n{_tail(log)}") from None
            if process.returncode:
                raise TrialError(f"trial {what} failed:\n{_tail(log)}")
            found: Result = json.loads(output.splitlines()[-1])
            return found

        with log.open("wb") as errors:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            try:
                yield result
            finally:
                end(process)

    @contextmanager
    def worker(self, *options: str, redis_url: str | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """A real `pombo worker`, logging as by default into a file; ended with the body.

        Raises:
            TrialError: it ended badly before.
        """
        argv = [str(Path(sys.executable).parent / "pombo"), "worker", *options]
        log = self.folder / "worker.log"
        with log.open("wb") as words:
            process = subprocess.Popen(
                argv, cwd=ROOT, env=self.environment(redis_url), stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )
            try:
                yield process
            finally:
                ended = process.poll()
                end(process)
        if ended:
            raise TrialError(f"pombo worker ended with exit code {ended}:\n{_tail(log)}")

    def environment(self, redis_url: str | None = None) -> Mapping[str, str]:
        """Nothing of the caller's installation: the empty variables also shut out a `.env` file's."""
        kept = {name: "" if name.startswith("POMBO_") else value for name, value in os.environ.items()}
        proxies = {name: "" for name in kept if name.lower().endswith("_proxy")}
        own = {"REDIS_URL": redis_url or self.redis_url, "SECRET_KEY": self._secret, "METRICS_PORT": "0"}
        return {
            **kept,
            **proxies,
            **{f"POMBO_{name}": value for name, value in own.items()},
            "NODE_PATH": str(self.peers.modules),
        }

    # -- state ----------------------------------------------------------------------------------------------------

    def empty(self) -> None:
        """Empty the server, and forget what the sink counted."""
        # Otherwise the server frees memory in the background, while the next trial is measured.
        self.redis.execute_command("FLUSHALL", "SYNC")
        self.sink.take()

    def clear(self, *, sink_url: str | None = None) -> None:
        """Empty the server, and add the source, which delivers to that sink."""
        self.empty()
        self.add_sources([SOURCE], sink_url or self.sink.url)

    def add_sources(self, names: Sequence[str], sink_url: str) -> None:
        """Add sources without rate limit: what is measured is pombo, not Segment's ceiling."""
        asyncio.run(self._add_sources(names, sink_url))

    async def _add_sources(self, names: Sequence[str], sink_url: str) -> None:
        redis = aconnect(self.redis_url)
        try:
            registry = Registry(redis, Keys(), Secrets([self._secret]))
            for name in names:
                await registry.add(name, _WRITE_KEY, partitions=PARTITIONS, endpoint=sink_url, rate=0)
        finally:
            await redis.aclose()

    def fill(self, count: int, *, batch: int = MAX_EVENTS) -> None:
        """Append a backlog to the source, on top of what is there, in record batches of `batch` events."""
        self.trial("carrier", "fill", events=self.events, count=count, batch=batch)

    def delivered(self, source: str = SOURCE) -> int:
        """Events of a source that are delivered, by its ledger."""
        return int(self.redis.hget(Keys().of(source).ledger, "delivered") or 0)

    def wait_delivered(self, count: int, sources: Sequence[str] = (SOURCE,)) -> None:
        """Wait until the sources have delivered so many events together.

        Raises:
            TrialError: they do not.
        """
        ends = time.monotonic() + _TRIAL_S
        ledgers = [Keys().of(source).ledger for source in sources]
        while time.monotonic() < ends:
            pipe = self.redis.pipeline(transaction=False)
            for ledger in ledgers:
                pipe.hget(ledger, "delivered")
            if sum(int(value or 0) for value in pipe.execute()) >= count:
                return
            time.sleep(0.05)
        raise TrialError(f"{count} events were not delivered within {_TRIAL_S:g} s")

    def used_memory(self) -> int:
        """Bytes that the server's data take, without its clients' buffers and its log's."""
        info: dict[str, Any] = self.redis.info("memory")
        return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info["mem_aof_buffer"])

    def server_cpu(self) -> float:
        """CPU seconds of the server so far, without those of children that rewrite its log."""
        info: dict[str, Any] = self.redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def settle_log(self) -> None:
        """Wait until the server no longer rewrites its log."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            info: dict[str, Any] = self.redis.info("persistence")
            if not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]:
                return
            time.sleep(0.1)


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_TAIL:]


def end(process: "subprocess.Popen[Any]") -> None:
    """Ask a process to end, and see that it does."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
