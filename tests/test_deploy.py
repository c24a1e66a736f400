"""What deploy/ says of pombo, held against pombo: commands, settings, ports and times."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from importlib.metadata import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.exceptions import RedisError

from pombo.ops.cli.app import command
from pombo.ops.serverbinary import find_program
from pombo.ops.up import CONSOLE_PORT, GATEWAY_PORT
from pombo.shared.connection import connect
from pombo.shared.lifeline import GRACE_S
from pombo.shared.settings import Settings
from support.waiting import until

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
COMPOSE: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
MONITORING = DEPLOY / "monitoring"
PROMETHEUS: Any = yaml.safe_load((MONITORING / "prometheus.yml").read_text("utf-8"))
UNITS = sorted(path.name for path in DEPLOY.glob("*.service"))
SERVICES: Mapping[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "pombo"}


def instructions(name: str) -> list[str]:
    """The Dockerfile's instructions of one kind, in order, continued lines joined, without the instruction's name."""
    return re.findall(rf"^{name}[ ](.+)$", DOCKERFILE.replace("\\\n", ""), re.M)


def assert_runs(words: list[str]) -> None:
    """Make sure that pombo has this command, with each of its options."""
    here: Any = command()
    for word in words:
        if word in getattr(here, "commands", {}):
            here = here.commands[word]
        elif word.startswith("--"):
            assert word in {option for one in here.params for option in one.opts}, words
    assert not hasattr(here, "commands"), words


def assert_settings(names: set[str]) -> None:
    """Make sure that pombo reads each of these variables."""
    ours = {name for name in names if name.startswith("POMBO_")}
    assert ours
    assert set() == {name.removeprefix("POMBO_").lower() for name in ours} - set(Settings.model_fields)


def targets(job: str) -> list[str]:
    """The addresses that a scrape job names."""
    (found,) = (one for one in PROMETHEUS["scrape_configs"] if one["job_name"] == job)
    return [target for static in found.get("static_configs", ()) for target in static["targets"]]


# -- Dockerfile -------------------------------------------------------------------------------------------------------


def test_image_runs_pombo() -> None:
    """The image's entry point is pombo's, and what it runs by default is a command."""
    (entry,), (words,) = instructions("ENTRYPOINT"), re.findall(r"^CMD (.+)$", DOCKERFILE, re.M)
    assert ["pombo"] == json.loads(entry)
    assert_runs(json.loads(words))


def test_image_knows_its_settings() -> None:
    """The image sets only what pombo reads, and exposes the port that it sets."""
    (environment,) = instructions("ENV")
    given = dict(word.split("=", 1) for word in shlex.split(environment))
    assert_settings(set(given))
    assert [given["POMBO_METRICS_PORT"]] == instructions("EXPOSE")
    assert Settings.model_fields["metrics_port"].default == int(given["POMBO_METRICS_PORT"])


def test_image_is_safe() -> None:
    """The image runs as nobody in particular, ends by SIGTERM, and holds no secret."""
    assert ["10001:10001"] == instructions("USER")
    assert ["SIGTERM"] == instructions("STOPSIGNAL")
    assert not re.search(r"^(ENV|ARG)\b.*(SECRET|TOKEN|PASSWORD|WRITE_KEY)", DOCKERFILE, re.M)


def test_image_has_a_python_that_pombo_runs_on() -> None:
    """Both stages are of one Python, which pombo says it supports."""
    (version,) = {found for one in instructions("FROM") if (found := one.partition(":")[2].partition("-")[0])}
    assert f"Programming Language :: Python :: {version}" in metadata("pombo").get_all("Classifier", [])


def test_image_gets_all_that_a_wheel_needs() -> None:
    """What is copied exists, is let through by .dockerignore, and covers the source roots and the wheel's files."""
    copied = {word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]}
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert copied == let_in
    assert [] == [name for name in copied if not (ROOT / name).exists()]
    assert {"shared", "producer", "worker", "ops", "pyproject.toml", "README.md", "LICENSE"} <= copied


@pytest.mark.parametrize("path", [".env", "deploy/.env", "ops/.env", ".git/config", ".venv/bin/python"])
def test_no_secret_gets_into_the_image(path: str) -> None:
    """Docker does not even see local settings, the history, or another environment."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    seen = True
    for line in filter(lambda line: line and not line.startswith("#"), lines):
        pattern = line.removeprefix("!")
        whole = pattern.removeprefix("**/")
        if any(fnmatch(part, pattern) for part in _ancestors(path)) or Path(path).name == whole:
            seen = line.startswith("!")
    assert not seen


def _ancestors(path: str) -> list[str]:
    return [str(one) for one in (Path(path), *Path(path).parents) if str(one) != "."]


def test_health_check_asks_the_metrics() -> None:
    """The image's health check is a program that reads the port from the environment, and fails when nobody answers."""
    (words,) = re.findall(r"^\s+CMD (\[.+\])$", DOCKERFILE, re.M)
    program, *rest = json.loads(words)
    assert "python" == program
    done = subprocess.run(
        [program, *rest], env={**os.environ, "POMBO_METRICS_PORT": "1"}, capture_output=True, timeout=60, check=False
    )
    assert 1 == done.returncode
    assert b"refused" in done.stderr


