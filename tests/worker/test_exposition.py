import socket
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.error import HTTPError, URLError

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from pombo.worker.exposition import exposed

DEADLINE_S = 20
HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    """A socket that listens on a port of this machine."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def port(taken: socket.socket) -> int:
    """A port that was free a moment ago."""
    number = port_of(taken)
    taken.close()
    return number


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("pombo_tests_total", "Tests.", registry=made).inc(3)
    return made


def get(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=DEADLINE_S) as answer:
        text: str = answer.read().decode()
        return text


class Broken(Collector):
    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        raise OSError("no Redis answers")


def test_a_registry_is_served(registry: CollectorRegistry, port: int) -> None:
    """A scrape shows what the registry holds, until the context ends."""
    with exposed(registry, port, HOST) as served:
        assert served
        assert "pombo_tests_total 3.0\n" in get(port)

    with pytest.raises(URLError):
        get(port)


def test_zero_is_off(registry: CollectorRegistry) -> None:
    """Port 0 serves nothing."""
    with exposed(registry, 0) as served:
        assert not served


def test_a_port_in_use_is_a_warning(
    registry: CollectorRegistry, taken: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    """The body runs although nothing is served, and the warning says what to do."""
    with exposed(registry, port_of(taken), HOST, remedy="choose another") as served:
        assert not served
    assert "choose another" in caplog.text


def test_a_port_that_becomes_free_is_taken(registry: CollectorRegistry, taken: socket.socket) -> None:
    """Who starts while its predecessor still ends gets the port after it."""
    port = port_of(taken)
    with exposed(registry, port, HOST, again_s=0.01) as served:
        assert not served
        taken.close()
        ends = time.monotonic() + DEADLINE_S
        shown = ""
        while "pombo_tests_total" not in shown:
            assert time.monotonic() < ends
            with suppress(URLError):
                shown = get(port)


def test_a_scrape_that_fails_harms_nobody(registry: CollectorRegistry, port: int) -> None:
    """Metrics that cannot be read are a 500 that says why; the next scrape is answered too."""
    broken = Broken()
    with exposed(registry, port, HOST):
        registry.register(broken)
        with pytest.raises(HTTPError) as failure:
            get(port)
        with failure.value as answer:
            assert (500, b"# the metrics cannot be read now: OSError: no Redis answers\n") == (
                answer.code,
                answer.read(),
            )
        registry.unregister(broken)
        assert "pombo_tests_total 3.0\n" in get(port)


def test_a_client_that_goes_away_harms_nobody(
    registry: CollectorRegistry, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nonsense and early goodbyes are neither told nor an end."""
    with exposed(registry, port, HOST):
        for words in (b"", b"GET /metrics HTTP/1.1\r\n\r\n", b"\x16\x03\x01"):
            with socket.create_connection((HOST, port)) as client:
                client.sendall(words)
        assert "pombo_tests_total 3.0\n" in get(port)
    assert "Traceback" not in capfd.readouterr().err
