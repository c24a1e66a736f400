import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import pombo.ops.simulator as package
from pombo.ops.simulator import PlanError, Simulator, SimulatorError, run, serve
from pombo.ops.simulator.clock import WitnessClock
from pombo.shared.errors import PomboError

PROGRAM = "import sys; from pombo.ops.simulator import run; run(int(sys.argv[1]), seed=5)"


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield holder.getsockname()[1]


def test_exports() -> None:
    """The package exports what it lists, in order."""
    assert list(package.__all__) == sorted(package.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(package, name) for name in package.__all__)


async def test_free_port(http: httpx.AsyncClient) -> None:
    """Port 0 takes a free one, and two simulators stand side by side without knowing of each other."""
    async with Simulator() as one, Simulator() as two:
        assert one.port != two.port
        assert (await http.post(f"{one.url}/v1/batch", json={"batch": [], "writeKey": "k"})).status_code == 200
        assert (len(one.requests()), len(two.requests())) == (1, 0)


async def test_closed_port() -> None:
    """Once the context ends nobody listens, and the port is free for another."""
    async with Simulator() as sim:
        port = sim.port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    async with Simulator(port=port) as again:
        assert again.port == port


async def test_idle_connections_end(http: httpx.AsyncClient) -> None:
    """A simulator that closes does not wait for idle keep-alive connections."""
    async with Simulator() as sim:
        await http.get(f"{sim.url}/_sim/summary")
        assert sim.connections == 1
    assert sim.connections == 0


async def test_port_in_use() -> None:
    """A port that somebody holds is one line that says what to do."""
    with taken_port() as port:
        with pytest.raises(SimulatorError) as caught:
            await Simulator(port=port).__aenter__()
        message = f"port {port} on 127.0.0.1 is in use; stop what holds it, or choose another (0 takes a free one)"
        assert str(caught.value) == message


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("203.0.113.7", 0)])
async def test_impossible_address(host: str, port: int) -> None:
    """An address that this machine does not have is one line too."""
    with pytest.raises(SimulatorError, match=rf"^cannot listen on {re.escape(host)}, port {port}: .*; choose another"):
        await Simulator(host, port).__aenter__()


def test_not_running() -> None:
    """A simulator that was not entered has no port, and says so."""
    with pytest.raises(SimulatorError, match="not running"):
        _ = Simulator().url


def test_errors_are_pombos() -> None:
    """Every error of the simulator is one of pombo's."""
    assert issubclass(PlanError, SimulatorError)
    assert issubclass(SimulatorError, PomboError)


async def test_ipv6(http: httpx.AsyncClient) -> None:
    """An IPv6 host stands in brackets in the URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with Simulator("::1") as sim:
        assert sim.url == f"http://[::1]:{sim.port}"
        assert (await http.get(f"{sim.url}/_sim/summary")).status_code == 200


def test_drawn_seed() -> None:
    """Without a seed each simulator draws its own, and shows it."""
    assert len({Simulator().seed for _ in range(20)}) > 1
    assert Simulator(seed=3).summary()["seed"] == 3


async def test_serve(http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Serving says when it is ready, obeys the plan of its file, and ends when cancelled."""
    (tmp_path / "plan.json").write_text('[{"answer": {"status": 418}}]')
    ready: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(port=0, plan_path=tmp_path / "plan.json", ready=ready.set_result))
    url = (await ready).url
    assert (await http.post(f"{url}/v1/batch")).status_code == 418
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


def test_run_refuses_a_bad_plan(tmp_path: Path) -> None:
    """A bad plan file is refused before anything listens."""
    path = tmp_path / "plan.json"
    path.write_text('[{"answer": {}, "time": 1}]')
    with pytest.raises(PlanError, match='plan rule 1: unknown key "time"'):
        run(0, path)


def test_run_refuses_a_taken_port() -> None:
    """A taken port is refused by the blocking call too."""
    with taken_port() as port, pytest.raises(SimulatorError, match="is in use"):
        run(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_until_signal(number: signal.Signals) -> None:
    """The process prints one line once it listens, its seed on stderr, and ends well on a signal."""
    command = [sys.executable, "-c", PROGRAM, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"simulator listens on (http://127\.0\.0\.1:\d+)\n", line)
        assert found
        with httpx.Client(verify=False, trust_env=False) as client:
            assert client.get(f"{found[1]}/_sim/summary").json()["seed"] == 5
            process.send_signal(number)
            rest, errors = process.communicate()
    assert (process.returncode, rest, errors) == (0, "", "simulator draws with seed 5\n")


def test_system_clock() -> None:
    """Without a clock of its own a simulator tells the time that other programs of the machine read."""
    before = time.monotonic()
    assert before <= WitnessClock().monotonic() <= time.monotonic()