# -- compose.yaml -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_services_run_commands(name: str) -> None:
    """Each service of ours runs a command that there is, on settings that pombo reads."""
    assert_runs(OURS[name]["command"])
    assert_settings(set(OURS[name]["environment"]))


@pytest.mark.parametrize("name", OURS)
def test_services_stop_in_peace(name: str) -> None:
    """Docker waits longer for a stop than pombo takes at most."""
    assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > GRACE_S


@pytest.mark.parametrize("name", OURS)
def test_secret_is_asked_for(name: str) -> None:
    """No secret is in the file: without one, Compose refuses to start and says where it belongs."""
    given = OURS[name]["environment"]
    secrets = [
        setting
        for setting in ("POMBO_SECRET_KEY", "POMBO_CONSOLE_TOKEN", "POMBO_CONSOLE_VIEWER_TOKEN")
        if setting in given
    ]
    assert "POMBO_SECRET_KEY" in secrets
    for setting in secrets:
        (words,) = re.fullmatch(rf"\$\{{{setting}:\?(.+)\}}", given[setting]).groups()  # type: ignore[union-attr]
        assert "deploy/.env" in words


def test_nothing_listens_beyond_this_machine() -> None:
    """Every published port is on the loopback address: neither Redis nor Prometheus asks for a password."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_volumes_are_declared() -> None:
    """Named volumes are declared, and files that are mounted exist."""
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            place = volume.partition(":")[0]
            assert (DEPLOY / place).exists() if place.startswith(".") else place in COMPOSE["volumes"]


@contextmanager
def redis_of_compose(folder: Path) -> Iterator[Redis]:
    """A server started with the words of compose.yaml, on a socket of its own."""
    _, *options = [re.sub(r"\$\{\w+:-(.+)\}", r"\1", word) for word in SERVICES["redis"]["command"]]
    own = ["--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder)]
    with subprocess.Popen([find_program().path, *options, *own], stdout=subprocess.DEVNULL) as server:
        try:
            with connect(f"unix://{folder / 's'}") as client:
                until(lambda: _answers(client) or server.poll() is not None, "an answer of the server")
                yield client
        finally:
            server.terminate()
            server.wait(10)


def _answers(client: Redis) -> bool:
    with suppress(RedisError):
        return bool(client.ping())
    return False


def test_redis_keeps_what_it_acknowledges() -> None:
    """A real server takes compose.yaml's options, writes before it acknowledges, and evicts nothing when full."""
    # Not pytest's folder: a socket's path is limited to 108 bytes.
    with TemporaryDirectory(prefix="pombo-", dir="/tmp") as folder, redis_of_compose(Path(folder)) as client:
        wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory": str(1 << 30)}
        wanted |= {"maxmemory-policy": "noeviction", "save": ""}
        assert wanted == {name: client.config_get(name)[name] for name in wanted}


# -- monitoring/ ---------------------------------------------------------------------------------------------------


def test_prometheus_finds_every_worker() -> None:
    """Workers are looked up under their service's name, at the port that they are given."""
    (looked_up,) = (one for job in PROMETHEUS["scrape_configs"] for one in job.get("dns_sd_configs", ()))
    assert ["worker"] == looked_up["names"]
    assert str(looked_up["port"]) == OURS["worker"]["environment"]["POMBO_METRICS_PORT"]
    assert "network_mode" not in OURS["worker"]


def test_prometheus_sees_the_fleet() -> None:
    """The console is scraped and asked for its health where it listens, and reached where it is published."""
    service = OURS["console"]
    port = str(CONSOLE_PORT)
    assert ["0.0.0.0"] == service["command"][service["command"].index("--host") + 1 :]
    assert [f"console:{port}"] == targets("pombo-console")
    assert [f"127.0.0.1:{port}:{port}"] == service["ports"]
    assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]


def test_jobs_can_write_what_they_export() -> None:
    """Who runs jobs, and who shows their files, share a folder that can be written to."""
    for name in ("worker", "console"):
        assert [f"exports:{OURS[name]['environment']['POMBO_EXPORT_DIR']}"] == OURS[name]["volumes"]
        assert OURS[name]["environment"]["POMBO_EXPORT_DIR"] in next(
            line for line in instructions("RUN") if "/spool" in line
        )


