import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry, Info, start_http_server
from pydantic import SecretStr

from pombo.ops.doctor.local import disabled_check, metrics_checks, read_secrets
from pombo.shared.settings import Settings


@pytest.fixture
def worker_port() -> Iterator[int]:
    """The port of a page of metrics as a worker shows it."""
    registry = CollectorRegistry()
    Info("pombo_build", "Version.", registry=registry)
    server, thread = start_http_server(0, registry=registry)
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_switch_that_drops_everything() -> None:
    """POMBO_DISABLED is a finding: producers drop what they are given."""
    assert [True, False] == [disabled_check(Settings(disabled=disabled)).ok for disabled in (False, True)]


def test_secrets() -> None:
    """A secret that is missing or too short is a finding with what is wrong, and the others can still be looked at."""
    secrets, check = read_secrets(Settings(secret_key=SecretStr("x" * 40)))
    assert secrets is not None
    assert check.ok
    none, short = read_secrets(Settings(secret_key=SecretStr("short")))
    assert (None, False) == (none, short.ok)
    assert "`pombo secret` makes one" in (short.remedy or "")
    assert "short" not in short.detail


def test_metrics_ports(worker_port: int, free_port: int) -> None:
    """A port is free, a worker's, or another program's, which is worth a word."""
    with closing(socket.create_server(("", 0))) as taken:
        told = [*metrics_checks(0), *metrics_checks(free_port), *metrics_checks(worker_port)]
        told += metrics_checks(taken.getsockname()[1])
    assert all(check.ok for check in told)
    assert [False, False, False, True] == [check.remedy is not None for check in told]
    assert "shows a worker's" in told[2].detail
