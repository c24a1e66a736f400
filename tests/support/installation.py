"""An installation for end-to-end tests: embedded server, simulator, workers and bots, each a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.exceptions import RedisError

from pombo.ops.embedded import EmbeddedServer
from pombo.shared.connection import connect
from pombo.shared.keys import Keys
from pombo.shared.secrets import SECRET_FILE, ensure_secret_file
from support.oracle import Findings, Issued, judge
from support.programs import stripped_environment
from support.servers import Server, Shape
from support.waiting import DEADLINE_S, until

__all__ = ["Bot", "Child", "Gateway", "Installation", "until"]

TESTS = Path(__file__).resolve().parent.parent
_LOG_TAIL = 2000


class Child:
    """A process of the installation; its stderr goes to a log file."""

    def __init__(
        self, name: str, argv: Sequence[str], env: dict[str, str], folder: Path, *, talks: bool = False
    ) -> None:
        """`talks`: stdin and stdout are pipes, for `tell` and `hear`; else stdout is a file."""
        self.name = name
        self.log = folder / f"{name}.log"
        self.output = folder / f"{name}.out"
        with self.log.open("wb") as errors, self.output.open("wb") as output:
            self.process = subprocess.Popen(
                argv,
                env=env,
                cwd=folder,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else output,
                stderr=errors,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> float:
        """Kill it with -9; returns the wall clock (s) right before."""
        at = time.time()
        self.process.kill()
        self._reap()
        return at

    def _reap(self, deadline_s: float | None = None) -> int:
        code = self.process.wait(deadline_s)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return code

    def tell(self, what: Any) -> None:
        """Write it one JSON line."""
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps(what, option=orjson.OPT_APPEND_NEWLINE))
        self.process.stdin.flush()

    def hear(self) -> Any:
        """Read one JSON line of it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{self.name} went silent:\n{self.log.read_text('utf-8', 'replace')[-_LOG_TAIL:]}"
        return orjson.loads(line)

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def finish(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait for its own good end."""
        try:
            code = self._reap(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # A bot then writes down where its threads are.
            code = self._reap(DEADLINE_S)
        words = self.log.read_text("utf-8", "replace")[-_LOG_TAIL:]
        assert code == 0, f"{self.name} ended with {code}:\n{words}"

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its structured log."""
        for line in self.log.read_bytes().splitlines():
            if line.startswith(b"{"):
                with suppress(orjson.JSONDecodeError):
                    yield orjson.loads(line)


@dataclass
class Bot:
    """A bot process and its diary."""

    child: Child
    diary: Path

    def issued(self) -> list[Issued]:
        """What it issued so far, in order."""
        return read_diary(self.diary)

    def kill(self) -> list[Issued]:
        """Kill it with -9; what it issued, whatever it had not heard of as `unheard`."""
        self.child.kill()
        return [*self.issued(), *self.unheard()]

    def unheard(self) -> list[Issued]:
        """What it has offered, when it streams, and not heard of yet."""
        offers = [orjson.loads(line) for line in _whole_lines(self.diary.with_name(f"{self.diary.name}.offers"))]
        return [Issued(message_id, user, "unheard") for message_id, user in offers[len(self.issued()) :]]

    def metric(self, name: str) -> float:
        """A figure of its `/metrics`, when it serves them; the sum over its labels."""
        port = until(lambda: _whole_lines(self.diary.with_name(f"{self.diary.name}.port")), "port of /metrics")[0]
        text = httpx.get(f"http://127.0.0.1:{int(port)}/metrics").text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(sample.value for sample in samples if sample.name == name)

    def stop(self) -> list[Issued]:
        """Have it end, and return all that it issued."""
        self.child.ask_to_end()
        return self.finish()

    def finish(self) -> list[Issued]:
        """Wait for its end, and return all that it issued."""
        self.child.finish()
        return self.issued()


@dataclass
class Gateway:
    """A gateway and where it listens."""

    child: Child
    url: str

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.url.rpartition(":")[2])


