"""An installation whose secrets are canaries, and which keeps all that its commands and bots say."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import orjson
from redis import Redis

from pombo.shared.secrets import SECRET_FILE
from support.canary import Canary, password, people, secret
from support.installation import Child, Installation
from support.servers import free_port
from support.talker import good_event


class Road(Installation):
    """An installation with canaries in the place of every secret, at its most talkative."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secrets: list[Canary] = []
        self.people = people()
        self.url = self.server.url
        self.wrong_url = ""
        """One with a password that is not the right one."""
        self._runs = 0
        (folder / "tmp").mkdir()
        self.set_env(
            POMBO_LOG_LEVEL="debug", TMPDIR=str(folder / "tmp"), PYTHONFAULTHANDLER="1",
            POMBO_CONSOLE_TOKEN=self.secret("console token").text,
        )  # fmt: skip

    def secret(self, name: str, made: Canary | None = None) -> Canary:
        """A new canary that is a secret."""
        canary = made or secret(name)
        self.secrets.append(canary)
        return canary

    def talker(self, source: str, prefix: str, **env: str) -> Child:
        """Start a bot that says all it knows."""
        child = self._start("talker", "-m", "support.talker", source, prefix, talks=True, env=env)
        assert child.process.stdin is not None
        child.tell({name: canary.text for name, canary in self.people.items()})
        child.process.stdin.close()
        return child

    def said(self, child: Child) -> None:
        """Keep what a talker printed, and see that it ended well."""
        assert child.process.stdout is not None
        child.output.write_bytes(child.process.stdout.read())
        child.finish()

    def carrier(self, *argv: str, **env: str) -> Child:
        """Start a `pombo` that stays."""
        return self._start(argv[0], "-m", "pombo.ops.cli", *argv, env=env)

    def run(self, *argv: str, code: int | None = 0, given: str = "", **env: str) -> str:
        """Run a `pombo` command, keep what it printed among the files, and return its stdout."""
        return self._kept([sys.executable, "-m", "pombo.ops.cli", *argv], argv, code, given, env)

    def rq(self, *argv: str) -> str:
        """Run a command of stock RQ in the same way; where its Redis is it learns from the environment."""
        env = {"RQ_REDIS_URL": self._env.get("POMBO_JOBS_REDIS_URL", self.url)}
        return self._kept([str(Path(sys.executable).parent / "rq"), *argv], ("rq", *argv), 0, "", env)

    def _kept(
        self, words: Sequence[str], argv: Sequence[str], code: int | None, given: str, env: Mapping[str, str]
    ) -> str:
        self._runs += 1
        name = f"{self._runs}-{'-'.join(argv[:2])}"
        done = subprocess.run(
            words, env={**self._env, **env}, cwd=self.folder,
            input=given.encode(), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        (self.folder / f"{name}.out").write_bytes(done.stdout)
        (self.folder / f"{name}.err").write_bytes(done.stderr)
        assert code in {None, done.returncode}, (argv, done.stderr.decode())
        return done.stdout.decode()

    def source(self, name: str) -> Canary:
        """Add a source with a canary as its write key; its intake key becomes one too."""
        key = self.secret(f"write key of {name}")
        done = self.cli(
            "sources", "add", name, "--write-key", "-", "--endpoint", self.segment.url, "--partitions", "1",
            "--rate", "0", "--json", given=f"{key.text}\n",
        )  # fmt: skip
        self.secret("", Canary(f"intake key of {name}", orjson.loads(done)["intake_key"].removeprefix("pik_")))
        return key

    def echo(self, key: Canary) -> str:
        """An answer of Segment that repeats what it was sent: key, Basic auth, and somebody's data."""
        basic = httpx.BasicAuth(key.text, "")
        header = next(basic.auth_flow(httpx.Request("GET", "http://x"))).headers["Authorization"]
        event = good_event({name: one.text for name, one in self.people.items()}, "echo")
        return orjson.dumps({"message": "malformed", "got": event, "key": key.text, "auth": header}).decode()


def at_home(road: Road) -> Redis:
    """Nothing is set: the secret is a file, and the embedded server wants no password."""
    text = (road.home / SECRET_FILE).read_text().strip()
    road.secret("", Canary("secret key", text.removeprefix("pbs_")))
    road.wrong_url = f"unix://:{road.secret('wrong password').text}@{quote(road.server.url.removeprefix('unix://'))}"
    return road.redis


def as_given(road: Road) -> Redis:
    """All is set by the environment: the secret, and URLs with passwords, the jobs' another than the data's."""
    data, jobs = road.secret("", password("Redis password")), road.secret("", password("jobs password"))
    port = free_port()
    road.redis.config_set("port", port)
    road.redis.acl_setuser(
        "jobs", enabled=True, passwords=f"+{jobs.text}", keys=["*"], channels=["*"], categories=["+@all"]
    )
    road.redis.config_set("requirepass", data.text)
    (road.home / SECRET_FILE).unlink()
    road.url = f"redis://:{quote(data.text, safe='')}@127.0.0.1:{port}/0"
    road.wrong_url = f"redis://:{road.secret('wrong password').text}@127.0.0.1:{port}/0"
    road.set_env(
        POMBO_REDIS_URL=road.url,
        POMBO_JOBS_REDIS_URL=f"redis://jobs:{quote(jobs.text, safe='')}@127.0.0.1:{port}/1",
        POMBO_SECRET_KEY=f"pbs_{road.secret('secret key').text}",
    )
    road.redis = Redis(port=port, password=data.text)
    return Redis(port=port, db=1, username="jobs", password=jobs.text)