def test_prometheus_shows_the_token() -> None:
    """The token that the console is given is the one that Prometheus reads from a file and brings along."""
    (job,) = (one for one in PROMETHEUS["scrape_configs"] if one["job_name"] == "pombo-console")
    (name,) = SERVICES["prometheus"]["secrets"]
    assert {"type": "Bearer", "credentials_file": f"/run/secrets/{name}"} == job["authorization"]
    assert "POMBO_CONSOLE_VIEWER_TOKEN" == COMPOSE["secrets"][name]["environment"]
    assert "POMBO_CONSOLE_VIEWER_TOKEN" in OURS["console"]["environment"]


def test_prometheus_and_grafana_are_given_their_files() -> None:
    """Each path in their configuration is below a folder that is mounted there, and is in the repository."""
    mounts = {}
    for name in ("prometheus", "grafana"):
        for volume in SERVICES[name]["volumes"]:
            place, _, rest = volume.partition(":")
            if place.startswith("."):
                mounts[rest.partition(":")[0]] = DEPLOY / place
    provisioning = mounts["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "pombo.yml").read_text("utf-8"))["providers"]
    (datasource,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text("utf-8"))["datasources"]
    assert mounts["/etc/prometheus"] == MONITORING
    assert {"overview.json", "source.json", "fleet.json"} == {
        path.name for path in mounts[provider["options"]["path"]].iterdir()
    }
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounts[str(home.parent)] / home.name).is_file()
    assert ["127.0.0.1:9090:9090"] == SERVICES["prometheus"]["ports"]
    assert "http://prometheus:9090" == datasource["url"]
    assert [] == [one for one in PROMETHEUS["rule_files"] if not (MONITORING / one).is_file()]


def test_nobody_can_sign_in_to_grafana() -> None:
    """There is no admin whose password is the usual one, and no form to try it in."""
    given = SERVICES["grafana"]["environment"]
    assert "true" == given["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == given["GF_AUTH_DISABLE_LOGIN_FORM"]
    assert "false" == given["GF_AUTH_BASIC_ENABLED"]


def test_prometheus_sees_the_gateway() -> None:
    """The gateway is scraped and asked for its health where it listens, and reached where it is published."""
    service = OURS["gateway"]
    port = str(GATEWAY_PORT)
    assert ["0.0.0.0"] == service["command"][service["command"].index("--host") + 1 :][:1]
    assert [f"gateway:{port}"] == targets("pombo-gateway")
    assert [f"127.0.0.1:{port}:{port}"] == service["ports"]
    assert f"127.0.0.1:{port}/healthz" in service["healthcheck"]["test"][-1]
    assert [f"spool:{service['environment']['POMBO_SPOOL_DIR']}"] == service["volumes"]


def test_exports_outlive_containers() -> None:
    """Whoever may do jobs, or shows their files, has the folder of exports in one volume that the image owns."""
    folder = COMPOSE["x-pombo"]["environment"]["POMBO_EXPORT_DIR"]
    doing = {name for name, service in OURS.items() if service["command"][0] in {"worker", "console", "up"}}
    assert {"worker", "console"} == doing
    assert all(f"exports:{folder}" in OURS[name]["volumes"] for name in doing)
    assert "exports" in COMPOSE["volumes"]
    assert re.search(rf"install --directory --owner=10001 .*{folder}\b", (DEPLOY / "Dockerfile").read_text("utf-8"))
    unit = (DEPLOY / "pombo-worker@.service").read_text("utf-8")
    (state,) = re.findall(r"^StateDirectory=(\S+)$", unit, re.M)
    assert f"POMBO_EXPORT_DIR=/var/lib/{state}" in unit


# -- systemd, README --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNITS)
def test_unit_runs_a_command(name: str) -> None:
    """Each unit's command is one, and the variables that it sets or names are read."""
    unit = (DEPLOY / name).read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=\S+/pombo (.+)$", unit, re.M)
    assert_runs(line.split())
    assert_settings(set(re.findall(r"POMBO_[A-Z_]+", unit)))
    (grace,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)
    assert int(grace) > GRACE_S


def test_readme_names_what_there_is() -> None:
    """Each pombo command, service, file and setting that deploy/README.md names is there."""
    text = (DEPLOY / "README.md").read_text("utf-8")
    told = re.findall(r"docker compose .+ run --rm -T (\w+) (.+)", text)
    assert len(told) > 2
    for service, words in told:
        assert service in OURS
        assert_runs(words.split())
    for word in re.findall(r"docker run --rm pombo (\w+)", text):
        assert_runs([word])
    assert set(re.findall(r"--scale (\w+)=", text)) <= set(OURS)
    assert_settings(set(re.findall(r"POMBO_[A-Z_]+", text)))
    assert [] == [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not (DEPLOY / link).exists()]
