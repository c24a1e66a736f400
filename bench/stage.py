"""Where the trials run: a folder, a server and a sink of their own, and processes that report in JSON."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from redis.exceptions import RedisError

from bench.corpus import Corpus
from bench.trial import PARTITIONS, SOURCE, Result
from pombo.ops.serverbinary import ServerProgram, find_program
from pombo.shared.connection import aconnect, connect
from pombo.shared.keys import Keys
from pombo.shared.registry import Registry
from pombo.shared.secrets import Secrets, new_secret

ROOT = Path(__file__).resolve().parents[1]
SDK_PYTHON = ROOT / ".venv" / "bench" / "bin" / "python"
_SERVER_OPTIONS = {"--port": "0", "--save": "", "--appendonly": "yes", "--appendfsync": "everysec"}
_WRITE_KEY = "w" * 32
_START_S = 20.0
_TRIAL_S = 300.0
_TAIL = 2000


class TrialError(Exception):
    """A trial, the server or the sink failed; the message has its last words."""


class Stage:
    """A context that holds server, sink and events, and runs trials one at a time."""

    def __init__(self, corpus: Corpus, server_bin: Path | None = None) -> None:
        self.program: ServerProgram = find_program(server_bin)
        self._corpus = corpus
        self._stack = ExitStack()
        self._secret = new_secret()
        self.events: str
        self.redis_url: str
        self.sink_url: str

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # In /tmp, because a socket's path is limited to 108 bytes.
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pombo-bench-", dir="/tmp")))
            self._folder = folder
            self.events = str(folder / "events")
            self._corpus.write(folder / "events")
            self._serve(folder, stack)
            self._sink(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _serve(self, folder: Path, stack: ExitStack) -> None:
        options = {**_SERVER_OPTIONS, "--dir": str(folder), "--unixsocket": str(folder / "s")}
        options["--logfile"] = str(folder / "server.log")
        words = [word for option in options.items() for word in option]
        server = subprocess.Popen([self.program.path, *words], stdin=subprocess.DEVNULL)
        stack.callback(_end, server)
        self.redis_url = f"unix://{folder / 's'}"
        self._redis = stack.enter_context(connect(self.redis_url))
        ends = time.monotonic() + _START_S
        while not self._answers():
            if time.monotonic() > ends or server.poll() is not None:
                raise TrialError(f"{self.program} did not start: {_tail(folder / 'server.log')}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with suppress(RedisError, OSError):
            return bool(self._redis.ping())
        return False

    def _sink(self, stack: ExitStack) -> None:
        sink = subprocess.Popen(
            [sys.executable, "-m", "bench.sink"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(_end, sink)
        assert sink.stdout is not None
        port = sink.stdout.readline().strip()
        if not port:
            raise TrialError("the sink did not start; its words are above")
        self.sink_url = f"http://127.0.0.1:{port}"

    def trial(self, module: str, name: str, *, python: str = sys.executable, **given: object) -> Result:
        """Run one trial in a process of its own.

        Raises:
            TrialError: it failed.
        """
        argv = [python, "-m", f"bench.{module}", name, json.dumps(given)]
        log = self._folder / "log"
        with log.open("wb") as errors:
            done = subprocess.Popen(
                argv, cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            try:
                output, _ = done.communicate(timeout=_TRIAL_S)
            except subprocess.TimeoutExpired:
                raise TrialError(f"trial {name} of bench.{module} took over {_TRIAL_S:g} s:\n{_tail(log)}") from None
            finally:
                _end(done)
        if done.returncode:
            raise TrialError(f"trial {name} of bench.{module} failed:\n{_tail(log)}")
        result: Result = json.loads(output.splitlines()[-1])
        return result

    def _environment(self) -> Mapping[str, str]:
        """Nothing of the caller's installation: the empty variables also shut out a `.env` file's."""
        kept = {name: "" if name.startswith("POMBO_") else value for name, value in os.environ.items()}
        proxies = {name: "" for name in kept if name.lower().endswith("_proxy")}
        own = {"REDIS_URL": self.redis_url, "SECRET_KEY": self._secret, "METRICS_PORT": "0"}
        return {**kept, **proxies, **{f"POMBO_{name}": value for name, value in own.items()}}

    def clear(self) -> None:
        """Empty the server, and forget what the sink counted."""
        # Otherwise the server frees memory in the background, while the next trial is measured.
        self._redis.execute_command("FLUSHALL", "SYNC")
        self.sunk()

    def add_source(self) -> None:
        """Add the source, without rate limit: what is measured is pombo, not Segment's ceiling."""
        asyncio.run(self._add_source())

    async def _add_source(self) -> None:
        redis = aconnect(self.redis_url)
        try:
            registry = Registry(redis, Keys(), Secrets([self._secret]))
            await registry.add(SOURCE, _WRITE_KEY, partitions=PARTITIONS, endpoint=self.sink_url, rate=0)
        finally:
            await redis.aclose()

    def sunk(self) -> dict[str, Any]:
        """What reached the sink since the last time: `requests`, `bytes`, `seconds` from the first to the last."""
        with urlopen(self.sink_url, timeout=10) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    def used_memory(self) -> int:
        """Bytes that the server's data take, without its clients' buffers and its log's."""
        info: dict[str, Any] = self._redis.info("memory")
        return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info["mem_aof_buffer"])

    def server_cpu(self) -> float:
        """CPU seconds of the server so far, without those of children that rewrite its log."""
        info: dict[str, Any] = self._redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-_TAIL:]


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
