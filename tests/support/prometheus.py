"""A real Prometheus for tests: its own port and folder, a short interval, gone at the end."""

import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from support.monitoring import MONITORING, found_program, hurried
from support.servers import free_port
from support.waiting import until

INTERVAL = "1s"
TOKEN = "a-viewers-token-for-tests"


@dataclass(frozen=True)
class Firing:
    """An alert that fires, with what it tells people."""

    name: str
    severity: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Prometheus:
    """Scrape on the configuration of deploy/, with targets of the test's own; rules are `hurried`."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        self._program = found_program("prometheus")
        self._folder = folder
        folder.mkdir(parents=True)
        self._write(targets)
        self.port = free_port()
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def _write(self, targets: dict[str, list[str]]) -> None:
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
        config["alerting"] = {}
        (self._folder / "token").write_text(TOKEN)
        for job in config["scrape_configs"]:
            for kind in [kind for kind in job if kind.endswith("_sd_configs")]:
                del job[kind]
            if "authorization" in job:
                job["authorization"]["credentials_file"] = str(self._folder / "token")
            job["static_configs"] = [{"targets": targets.get(job["job_name"], [])}]
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (self._folder / "rules").mkdir()
        for name in config["rule_files"]:
            (self._folder / name).write_text(hurried((MONITORING / name).read_text("utf-8")))

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(self._ready, "Prometheus that is ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.kill()
        self._process.wait()

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
        with suppress(httpx.TransportError):
            return self._http.get("/-/ready").status_code == httpx.codes.OK
        return False

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression at this moment."""
        answer = self._http.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", f"{expr}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> list[Firing]:
        """The alerts that fire now."""
        found = self._http.get("/api/v1/alerts").json()["data"]["alerts"]
        return [
            Firing(one["labels"]["alertname"], one["labels"]["severity"], one["labels"], one["annotations"])
            for one in found
            if one["state"] == "firing"
        ]

    def scraped(self, job: str) -> bool:
        """Whether all targets of a job answered their last scrape."""
        series = self.query(f'up{{job="{job}"}}')
        return bool(series) and all(one["value"][1] == "1" for one in series)