def read_diary(path: Path) -> list[Issued]:
    """The whole lines of a bot's diary."""
    return [Issued(*orjson.loads(line)) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[bytes]:
    text = path.read_bytes() if path.exists() else b""
    return text[: text.rfind(b"\n") + 1].splitlines()


class Segment:
    """The simulator in a process of its own, asked by HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30)

    def set_plan(self, rules: Sequence[dict[str, Any]]) -> None:
        """Put these faults in the place of those before."""
        self._http.put("/_sim/plan", content=orjson.dumps(rules)).raise_for_status()

    def fired(self) -> list[int]:
        """How often each rule fired."""
        fired: list[int] = self._get("plan")["fired"]
        return fired

    def events(self, since: int = 0, **query: str) -> list[dict[str, Any]]:
        """What arrived, in order."""
        rows: list[dict[str, Any]] = self._get("events", since=str(since), **query)
        return rows

    def payloads(self) -> dict[str, dict[str, Any]]:
        """What Segment kept, whole, by messageId."""
        return {row["message_id"]: row["payload"] for row in self.events(payload="1") if row["fate"] == "kept"}

    def reset(self) -> None:
        """Forget all that arrived."""
        self._http.post("/_sim/reset").raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        """Every request with its messageIds, in order."""
        rows: list[dict[str, Any]] = self._get("requests", ids="1")
        return rows

    def summary(self) -> dict[str, Any]:
        """Counts by fate and status."""
        document: dict[str, Any] = self._get("summary")
        return document

    def close(self) -> None:
        self._http.close()

    def _get(self, what: str, **query: str) -> Any:
        return orjson.loads(self._http.get(f"/_sim/{what}", params=query).raise_for_status().content)


class Installation:
    """Everything of pombo on one machine, in a folder, until the context ends; nothing of it survives that."""

    def __init__(self, folder: Path, shape: Shape | None = None, *, server_bin: Path | None = None) -> None:
        """`shape`: the Redis to use instead of an embedded server; `server_bin`: the program of that."""
        self.folder = folder
        self.shape = shape
        self.home = folder / "home"
        self.spool = folder / "spool"
        """Folder that bots with a spool share."""
        self.keys = Keys()
        self._server = EmbeddedServer(self.home, server_bin=server_bin)
        self._victim: Server | None = None
        self.children: list[Child] = []
        self._env = stripped_environment() | {
            "POMBO_HOME": str(self.home),
            "POMBO_METRICS_PORT": "0",
            "POMBO_LOG_FORMAT": "json",
            "PYTHONPATH": os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))),
            "NO_COLOR": "1",
        }

    def __enter__(self) -> Self:
        ensure_secret_file(self.home)
        with ExitStack() as stack:
            if self.shape is None:
                self.server.start()
                stack.callback(self.server.stop)
            else:
                self._use(self.shape)
            self.redis: Redis = connect(self.server.url) if self.shape is None else self.shape.admin()
            stack.callback(self.redis.close)
            stack.callback(self._kill_children)
            self.segment = Segment(self._simulator())
            stack.callback(self.segment.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _kill_children(self) -> None:
        for child in self.children:
            child.kill()

    @property
    def server(self) -> EmbeddedServer:
        """The embedded server; a test that needs it makes no sense on a Redis of another shape."""
        if self.shape is not None:
            pytest.skip("it does things to the embedded server itself")
        return self._server

    def _use(self, shape: Shape) -> None:
        """Have all processes use a Redis of this shape."""
        secret = (self.home / SECRET_FILE).read_text("utf-8").strip()
        self._env |= {
            "POMBO_REDIS_URL": shape.url, "POMBO_JOBS_REDIS_URL": shape.jobs_url, "POMBO_SECRET_KEY": secret,
        }  # fmt: skip

    # -- processes ----------------------------------------------------------------------------------------------------

    def set_env(self, **values: str) -> None:
        """Have what is started from now on see these variables."""
        self._env |= values

    def _start(
        self, name: str, *argv: str, talks: bool = False, env: Mapping[str, str] = MappingProxyType({})
    ) -> Child:
        number = sum(child.name.startswith(name) for child in self.children)
        child = Child(f"{name}-{number}", [sys.executable, *argv], {**self._env, **env}, self.folder, talks=talks)
        self.children.append(child)
        return child

    def other(self, *argv: str, env: Mapping[str, str]) -> Child:
        """Start a program that is none of pombo's, with an environment of its own."""
        number = sum(child.name.startswith("other") for child in self.children)
        child = Child(f"other-{number}", argv, dict(env), self.folder)
        self.children.append(child)
        return child

    def _simulator(self) -> str:
        child = self._start("simulator", "-m", "pombo.ops.cli", "simulator", "--port", "0")

        def address() -> str:
            assert child.lives, child.log.read_text()
            said = child.output.read_text()
            return said.split()[-1] if said.endswith("\n") else ""

        return until(address, "simulator")

    def worker(self, *before: str) -> Child:
        """Start a worker process, with words for Python before its own."""
        return self._start("worker", *before, "-m", "pombo.ops.cli", "worker", "--no-jobs")

    def workers(self, count: int, *before: str) -> list[Child]:
        """Start worker processes, and wait until all are in the fleet."""
        started = [self.worker(*before) for _ in range(count)]
        until(lambda: {child.pid for child in started} <= self.fleet().keys(), f"{count} workers in the fleet")
        return started

    def jobs(self) -> Child:
        """Start a process that does jobs."""
        return self._start("jobs", "-m", "pombo.worker.jobs")

    def gateway(self, *words: str, port: int = 0) -> "Gateway":
        """Start a gateway, on a free port unless told, and wait until it listens."""
        child = self._start("gateway", "-m", "pombo.ops.cli", "gateway", "--port", str(port), *words)

        def address() -> str:
            assert child.lives, child.log.read_text()
            found = re.search(r"listens on (http://\S+)\n", child.output.read_text())
            return found[1] if found else ""

        return Gateway(child, until(address, "gateway"))

    def console(self, token: str = "", viewer_token: str = "", *, port: int = 0) -> str:
        """Start a console that these tokens open, on a free port unless told, and wait until it listens; its URL."""
        tokens = {"POMBO_CONSOLE_TOKEN": token, "POMBO_CONSOLE_VIEWER_TOKEN": viewer_token}
        env = {name: value for name, value in tokens.items() if value}
        child = self._start("console", "-m", "pombo.ops.cli", "console", "--port", str(port), env=env)

        def address() -> str:
            assert child.lives, child.log.read_text()
            found = re.search(r"is on (http://\S+)", child.output.read_text())
            return found[1] if found else ""

        return until(address, "console")

    def intake_key(self, source: str) -> str:
        """A new intake key of the source, in the place of the one before."""
        key: str = orjson.loads(self.cli("sources", "rotate-key", source, "--intake", "--json"))["intake_key"]
        return key

    def bot(
        self,
        source: str,
        mode: str,
        *argv: str,
        budget_s: float = 1.0,
        spool: Path | None = None,
        options: Sequence[str] = (),
    ) -> Bot:
        """Start a bot process; `options` are those of `support.bot` before its mode."""
        number = sum(child.name.startswith("bot") for child in self.children)
        diary = self.folder / f"bot-{number}.diary"
        words = ["-m", "support.bot", source, str(diary), "--budget", str(budget_s), *options, mode, *argv]
        env = {"POMBO_SPOOL_DIR": str(spool)} if spool else {}
        return Bot(self._start("bot", *words, talks="--turns" in argv, env=env), diary)

    def stream(
        self,
        source: str,
        name: str,
        *argv: str,
        users: int,
        rate: float,
        budget_s: float = 1.0,
        tick_s: float = 0.02,
        spool: Path | None = None,
        options: Sequence[str] = (),
    ) -> Bot:
        """Start a bot that issues events until it is stopped, and wait for the first receipts."""
        words = ("--users", str(users), "--rate", str(rate), "--tick", str(tick_s), *argv)
        bot = self.bot(source, "stream", name, *words, budget_s=budget_s, spool=spool, options=options)

        def wrote() -> bool:
            assert bot.child.lives, bot.child.log.read_text()
            return bot.diary.exists() and bot.diary.stat().st_size > 0

        until(wrote, f"receipts of {name}")
        return bot

    def cli(self, *argv: str, given: str | None = None, code: int | None = 0) -> str:
        """Run a `pombo` command to its end; returns what it printed. `code` is how it must end, None anyhow."""
        done = subprocess.run(
            [sys.executable, "-m", "pombo.ops.cli", *argv],
            env=self._env, cwd=self.folder, input=given or "", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code in {None, done.returncode}, f"pombo {' '.join(argv)} ended with {done.returncode}: {done.stderr}"
        return done.stdout

    # -- sources and what they hold -----------------------------------------------------------------------------------

    def add(
        self, name: str, write_key: str, *, partitions: int = 8, rate: float = 0, endpoint: str | None = None
    ) -> None:
        """Add a source that delivers to the simulator unless told otherwise, without rate limit unless given."""
        self.cli(
            "sources", "add", name, "--write-key", "-", "--endpoint", endpoint or self.segment.url,
            "--partitions", str(partitions), "--rate", str(rate), given=f"{write_key}\n",
        )  # fmt: skip

    def ledger(self, source: str) -> Counter[str]:
        """The source's counters."""
        stored: dict[bytes, bytes] = self.redis.hgetall(self.keys.of(source).ledger)  # type: ignore[assignment]
        return Counter({name.decode(): int(value) for name, value in stored.items() if name != b"incarnation"})

    def drained(self, source: str, deadline_s: float = DEADLINE_S) -> None:
        """Wait until nothing of the source is queued or in flight."""

        def empty() -> bool:
            ledger = self.ledger(source)
            return not ledger["queued"] and not ledger["in_flight"]

        until(empty, f"empty source {source}", deadline_s)

    def dead(self, source: str) -> list[dict[str, Any]]:
        """The source's dead letters, as `dead list --json` has them."""
        letters: list[dict[str, Any]] = orjson.loads(self.cli("dead", "list", "--source", source, "--json"))
        return letters

    def state(self, source: str) -> str:
        """`active`, `held`, `parked` …, as `status --json` says it."""
        state: str = orjson.loads(self.cli("status", "--json"))["sources"][source]["state"]
        return state

    def audit(self) -> dict[str, Any]:
        """The audit of all sources; its exit code must agree that it is balanced."""
        report: dict[str, Any] = orjson.loads(self.cli("audit", "--json"))
        assert report["balanced"], report
        return report

    def judge(
        self,
        source: str,
        bots: Iterable[Sequence[Issued]],
        *,
        requests: Sequence[dict[str, Any]] | None = None,
        kills: Sequence[float] = (),
        forgotten: Sequence[tuple[float, float]] = (),
    ) -> Findings:
        """Have the oracle look at all that happened to one source, when it is the only one.

        `requests`: the simulator's, where something in between knows more about them.
        """
        dead = [letter["message_id"] for letter in self.dead(source)]
        rows = self.segment.requests() if requests is None else requests
        return judge(bots, self.segment.events(), dead=dead, requests=rows, kills=kills, forgotten=forgotten)

    # -- the fleet ----------------------------------------------------------------------------------------------------

    def fleet(self) -> dict[int, str]:
        """The workers' ids by their process ids."""
        stored: dict[bytes, bytes] = self.redis.hgetall(self.keys.workers)  # type: ignore[assignment]
        return {orjson.loads(text)["pid"]: worker.decode() for worker, text in stored.items()}

    def owners(self, source: str, partitions: int = 8) -> dict[int, str]:
        """Which worker holds each partition; partitions that nobody holds are left out."""
        of = self.keys.of(source)
        stored: list[bytes | None] = self.redis.mget([of.lease(p) for p in range(partitions)])  # type: ignore[assignment]
        return {number: lease.decode().partition(":")[0] for number, lease in enumerate(stored) if lease}

    def in_flight(self, source: str, partitions: int = 8) -> dict[int, str]:
        """The records in flight: partition and record id."""
        of = self.keys.of(source)
        with self.redis.pipeline(transaction=False) as pipe:
            for partition in range(partitions):
                pipe.hget(of.record(partition), "id")
            return {number: record.decode() for number, record in enumerate(pipe.execute()) if record}

    def kill_server(self, number: int = signal.SIGKILL) -> float:
        """Kill Redis with -9, or by another signal; returns the wall clock (s) right before."""
        if self.shape is not None:
            self._victim = self.shape.victim()
        return self.signal_server(number)

    def signal_server(self, number: int) -> float:
        """Send Redis a signal; returns the wall clock (s) right before."""
        pid = self.server.pid if self._victim is None else self._victim.process.pid
        assert pid is not None
        at = time.time()
        os.kill(pid, number)
        return at

    def restart_server(self) -> float:
        """Start the killed Redis again on the same folder; returns the wall clock (s) when it answers."""
        if self._victim is None:
            until(self.server.ensure_running, "restart of the server")
        else:
            self._victim.process.wait()
            self._victim.restart()
        until(self._answers, "answer of the server")
        return time.time()

    def _answers(self) -> bool:
        """Whether Redis answers; it may still be loading its data."""
        with suppress(RedisError):
            return bool(self.redis.ping())
        return False
